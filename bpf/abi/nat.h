/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Flows of which one end is a container that the other end knows by another address. */
#pragma once

#include "conntrack.h"
#include "types.h"

/* Key of qn_nat: a translated flow as its other end knows it. */
struct nat_key {
	struct ip_address remote; /* the other end */
	struct ip_address local;  /* in place of the container's address: the node's, or a service's */
	__be16 remote_port;	  /* as in struct conntrack_key */
	__be16 local_port;	  /* in place of the container's port, or of its ICMP identifier */
	__u8 protocol;		  /* IPPROTO_* */
	__u8 pad[3];
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct nat_key) == 40, "layout of nat_key");

/*
 * Value of qn_nat: the alias of a flow. It counts only while the flow's record is there and has that nonce.
 * Key and nonce tell whose alias was read, as in struct conntrack_entry.
 */
struct nat_alias {
	struct nat_key key;
	struct conntrack_key flow; /* key of the record */
	__u32 nonce;		   /* of the record; 0: being removed, and nobody's */
};
_Static_assert(sizeof(struct nat_alias) == 88, "layout of nat_alias");

/*
 * Value of qn_source_addresses, by the network's id: what a network's masqueraded flows leave under in place
 * of the uplink's address. The key stands in it as in struct endpoint.
 */
struct source_addresses {
	__u32 network_id;
	struct ip_address ip4; /* mapped form; zero: the uplink's */
	struct ip_address ip6;
	__u32 seal;
};
_Static_assert(sizeof(struct source_addresses) == 40, "layout of source_addresses");

/*
 * Value of qn_uplinks, without gaps: each uplink, then each further address of one. The kernel writes a
 * changed one over the one before, whoever reads it; of nothing, all zero, the seal is zero too.
 */
struct uplink {
	__u32 ifindex; /* 0: there are no more */
	/* Of the first: the interface as whose traffic the node's routes are asked for the uplink, its
	 * gateway, and the address of each flow; 0: they are not asked, and all leave by the first.
	 */
	__u32 router;
	__u32 flags;	       /* of the first, enum uplink_flags */
	struct ip_address ip4; /* mapped form; zero: it has no IPv4 address */
	struct ip_address ip6;
	struct ip_address gateway6; /* zero: no default route leads there */
	__u32 ip6_prefix_length;    /* of the subnet that ip6 is in */
	__u8 pad[4];
	__u32 seal;
};
_Static_assert(sizeof(struct uplink) == 72, "layout of uplink");

enum uplink_flags {
	UPLINK_ONLY = 1, /* all leave by it, wherever the routes lead */
};

enum uplink_limit {
	UPLINKS_MAX = 8,
	UPLINK_SLOTS = 32,
};
