/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The compiled policy: what the identity of a subject may send or receive. */
#pragma once

#include "types.h"

enum verdict {
	VERDICT_NONE = 0, /* this slot holds no rule: the key does not exist in that generation */
	VERDICT_ALLOW = 1,
	VERDICT_DENY = 2,
	VERDICT_PASS = 3, /* this tier has no say: the next one decides */
};

/*
 * Tiers are asked in this order, and the first that decides has decided. A tier that isolates its subject
 * (struct subject_rules) decides always: what none of its rules allows is denied.
 */
enum policy_tier {
	TIER_ADMIN = 0,		 /* ClusterNetworkPolicy, tier Admin */
	TIER_NETWORK_POLICY = 1, /* NetworkPolicy */
	TIER_BASELINE = 2,	 /* ClusterNetworkPolicy, tier Baseline */
	TIER_DEFAULT = 3,	 /* the isolation mode of the network: what counts where no policy decides */
	TIER_COUNT,
	TIER_AUDIT_FLAG = 0x80, /* in policy_key.tier: a rule that is counted and not enforced */
};

/*
 * policy_key.peer is an identity, or one of these classes. Identities are below PEER_NETWORK_FLAG, ids of
 * networks and numbers of ranges below the distance of the flags, so PEER_NETWORK_FLAG | network_id names
 * "any endpoint of that network".
 */
enum policy_peer {
	PEER_ANY = 0,
	PEER_NETWORK_FLAG = 0x40000000,
	PEER_CIDR_FLAG = 0x60000000, /* | cidr_class: an address of that range and of no narrower one */
};

/* policy_key.port_bits */
enum port_bits {
	PORT_BITS_MAX = 16,
	PORT_BITS_NAMED = 17, /* port is the number of a name; see struct named_port_key */
};

/*
 * Key of qn_policy. A port range is split into prefixes: port_bits leading bits of port count, the rest of
 * port is zero. protocol 0 (with port_bits 0) is any protocol.
 */
struct policy_key {
	__u32 subject;	/* identity that the rule belongs to */
	__u32 peer;	/* identity, or a class of enum policy_peer */
	__u8 direction; /* enum direction, seen from the subject */
	__u8 tier;	/* enum policy_tier */
	__u8 protocol;	/* IPPROTO_*, 0: any */
	__u8 port_bits; /* 0..16, or PORT_BITS_NAMED */
	__u32 port;	/* destination port, host byte order */
};
_Static_assert(sizeof(struct policy_key) == 16, "layout of policy_key");

struct policy_decision {
	__u32 rule;	  /* cookie of the rule, names it in events; 0: none */
	__u32 precedence; /* within the tier the highest wins; among equals deny, then pass */
	__u8 verdict;	  /* enum verdict */
	__u8 pad[3];
};

/*
 * Value of qn_policy. Two generations side by side: programs read slot[control.policy_epoch & 1]. A change
 * is written into the other slot of every key that it touches and takes effect, as a whole, with the one
 * write that advances the epoch.
 *
 * The key stands in the value too, for the same reason as in struct endpoint: a reader that finds it there
 * has not read another rule's.
 */
struct policy_value {
	struct policy_key key;
	struct policy_decision slot[2];
	__u8 pad[4];
	__u32 seal;
};

/* Key of qn_policy_subjects. A subject without an entry is "policy not yet computed": dropped. */
struct subject_key {
	__u32 identity;
};

/* What there is to look for among the rules of a subject. */
struct subject_rules {
	/* [2 * enum policy_tier + enum direction]: bit n set: some key of the subject has port_bits n */
	__u32 port_bits[8];
	__u32 isolated; /* bit n set: TIER_NETWORK_POLICY isolates it in enum direction n */
};

/*
 * Lengths of the ranges that rules name, by family: bit n of word w stands for 32 w + n bits of the mapped
 * form, so that those of IPv4 begin with word 3. More of them than there are cost look-ups and change no
 * answer.
 */
struct range_lengths {
	__u32 ip4[2]; /* words 3 and 4 */
	__u32 ip6[5]; /* words 0 to 4 */
};

struct subject_slot {
	struct subject_rules enforced;
	struct subject_rules audited;	/* of the rules with TIER_AUDIT_FLAG alone */
	__u32 audits;			/* bit n set: something is audited in enum direction n */
	struct range_lengths ranges[2]; /* per enum direction: of its entries in qn_policy_cidrs */
	__u32 present;			/* 1: computed in this generation */
};

/* Value of qn_policy_subjects; the key stands in it as in struct policy_value. */
struct subject_value {
	struct subject_key key;
	struct subject_slot slot[2];
	__u32 seal;
};

/* Key of qn_policy_cidrs: the ranges that rules of a subject name, in cidr or in except. */
struct cidr_key {
	__u32 subject;
	__u8 direction;	    /* enum direction */
	__u8 family;	    /* 4, 6: ::/0 does not hold the mapped IPv4 addresses */
	__u8 prefix_length; /* in the mapped form: IPv4 begins at bit 96 */
	__u8 pad;
	struct ip_address address; /* zero beyond the prefix */
};
_Static_assert(sizeof(struct cidr_key) == 24, "layout of cidr_key");

/*
 * Value of qn_policy_cidrs; the key stands in it as in struct policy_value. A class stands for the addresses
 * of a range that are in no narrower range of the subject; the rules about each class are in qn_policy.
 */
struct cidr_value {
	struct cidr_key key;
	__u32 slot[2]; /* the class of the range; 0: this generation has no such range */
	__u8 pad[4];
	__u32 seal;
};

/* Key of qn_named_ports: what the ports of an endpoint are called. */
struct named_port_key {
	__u32 endpoint_id;
	__u16 port; /* host byte order */
	__u8 protocol;
	__u8 pad;
};

enum named_port_limit {
	PORT_NAMES_MAX = 4, /* names of one port of one endpoint */
};

/* Value of qn_named_ports; the key stands in it as in struct policy_value. */
struct named_port_value {
	struct named_port_key key;
	__u32 name[4]; /* numbers of names; 0: none */
	__u8 pad[4];
	__u32 seal;
};

/* The one value of qn_control. */
struct control {
	__u32 policy_epoch; /* bit 0 selects the slot; flows judged under another epoch are judged again */
	__u32 pad;
};
