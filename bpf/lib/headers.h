/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Puts another address and port into the headers of a packet that lie where a program can write them: those
 * of TCP and UDP behind an IP header of the usual size. What is any different lib/rewrite.h does.
 */
#pragma once

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "packet.h"

/* Which end of a packet is rewritten. */
enum packet_end {
	PACKET_SOURCE,
	PACKET_DESTINATION,
};

/* Ones' complement sums of 16 bits: of words in memory order, in any order (RFC 1071). */
static __always_inline __u16 sum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

/* A mapped IPv4 address adds the same as the address alone: 0xffff is another zero. */
static __always_inline __u64 sum_address(const struct ip_address *address)
{
	return (__u64)address->word[0] + address->word[1] + address->word[2] + address->word[3];
}

static __always_inline __u64 sum_address_inverse(const struct ip_address *address)
{
	return (__u64)(__u32)~address->word[0] + (__u32)~address->word[1] + (__u32)~address->word[2] +
	       (__u32)~address->word[3];
}

/* The end of a packet as it is, which headers_rewrite() fills in, and as it is to be. */
struct header_change {
	const struct ip_address *from, *to;
	__be16 from_port, to_port;
	/* The checksum is left to the card, and is the pseudo header's: the sum itself, of no port. */
	bool is_partial;
	/* There may be none: nothing makes up for what is changed in a datagram without. */
	bool may_be_none;
};

static __always_inline __u16 transport_checksum(const struct packet *packet, __u16 before,
						const struct header_change *change)
{
	__u64 sum = sum_address_inverse(change->from) + sum_address(change->to);
	__u16 after;

	if (change->is_partial)
		after = sum_fold(sum + before);
	else
		after = (__u16)~sum_fold(sum + (__u16)~before + (__u16)~change->from_port + change->to_port);
	/* RFC 768: zero means "none". */
	return packet->protocol == IPPROTO_UDP && !after ? 0xffff : after;
}

static __always_inline bool headers_rewrite_transport(void *l4, void *end, const struct packet *packet,
						      enum packet_end which,
						      const struct header_change *change)
{
	if (packet->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = l4;

		if ((void *)(tcp + 1) > end)
			return false;
		tcp->check = transport_checksum(packet, tcp->check, change);
		if (which == PACKET_SOURCE)
			tcp->source = change->to_port;
		else
			tcp->dest = change->to_port;
	} else {
		struct udphdr *udp = l4;

		if ((void *)(udp + 1) > end)
			return false;
		/* A zero means "none", and stays. */
		if (udp->check)
			udp->check = transport_checksum(packet, udp->check, change);
		else if (!change->may_be_none)
			return false;
		if (which == PACKET_SOURCE)
			udp->source = change->to_port;
		else
			udp->dest = change->to_port;
	}
	return true;
}

/* One hop less, of the word that it stands in. */
#define HOP4 bpf_htons(0x100) /* before the protocol */
#define HOP6 bpf_htons(1)     /* behind the next header */

/*
 * One end of a packet of TCP or UDP, which is no fragment, and takes off a hop, as a router does; data is the
 * frame's first byte. False: the headers are not there, or not as simple, and nothing is changed.
 */
static __always_inline bool headers_rewrite(void *data, void *end, const struct packet *packet,
					    enum packet_end which, struct header_change *change)
{
	bool is_source = which == PACKET_SOURCE;
	void *l3 = data + sizeof(struct ethhdr);

	change->from = is_source ? &packet->source : &packet->destination;
	change->from_port = is_source ? packet->source_port : packet->destination_port;
	if (packet->family == 4) {
		struct iphdr *ip = l3;
		__u64 sum;

		if ((void *)(ip + 1) > end || !headers_rewrite_transport(ip + 1, end, packet, which, change))
			return false;
		sum = (__u64)(__u16)~ip->check + (__u16)~HOP4 + (__u32)~change->from->word[3] +
		      change->to->word[3];
		if (is_source)
			ip->saddr = change->to->word[3];
		else
			ip->daddr = change->to->word[3];
		ip->ttl = packet->hop_limit - 1;
		ip->check = (__u16)~sum_fold(sum);
	} else {
		struct ipv6hdr *ip = l3;

		if ((void *)(ip + 1) > end || !headers_rewrite_transport(ip + 1, end, packet, which, change))
			return false;
		__builtin_memcpy(is_source ? &ip->saddr : &ip->daddr, change->to, sizeof(*change->to));
		ip->hop_limit = packet->hop_limit - 1;
	}
	return true;
}

/* What headers_rewrite() adds to the sum of the whole packet, which no checksum of its own makes up for. */
static __always_inline __u32 headers_rewrite_sum(const struct packet *packet,
						 const struct header_change *change)
{
	/* In IPv6 the address itself makes up for what the transport's checksum became. */
	if (packet->family == 6)
		return (__u16)~HOP6;
	return sum_fold(sum_address_inverse(change->to) + sum_address(change->from));
}
