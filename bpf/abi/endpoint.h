/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Who sits behind an interface, and which interface an address sits behind. */
#pragma once

#include "types.h"

enum endpoint_flags {
	ENDPOINT_ALLOW_MULTICAST = 1,  /* the network's options.multicast */
	ENDPOINT_ALLOW_BROADCAST = 2,  /* the network's options.broadcast */
	ENDPOINT_MASQUERADE = 4,       /* the network's options.masquerade */
	ENDPOINT_SOURCE_ADDRESS = 8,   /* and its network has an entry in qn_source_addresses */
	ENDPOINT_TAKES_FRAMES = 16,    /* its veth takes frames from XDP (GRO is on in the container) */
	ENDPOINT_LIMITED_EGRESS = 32,  /* it has an entry in qn_bandwidth for what it sends */
	ENDPOINT_LIMITED_INGRESS = 64, /* the same for what it is sent; and a queue on the host's side */
};

/*
 * Value of qn_endpoints. The key (ifindex of the host's side of the veth) stands in the value too, under the
 * seal: so a reader knows that what it has read is one endpoint, and which (lib/sealed.h).
 */
struct endpoint {
	__u32 ifindex;
	__u32 id;	  /* never reused */
	__u32 network_id; /* never 0 */
	__u32 identity;
	struct ip_address ip4;	      /* mapped form; zero: the endpoint has no IPv4 */
	struct ip_address ip6;	      /* zero: the endpoint has no IPv6 */
	struct ip_address link_local; /* fe80:: EUI-64 of mac; zero: no IPv6 */
	__u8 mac[6];		      /* the container's side */
	__u8 gateway_mac[6];	      /* the host's side; the only MAC a container ever sees */
	__u8 ip4_prefix_length;	      /* 0..32, of the network's CIDR */
	__u8 ip6_prefix_length;	      /* 0..128 */
	__u8 pad[2];
	__u32 flags; /* enum endpoint_flags */
	__u32 seal;
};
_Static_assert(sizeof(struct endpoint) == 88, "layout of endpoint");

/* Key of qn_addresses: an endpoint's address inside its network. */
struct address_key {
	__u32 network_id;
	struct ip_address address;
};

/* Value of qn_addresses: where the endpoint is; everything else about it stands in qn_endpoints. */
struct address_entry {
	__u32 ifindex;
	__u32 endpoint_id; /* must equal endpoint.id, or the entry is stale */
};

/* Key of qn_prefixes (LPM trie): which part of the world an address that is no endpoint's belongs to. */
struct prefix_key {
	__u32 prefix_length; /* bits of address; IPv4 prefixes are 96 + n */
	struct ip_address address;
};

enum prefix_kind {
	PREFIX_HOST = 1,    /* addresses that the node takes for itself */
	PREFIX_NETWORK = 2, /* the CIDR of a network; what is in it and no endpoint's address is nobody */
	PREFIX_SERVICE = 3, /* the address of a service, or of several */
};

/* Value of qn_prefixes. */
struct prefix_entry {
	__u32 kind;		   /* enum prefix_kind */
	__u32 network_id;	   /* PREFIX_NETWORK: whose CIDR; PREFIX_HOST: 0 */
	struct ip_address gateway; /* PREFIX_NETWORK: the node's address in it; PREFIX_HOST: zero */
};
