/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The compiled policy: what the identity of a subject may send or receive. */
#pragma once

#include "types.h"

enum verdict {
	VERDICT_NONE = 0, /* this slot holds no rule: the key does not exist in that generation */
	VERDICT_ALLOW = 1,
	VERDICT_DENY = 2,
};

/*
 * policy_key.peer is an identity, or one of these classes. A network's id is below PEER_NETWORK_FLAG, so
 * PEER_NETWORK_FLAG | network_id names "any endpoint of that network".
 */
enum policy_peer {
	PEER_ANY = 0,
	PEER_NETWORK_FLAG = 0x40000000,
};

/*
 * Key of qn_policy. A port range is split into prefixes: port_bits leading bits of port count, the rest of
 * port is zero. protocol 0 (with port_bits 0) is any protocol.
 */
struct policy_key {
	__u32 subject;	/* identity that the rule belongs to */
	__u32 peer;	/* identity, or a class of enum policy_peer */
	__u8 direction; /* enum direction, seen from the subject */
	__u8 protocol;	/* IPPROTO_*, 0: any */
	__u8 port_bits; /* 0..16 */
	__u8 pad;
	__u16 port; /* destination port, host byte order */
	__u16 pad2;
};
_Static_assert(sizeof(struct policy_key) == 16, "layout of policy_key");

struct policy_decision {
	__u32 rule;	  /* cookie of the rule, names it in events; 0: none */
	__u16 precedence; /* the highest wins; among equals, deny */
	__u8 verdict;	  /* enum verdict */
	__u8 pad;
};

/*
 * Value of qn_policy. Two generations side by side: programs read slot[control.policy_epoch & 1]. A change
 * is written into the other slot of every key that it touches and takes effect, as a whole, with the one
 * write that advances the epoch.
 *
 * The key stands first in the value too, for the same reason as in struct endpoint: a reader that finds it
 * intact after reading a slot has not read another rule's.
 */
struct policy_value {
	struct policy_key key;
	struct policy_decision slot[2];
};

/* Key of qn_policy_subjects. A subject without an entry is "policy not yet computed": dropped. */
struct subject_key {
	__u32 identity;
};

struct subject_slot {
	__u32
	    port_bits[2]; /* per enum direction: bit n set: some key of the subject has port_bits n (0..16) */
	__u32 present;	  /* 1: computed in this generation */
};

struct subject_value {
	struct subject_slot slot[2];
};

/* The one value of qn_control. */
struct control {
	__u32 policy_epoch; /* bit 0 selects the slot; flows judged under another epoch are judged again */
	__u32 pad;
};
