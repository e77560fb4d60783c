/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* A whole frame, from bytes to struct packet. Drops what is of no known kind. */
#pragma once

#include "parse_ip.h"
#include "parse_transport.h"

/*
 * The frame's header. VLAN tags may stand in the frame or, as the kernel strips them, beside it: either way
 * they would let a container choose a segment that nobody gave it.
 */
static __always_inline enum drop_reason parse_ethernet(struct __sk_buff *skb, struct packet *packet,
						       struct ethhdr *eth)
{
	if (bpf_skb_load_bytes(skb, 0, eth, sizeof(*eth)))
		return DROP_TRUNCATED;
	packet->ethertype = bpf_ntohs(eth->h_proto);
	packet->network_offset = sizeof(*eth);
	if (skb->vlan_present || packet->ethertype == ETH_P_8021Q || packet->ethertype == ETH_P_8021AD)
		return DROP_VLAN_TAGGED;
	return DROP_NONE;
}

/* Network and transport header of a whole IP packet. */
static __always_inline enum drop_reason parse_ip(struct __sk_buff *skb, struct packet *packet)
{
	enum drop_reason reason;

	if (packet->ethertype == ETH_P_IP)
		reason = parse_ip4(skb, packet, PARSE_WHOLE);
	else if (packet->ethertype == ETH_P_IPV6)
		reason = parse_ip6(skb, packet, PARSE_WHOLE);
	else
		reason = DROP_UNKNOWN_ETHERTYPE;
	if (reason)
		return reason;
	return parse_transport(skb, packet);
}

/* What the sender cannot reach: bytes from the frame's start that are the packet's own, not pages shared. */
static __always_inline __u32 linear_length(const struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	long length;

	/* The verifier takes no half of a pointer, not even to tell a difference. */
	asm volatile("" : "+r"(data), "+r"(end));
	length = end - data;
	asm volatile("" : "+r"(length));
	return (__u32)length;
}

/* Of an ICMP error as much is looked at, with what it quotes; headers that do not lie together are no longer.
 */
#define JUDGED_MAX 1514

/* Up to where a packet is looked at, in bytes from the frame's start. */
static __always_inline __u32 judged_length(const struct packet *packet)
{
	__u32 all = packet->network_offset + packet->length, headers = packet->transport_offset;

	if (packet->fragment == FRAGMENT_LATER)
		return headers;
	if (packet_is_icmp(packet) && icmp_is_error(packet))
		headers = JUDGED_MAX;
	else
		headers += transport_header_length(packet->protocol);
	return headers < all ? headers : all;
}

/* Not static, so that the verifier walks through it once. */
__attribute__((noinline)) int parse_ip_again(struct __sk_buff *skb, struct packet *packet)
{
	return packet ? (int)parse_ip(skb, packet) : DROP_MAP_CORRUPT;
}

/*
 * parse_ip() of a packet whose sender may have its pages mapped (what is spliced into a tunnel of the
 * container's own comes out of it as a frame that is made of them): what was judged must be what is
 * delivered. The kernel's own senders have their headers in the linear part already. Not inlined, for its
 * stack.
 */
static __attribute__((noinline, unused)) enum drop_reason parse_ip_fixed(struct __sk_buff *skb,
									 struct packet *packet)
{
	__u32 length, offset = packet->network_offset;
	__u16 ethertype = packet->ethertype;
	int reason = parse_ip_again(skb, packet);

	length = judged_length(packet);
	if (reason || length <= linear_length(skb))
		return (enum drop_reason)reason;
	if (length > JUDGED_MAX)
		return DROP_EXTENSION_HEADERS;
	if (bpf_skb_pull_data(skb, length))
		return DROP_DELIVERY_FAILED;
	__builtin_memset(packet, 0, sizeof(*packet));
	packet->ethertype = ethertype;
	packet->network_offset = offset;
	reason = parse_ip_again(skb, packet);
	/* Unless it was changed in between. */
	return reason || judged_length(packet) <= linear_length(skb) ? (enum drop_reason)reason
								     : DROP_MALFORMED_IP;
}
