/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the programs know of a packet. Headers are copied out of it with bpf_skb_load_bytes: that works
 * whether or not they lie in the linear part, needs no proof of bounds at each use, and what was judged
 * cannot change under the judge's hands.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "../abi/event.h"
#include "../abi/types.h"

/*
 * Verdicts of a program on the hook. TC_ACT_UNSPEC is TCX_NEXT: whoever else is attached behind us still sees
 * the packet. A drop is final.
 */
#define ACTION_PASS TC_ACT_UNSPEC
#define ACTION_DROP TC_ACT_SHOT

/* From linux/tcp.h's flag word, as the byte at offset 13 of the header (RFC 9293 §3.1). */
enum tcp_flags {
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_ACK = 0x10,
};

enum fragment_part {
	FRAGMENT_NONE = 0,
	FRAGMENT_FIRST = 1, /* carries the transport header */
	FRAGMENT_LATER = 2, /* carries none: ports come from the first one */
};

struct bpf_map;

struct packet {
	struct ip_address source;
	struct ip_address destination;
	__be16 source_port; /* ICMP echo: the identifier of a request; a reply has it in destination_port */
	__be16 destination_port;
	__u32 network_offset;
	__u32 transport_offset;
	__u32 fragment_start;  /* offset of the fragmentable part (FRAGMENT_*) */
	__u32 fragment_offset; /* bytes into the fragmentable part (FRAGMENT_LATER) */
	__u32 length;	       /* of the IP packet, headers included */
	__be32 fragment_id;
	__u32 tcp_sequence; /* host byte order, as the next two */
	__u32 tcp_acknowledgement;
	__u32 tcp_length; /* that the segment takes of the sequence numbers */
	__u16 ethertype;  /* host byte order */
	__u8 family;	  /* 4, 6, 0: not IP */
	__u8 protocol;
	__u8 fragment_protocol; /* see struct fragment_slot */
	__u8 fragment;		/* enum fragment_part */
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 tcp_flags;
	__u8 hop_limit;
	bool has_fragment_header; /* IPv6; also of a whole datagram (RFC 6946) */
};

/* Both ends are its first bytes, in the order that keys have them in. */
#define PACKET_ENDS 36
_Static_assert(offsetof(struct packet, destination_port) + sizeof(__be16) == PACKET_ENDS,
	       "addresses and ports are in front");

/* Who stands at one end of a packet. */
struct party {
	__u32 identity;
	__u32 network_id;  /* 0: host or world */
	__u32 endpoint_id; /* 0: host or world */
	__u32 ifindex;	   /* of the endpoint */
};

/* What a program decided, filled in on the way; account() tells it to the world, once. */
struct outcome {
	struct party source;
	struct party destination;
	__u32 egress_rule;
	__u32 ingress_rule;
	__u32 audit_egress_rule; /* these, and audit_reason, valid only with audited */
	__u32 audit_ingress_rule;
	enum drop_reason audit_reason;
	bool audited; /* the audited rules would have decided otherwise */
	bool new_flow;
};

/* What lies in a map's value or in struct passage begins at a multiple of 8 bytes if it is declared so. */
typedef __u64 __attribute__((may_alias)) word64;
typedef __u32 __attribute__((may_alias)) word32;

/* Are two stretches equal, padding included? Both are aligned to 8 bytes; their length, to 4, is a constant.
 */
static __always_inline bool words_equal(const void *a, const void *b, __u32 bytes)
{
	const word64 *left = a, *right = b;
	__u64 difference = 0;

#pragma clang loop unroll(full)
	for (__u32 i = 0; i < bytes / 8; i++)
		difference |= left[i] ^ right[i];
	if (bytes % 8)
		difference |= *(const word32 *)(left + bytes / 8) ^ *(const word32 *)(right + bytes / 8);
	return !difference;
}

/* Copies what is aligned and as long as words_equal() has it. */
static __always_inline void words_copy(void *to, const void *from, __u32 bytes)
{
	const word64 *source = from;
	word64 *target = to;

#pragma clang loop unroll(full)
	for (__u32 i = 0; i < bytes / 8; i++)
		target[i] = source[i];
	if (bytes % 8)
		*(word32 *)(target + bytes / 8) = *(const word32 *)(source + bytes / 8);
}

static __always_inline bool address_equal(const struct ip_address *a, const struct ip_address *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
	       a->word[3] == b->word[3];
}

static __always_inline bool address_is_zero(const struct ip_address *a)
{
	return !(a->word[0] | a->word[1] | a->word[2] | a->word[3]);
}

static __always_inline void address_from_ip4(struct ip_address *address, __be32 ip4)
{
	address->word[0] = 0;
	address->word[1] = 0;
	address->word[2] = bpf_htonl(0xffff);
	address->word[3] = ip4;
}

static __always_inline bool address_is_ip4_mapped(const struct ip_address *a)
{
	return !(a->word[0] | a->word[1]) && a->word[2] == bpf_htonl(0xffff);
}

/* A total order, the same on both ends of a flow; which one does not matter. */
static __always_inline bool address_less(const struct ip_address *a, const struct ip_address *b)
{
	if (a->word[3] != b->word[3])
		return a->word[3] < b->word[3];
	if (a->word[2] != b->word[2])
		return a->word[2] < b->word[2];
	if (a->word[1] != b->word[1])
		return a->word[1] < b->word[1];
	return a->word[0] < b->word[0];
}

/* Is a in the prefix of b with that many leading bits? IPv4 prefixes count from bit 96. */
static __always_inline bool address_in_prefix(const struct ip_address *a, const struct ip_address *b,
					      __u32 bits)
{
#pragma unroll
	for (int i = 0; i < 4; i++) {
		__u32 diff = bpf_ntohl(a->word[i] ^ b->word[i]);

		if (bits >= 32) {
			if (diff)
				return false;
			bits -= 32;
		} else {
			return !bits || !(diff >> (32 - bits));
		}
	}
	return true;
}

static __always_inline bool mac_equal(const __u8 *a, const __u8 *b)
{
	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[4] ^ b[4]) |
		 (a[5] ^ b[5]));
}
