/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Counters, the event stream, and the closed list of reasons for a drop. */
#pragma once

#include "types.h"

/*
 * Every drop has exactly one of these. Numbers are never changed or reused; new reasons go to the end. The
 * text is what an operator reads: it goes into docs/drop-reasons.md, the API and the metric's label.
 */
#define DROP_REASONS(X)                                                                                      \
	X(NONE, 0, "not dropped: the packet was forwarded")                                                  \
	X(UNKNOWN_ENDPOINT, 1, "the interface belongs to no known endpoint")                                 \
	X(TRUNCATED, 2, "a header is cut short or its length field contradicts the packet")                  \
	X(VLAN_TAGGED, 3, "a container sent a VLAN-tagged frame")                                            \
	X(UNKNOWN_ETHERTYPE, 4, "the frame is neither ARP, IPv4 nor IPv6")                                   \
	X(SPOOFED_MAC, 5, "the source MAC is not the endpoint's")                                            \
	X(SPOOFED_IP, 6, "the source address is not the endpoint's")                                         \
	X(SPOOFED_ARP, 7, "the sender's MAC or IP inside an ARP packet is not the endpoint's")               \
	X(SPOOFED_ND, 8,                                                                                     \
	  "a neighbour discovery message claims an address or MAC that is not the endpoint's")               \
	X(ARP_REJECTED, 9,                                                                                   \
	  "ARP that needs no answer: a reply, a probe of its own address, or outside the network")           \
	X(ND_REJECTED, 10,                                                                                   \
	  "neighbour discovery that needs no answer: an advertisement, a probe, or outside the network")     \
	X(DHCP_FROM_CONTAINER, 11, "a container acted as a DHCP client or server")                           \
	X(ROUTER_ADVERTISEMENT, 12, "a container sent a router advertisement, solicitation or redirect")     \
	X(MALFORMED_IP, 13, "the IP header is not valid")                                                    \
	X(SOURCE_ROUTED, 14, "the packet carries a source route (IPv4 LSRR/SSRR, IPv6 routing header)")      \
	X(EXTENSION_HEADERS, 15, "too many, unknown or misplaced IPv6 extension headers")                    \
	X(UNKNOWN_PROTOCOL, 16, "the transport protocol is not TCP, UDP, SCTP, ICMP or ICMPv6")              \
	X(MALFORMED_TRANSPORT, 17, "the transport header is not valid")                                      \
	X(FRAGMENT_OVERLAP, 18, "a fragment would overwrite the transport header")                           \
	X(FRAGMENT_WITHOUT_FIRST, 19, "a fragment whose first fragment was not allowed or not seen")         \
	X(FRAGMENT_TABLE_FULL, 20, "there is no room for the fragments of one endpoint more")                \
	X(MULTICAST, 21, "multicast, and the network's options do not allow it")                             \
	X(BROADCAST, 22, "broadcast, and the network's options do not allow it")                             \
	X(BAD_DESTINATION, 23, "an address that can be no destination: loopback, unspecified or reserved")   \
	X(BAD_SOURCE, 24, "from outside with a source address that belongs to the fabric or to nobody")      \
	X(NO_SUCH_ENDPOINT, 25, "the address lies in a network and no endpoint has it")                      \
	X(NOT_FOR_ENDPOINT, 26, "arrived at an endpoint that does not have the destination address")         \
	X(POLICY_MISSING, 27, "the policy of an identity is not computed yet, or does not fit")              \
	X(POLICY_EGRESS, 28, "no rule lets the source send this")                                            \
	X(POLICY_INGRESS, 29, "no rule lets the destination receive this")                                   \
	X(POLICY_EGRESS_DENY, 30, "a rule forbids the source to send this")                                  \
	X(POLICY_INGRESS_DENY, 31, "a rule forbids the destination to receive this")                         \
	X(CONNECTION_CUT, 32, "the connection was allowed once and a changed policy ended it")               \
	X(NO_CONNECTION, 33, "not the first packet of a connection, and no connection is known")             \
	X(ICMP_UNRELATED, 34, "an ICMP error about no known flow")                                           \
	X(ICMP_TYPE, 35, "an ICMP type that is neither echo nor an error")                                   \
	X(CONNTRACK_FULL, 36, "the connection table is full")                                                \
	X(FLOW_LIMIT, 37, "the endpoint, or everybody outside, has reached the limit of connections")        \
	X(DELIVERY_FAILED, 38, "the packet was allowed and could not be handed over")                        \
	X(MAP_CORRUPT, 39, "a map that must have an entry has none")                                         \
	X(CHECKSUM_OFFSET, 40, "the sender wants a checksum written where none belongs")                     \
	X(UNJUDGED, 41, "a frame marked so that it would have passed the programs by")                       \
	X(NO_UPLINK, 42, "the packet is to be masqueraded and no uplink leads to its destination")           \
	X(NO_UPLINK_ADDRESS, 43,                                                                             \
	  "the packet is to be masqueraded and the uplink has no address of its family")                     \
	X(NAT_PORTS, 44,                                                                                     \
	  "no port of the uplink's address that it may take is free towards this destination")               \
	X(NAT_PROTOCOL, 45, "a fragment of SCTP, whose checksum is of the whole, to be translated")          \
	X(HOP_LIMIT, 46, "its time to live has run out at the node; its sender is told")                     \
	X(TOO_BIG, 47, "larger than the uplink carries; the sender is told")                                 \
	X(NO_SERVICE, 48, "no service at this address has the port; the sender is told")                     \
	X(NO_BACKEND, 49, "the service or port mapping has no container that serves; the sender is told")    \
	X(NAT_CONFLICT, 50, "another connection between the same addresses and ports is translated")         \
	X(DENIED_SOURCE, 51, "the source address is on the deny list")                                       \
	X(INBOUND_RATE, 52, "more new connections from outside than the endpoint takes in a second")         \
	X(BANDWIDTH_EGRESS, 53, "the endpoint sends more than its limit of bandwidth")                       \
	X(BANDWIDTH_INGRESS, 54,                                                                             \
	  "the endpoint is sent more than its limit of bandwidth, and its queue is full")                    \
	X(NO_ROUTE, 55, "the node has no route to the destination; the sender is told")                      \
	X(ROUTE_CHANGED, 56,                                                                                 \
	  "the connection is translated to an address of another uplink; the sender is told")

