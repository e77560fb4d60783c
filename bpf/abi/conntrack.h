/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* One record per flow, for both directions of it. */
#pragma once

#include <linux/bpf.h>

#include "types.h"

/*
 * Key of qn_conntrack. The two ends are ordered (a < b), so that both directions of a flow find the same
 * record. scope is the network's id when both ends are in its CIDR, else 0.
 */
struct conntrack_key {
	struct ip_address address_a;
	struct ip_address address_b;
	__be16
	    port_a; /* TCP, UDP, SCTP: port; ICMP echo: identifier at the requester's end, 0 at the other */
	__be16 port_b;
	__u32 scope;
	__u8 protocol; /* IPPROTO_* */
	__u8 pad[3];
};
_Static_assert(sizeof(struct conntrack_key) == 44, "layout of conntrack_key");

enum conntrack_flags {
	CONNTRACK_OPENER_IS_B = 1, /* the end b sent the first packet */
	CONNTRACK_REPLIED = 2,	   /* the responder has answered */
	CONNTRACK_FIN_OPENER = 4,  /* TCP FIN seen from the opener */
	CONNTRACK_FIN_RESPONDER = 8,
	CONNTRACK_RESET = 16,		 /* TCP RST seen, after which not both ends went on talking */
	CONNTRACK_OPENER_IS_HOST = 64,	 /* it was opened by a socket of the node */
	CONNTRACK_ESTABLISHED = 32,	 /* the opener has answered the answer */
	CONNTRACK_NAMED_RESPONDER = 128, /* what is translated is the responder's end; else the opener's */
	/*
	 * With it: the opener is the responder's own container, which would take no packet from its own
	 * address. So the opener's address in the key is the translated one, that is nat_address.
	 */
	CONNTRACK_SELF = 256,
	CONNTRACK_ALIVE_OPENER = 512, /* with CONNTRACK_RESET: that end has gone on talking */
	CONNTRACK_ALIVE_RESPONDER = 1024,
};

/* Which end of a flow: index of the arrays in conntrack_entry. */
enum flow_end {
	FLOW_OPENER = 0,
	FLOW_RESPONDER = 1,
};

/*
 * Value of qn_conntrack. The kernel may recycle a removed element while a program still reads it: key and
 * nonce tell whose record was read (see conntrack_copy() in lib/conntrack.h).
 */
struct conntrack_entry {
	struct conntrack_key key;
	__u32 flags;	      /* enum conntrack_flags */
	__u64 expires_ns;     /* CLOCK_MONOTONIC; past: the entry is dead, whether collected or not */
	__u32 endpoint_id[2]; /* per enum flow_end; 0: that end is the host or outside */
	/* Per enum flow_end: of the endpoint, valid only while its id matches; of an end outside, the uplink
	 * towards it, 0: any.
	 */
	__u32 ifindex[2];
	__u32 rule[2]; /* cookies: [0] egress rule of the opener, [1] ingress rule of the responder */
	struct ip_address nat_address; /* zero: not translated; else of one end, as the other end knows it */
	__be16 nat_port;	       /* the same of its port or ICMP identifier */
	__u8 pad[2];
	__u32 backend; /* CONNTRACK_NAMED_RESPONDER: index in qn_backends of whom it was opened to */
	__u32 epoch;   /* control.policy_epoch that the flow was last judged under */
	__u32 nonce;   /* random, of this record alone; 0: not there yet, or being removed, and nobody's */
	/* TCP, where one end is no endpoint: the sequence number that comes next from there, as far as it
	 * comes in order. */
	__u32 sequence;
	__u8 pad2[4];
};
_Static_assert(sizeof(struct conntrack_entry) == 120, "layout of conntrack_entry");

enum fragment_table_shape {
	FRAGMENT_SET_BITS = 4,
	FRAGMENT_SETS = 1 << FRAGMENT_SET_BITS,
	FRAGMENT_WAYS = 4,
};

/*
 * Whose fragments, in place of an endpoint's id, those are that come in by the uplink. Nobody knows yet whom
 * they are for, so they are kept apart by where they come from: answers to what containers have opened, and
 * what others have opened, which cannot push out those; and of each, parts by the source.
 */
enum uplink_fragments {
	UPLINK_FRAGMENTS_FIRST = 0x7fffffe0, /* no endpoint gets so far */
	UPLINK_FRAGMENTS_BITS = 4,
	UPLINK_FRAGMENTS_PARTS = 1 << UPLINK_FRAGMENTS_BITS, /* of each kind */
};

/*
 * The fragments of one datagram (RFC 791 §3.2, RFC 8200 §4.5), by what all of them carry, and what the
 * headers of the first one said.
 */
struct fragment_slot {
	__u64 expires_ns; /* CLOCK_MONOTONIC; 0: nothing was ever here */
	struct ip_address source;
	struct ip_address destination;
	__be32 id; /* IPv4: the 16-bit identification in the low half */
	__be16 source_port;
	__be16 destination_port;
	__u16 header_length;	/* bytes of the fragmentable part that no later fragment may touch */
	__u8 protocol;		/* of the transport */
	__u8 fragment_protocol; /* IPv4: the header's protocol; IPv6: the fragment header's next header */
	__u8 pad[4];
};
_Static_assert(sizeof(struct fragment_slot) == 56, "layout of fragment_slot");

/*
 * Value of qn_fragments: the datagrams that pass an endpoint in fragments. A datagram has a place in one set,
 * told by its addresses and id, where the oldest makes room: whoever sends many pushes out its own.
 */
struct fragment_table {
	struct bpf_spin_lock lock; /* of everything below; user space sees zero */
	__u32 endpoint_id;	   /* the key, so that a recycled element is seen */
	struct fragment_slot slot[FRAGMENT_SETS * FRAGMENT_WAYS];
};
_Static_assert(sizeof(struct fragment_table) == 3592, "an element fits into a page");

/*
 * Value of qn_flow_counts: records charged to an endpoint (its own flows, and those from outside to it).
 * Bounds what one endpoint can take of the table; under the id that none has (0), what the outside can take
 * of it through all of them.
 */
struct flow_count {
	__u32 flows;
	__u32 inbound; /* opened from outside: their number must not keep the endpoint from opening its own */
	__u64 inbound_ns; /* CLOCK_MONOTONIC; when those that came in would have come at the rate that is let
			     in */
};

/* The one value of qn_sweep: what the last run of the conntrack_sweep program did. */
struct conntrack_sweep {
	__u32 scanned; /* records looked at */
	__u32 expired; /* removed: their time was up */
	__u32 cut;     /* removed: an endpoint is gone, or no policy allows them any more */
	__u32 pad;
};
