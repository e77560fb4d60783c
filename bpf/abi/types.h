/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Base types of everything that crosses between the kernel and user space.
 *
 * This folder is the one definition of the shared layout. src/datapath/abi/generated.ts is made from the
 * BTF of these headers (npm run gen). Rules: fixed widths only, __beNN for network byte order, explicit
 * padding (built with -Wpadded), no functions, no kernel types but struct bpf_spin_lock.
 */
#pragma once

#include <linux/types.h>

/* A sentence for the reader of the generated code and docs; travels in BTF. */
#define DOC(text) __attribute__((btf_decl_tag("doc:" text)))

/*
 * An IPv6 address, or an IPv4 address in its mapped form ::ffff:a.b.c.d (RFC 4291 §2.5.5.2); all zero means
 * "none". One form for both families lets every map and every comparison treat them as equals.
 */
struct ip_address {
	__be32 word[4];
};
_Static_assert(sizeof(struct ip_address) == 16, "an address is 16 bytes");

/* Which way a packet goes, seen from the endpoint: leaving its container, or entering it. */
enum direction {
	DIRECTION_EGRESS = 0,
	DIRECTION_INGRESS = 1,
};

/* Identities below FIRST_IDENTITY are reserved; the rest stand for one (network, namespace, labels) each. */
enum identity {
	IDENTITY_NONE = 0,
	IDENTITY_HOST = 1,  /* the node: every address that it takes for itself, gateways included */
	IDENTITY_WORLD = 2, /* every address that is neither the node's nor an endpoint's */
	FIRST_IDENTITY = 256,
};