#define DROP_REASON_ENUM(name, value, text) DROP_##name = value,
enum drop_reason { DROP_REASONS(DROP_REASON_ENUM) DROP_REASON_COUNT };
#undef DROP_REASON_ENUM

/* Carries the texts into BTF; no map or program uses it. */
#define DROP_REASON_MEMBER(name, value, text) __u8 DROP_##name DOC(text);
struct drop_reason_texts {
	DROP_REASONS(DROP_REASON_MEMBER)
};
#undef DROP_REASON_MEMBER

/* Key of qn_metrics. reason DROP_NONE counts what was forwarded. */
struct metric_key {
	__u32 endpoint_id; /* 0: the interface belongs to no endpoint */
	__u16 reason;	   /* enum drop_reason */
	__u8 direction;	   /* enum direction */
	__u8 audited; /* 1: forwarded, and would have been dropped for this reason with the audited rules */
};

/* Per-CPU value of qn_metrics. */
struct metric_value {
	__u64 packets;
	__u64 bytes; /* of the frame, Ethernet header included */
};

enum event_kind {
	EVENT_FLOW = 1, /* a new flow was allowed */
	EVENT_DROP = 2,
};

/* One record of the ring buffer qn_events. */
struct event {
	__u64 time_ns;	   /* CLOCK_MONOTONIC */
	__u8 kind;	   /* enum event_kind */
	__u8 direction;	   /* enum direction, of the program that decided */
	__u8 protocol;	   /* IPPROTO_*; 0: not known */
	__u8 family;	   /* 4, 6; 0: not IP */
	__u16 reason;	   /* enum drop_reason */
	__u16 ethertype;   /* host byte order */
	__u32 endpoint_id; /* whose program decided; 0: unknown */
	__u32 ifindex;
	__u32 network_id;
	__u32 source_identity;
	__u32 destination_identity;
	__u32 source_endpoint_id;
	__u32 destination_endpoint_id;
	__u32 egress_rule; /* cookie of the deciding rule; 0: none, or default deny */
	__u32 ingress_rule;
	__u32 audit_egress_rule; /* as above, were the audited rules enforced */
	__u32 audit_ingress_rule;
	__u32 length; /* bytes of the frame */
	struct ip_address source;
	struct ip_address destination;
	__be16 source_port;
	__be16 destination_port;
	__u8 icmp_type;
	__u8 icmp_code;
	__u16 audit_reason; /* enum drop_reason, were the audited rules enforced; valid only with audited */
	__u8 audited;	    /* 1: audited rules would have decided otherwise */
	__u8 pad[7];
};
_Static_assert(sizeof(struct event) == 112, "layout of event");

/* The one value of explanation: what a program that was loaded to explain has decided about its packet. */
struct explanation {
	__u32 reason; /* enum drop_reason */
	__u32 source_identity;
	__u32 destination_identity;
	__u32 source_endpoint_id; /* 0: host or world */
	__u32 destination_endpoint_id;
	__u32 egress_rule; /* cookie of the deciding rule; 0: none, or default deny */
	__u32 ingress_rule;
	__u32 audited; /* 1: audited rules would have decided otherwise: what follows */
	__u32 audit_reason;
	__u32 audit_egress_rule;
	__u32 audit_ingress_rule;
	__u32 runs; /* packets explained since the program was loaded */
};

/* Key of qn_event_limits is an endpoint's id: one hostile container cannot drown the others' events. */
struct event_limit {
	__u64 refilled_ns;
	__u32 tokens;
	__u32 pad;
};

/* Index of qn_event_loss (per-CPU counters): events that were not delivered. */
enum event_loss {
	EVENT_LOSS_RATE_LIMITED = 0,
	EVENT_LOSS_RING_FULL = 1,
	EVENT_LOSS_COUNT,
};
