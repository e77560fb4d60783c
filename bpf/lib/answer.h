/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The headers of an answer to whoever sent a packet, made in its place: one for one, and to nobody but the
 * sender.
 */
#pragma once

#include "endpoint.h"
#include "headers.h"
#include "passage.h"

#include <linux/ip.h>
#include <linux/ipv6.h>

#define ANSWER_TTL 64

/* Between whom an answer goes: to the packet's sender, from source. */
struct answer_ends {
	struct ip_address source;
	__u8 to_mac[ETH_ALEN];
	__u8 from_mac[ETH_ALEN];
};

/* To the container, by its gateway's MAC address. */
static __always_inline void answer_ends_of(const struct endpoint *self, struct answer_ends *ends)
{
	__builtin_memcpy(ends->to_mac, self->mac, ETH_ALEN);
	__builtin_memcpy(ends->from_mac, self->gateway_mac, ETH_ALEN);
}

static __always_inline __be16 checksum_fold(__s64 sum)
{
	return (__be16)~sum_fold((__u64)sum);
}

/* Of what stands before the transport header of an answer. */
static __always_inline __u32 answer_headers(const struct packet *packet)
{
	return sizeof(struct ethhdr) + (packet->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
}

/*
 * The pseudo header's part of a checksum (RFC 8200 §8.1). Of IPv4 (RFC 9293 §3.1) it is the same: what a
 * mapped address has before it adds nothing, as 0xffff is another zero.
 */
static __always_inline __s64 answer_pseudo_sum(const struct ip_address *source,
					       const struct ip_address *destination, __u32 length,
					       __u8 protocol)
{
	struct {
		struct ip_address source, destination;
		__be32 length;
		__be32 next_header;
	} pseudo = {.source = *source,
		    .destination = *destination,
		    .length = bpf_htonl(length),
		    .next_header = bpf_htonl(protocol)};

	return bpf_csum_diff(NULL, 0, (__be32 *)&pseudo, sizeof(pseudo), 0);
}

static __always_inline long answer_write4(struct __sk_buff *skb, const struct packet *packet,
					  const struct answer_ends *ends, __u32 length, __u8 protocol)
{
	struct {
		struct ethhdr eth;
		struct iphdr ip;
	} __attribute__((packed)) head = {};

	__builtin_memcpy(head.eth.h_dest, ends->to_mac, ETH_ALEN);
	__builtin_memcpy(head.eth.h_source, ends->from_mac, ETH_ALEN);
	head.eth.h_proto = bpf_htons(ETH_P_IP);
	head.ip.version = 4;
	head.ip.ihl = sizeof(head.ip) / 4;
	head.ip.tot_len = bpf_htons((__u16)(sizeof(head.ip) + length));
	head.ip.ttl = ANSWER_TTL;
	head.ip.protocol = protocol;
	head.ip.saddr = ends->source.word[3];
	head.ip.daddr = packet->source.word[3];
	head.ip.check = checksum_fold(
	    bpf_csum_diff(NULL, 0, (__be32 *)((__u8 *)&head + sizeof(head.eth)), sizeof(head.ip), 0));
	return bpf_skb_store_bytes(skb, 0, &head, sizeof(head), 0);
}

static __always_inline long answer_write6(struct __sk_buff *skb, const struct packet *packet,
					  const struct answer_ends *ends, __u32 length, __u8 protocol)
{
	struct {
		struct ethhdr eth;
		struct ipv6hdr ip;
	} __attribute__((packed)) head = {};

	__builtin_memcpy(head.eth.h_dest, ends->to_mac, ETH_ALEN);
	__builtin_memcpy(head.eth.h_source, ends->from_mac, ETH_ALEN);
	head.eth.h_proto = bpf_htons(ETH_P_IPV6);
	head.ip.version = 6;
	head.ip.payload_len = bpf_htons((__u16)length);
	head.ip.nexthdr = protocol;
	head.ip.hop_limit = ANSWER_TTL;
	__builtin_memcpy(&head.ip.saddr, &ends->source, sizeof(ends->source));
	__builtin_memcpy(&head.ip.daddr, &packet->source, sizeof(packet->source));
	return bpf_skb_store_bytes(skb, 0, &head, sizeof(head), 0);
}

/* Makes room for a transport of that length, and writes what stands before it. */
static __always_inline long answer_write(struct __sk_buff *skb, const struct packet *packet,
					 const struct answer_ends *ends, __u32 length, __u8 protocol)
{
	if (bpf_skb_change_tail(skb, answer_headers(packet) + length, 0))
		return -1;
	return packet->family == 4 ? answer_write4(skb, packet, ends, length, protocol)
				   : answer_write6(skb, packet, ends, length, protocol);
}
