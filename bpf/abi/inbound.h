/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What comes in by the uplink, before anybody is asked whose it is. */
#pragma once

#include "types.h"

/*
 * Key of qn_deny (LPM trie): addresses from which nothing is taken. Everything before the address always
 * counts, so that prefix_length is DENY_KEY_BITS and the range's own, which for IPv4 begins at bit 96.
 */
struct deny_key {
	__u32 prefix_length;
	__u8 family; /* 4, 6: ::/1 does not hold the mapped IPv4 addresses */
	__u8 pad[3];
	struct ip_address address;
};
_Static_assert(sizeof(struct deny_key) == 24, "layout of deny_key");

enum deny_key_bits {
	DENY_KEY_BITS = 32,
};

enum inbound_flags {
	INBOUND_DENIES = 1, /* qn_deny is not empty */
	INBOUND_XDP = 2,    /* uplink_xdp runs on the uplink: what gets further has been looked at */
};

/* The one value of qn_inbound. */
struct inbound {
	__u32 flags; /* enum inbound_flags */
};
