/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The network header, from bytes to struct packet. Drops what is cut short, contradicts itself or would be
 * sent on by its receiver; says nothing about whether the packet may pass. Offsets and lengths are in bytes
 * from the start of the frame.
 */
#pragma once

#include <linux/ip.h>
#include <linux/ipv6.h>

#include "packet.h"
#include "wire.h"

#define IP4_OPTIONS_MAX	   40 /* RFC 791 §3.1: a header has at most 15 words */
#define IP6_EXTENSIONS_MAX 6  /* more than any sender in earnest uses */

#define IP4_FRAGMENT_MORE   0x2000
#define IP4_FRAGMENT_OFFSET 0x1fff

#ifndef IPPROTO_SCTP
#define IPPROTO_SCTP 132
#endif

/*
 * How much of the packet is there. A packet quoted inside an ICMP error (RFC 792, RFC 4443 §2.4) is cut off
 * by design: its length fields speak of the original.
 */
enum parse_mode {
	PARSE_WHOLE,
	PARSE_QUOTED,
};

/*
 * RFC 791 §3.1: option 131 is loose, 137 strict source and record route. Not inlined: few packets have
 * options, and the verifier of Linux 6.1 would walk the loop anew for each way that leads here.
 */
__attribute__((noinline)) int parse_ip4_options(struct __sk_buff *skb, __u32 offset, __u32 end)
{
	for (int i = 0; i < IP4_OPTIONS_MAX; i++) {
		__u8 option[2] = {};

		if (offset >= end)
			return DROP_NONE;
		if (bpf_skb_load_bytes(skb, offset, option, 1))
			return DROP_TRUNCATED;
		if (option[0] == 0)
			return DROP_NONE;
		if (option[0] == 1) {
			offset++;
			continue;
		}
		if (option[0] == 131 || option[0] == 137)
			return DROP_SOURCE_ROUTED;
		if (offset + 2 > end || bpf_skb_load_bytes(skb, offset, option, 2))
			return DROP_MALFORMED_IP;
		if (option[1] < 2 || offset + option[1] > end)
			return DROP_MALFORMED_IP;
		offset += option[1];
	}
	return DROP_NONE;
}

static __always_inline enum drop_reason parse_ip4(struct __sk_buff *skb, struct packet *packet,
						  enum parse_mode mode)
{
	__u32 offset = packet->network_offset, header_length, total, fragment;
	enum drop_reason reason;
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)))
		return DROP_TRUNCATED;
	header_length = ip.ihl * 4;
	total = bpf_ntohs(ip.tot_len);
	if (ip.version != 4 || header_length < sizeof(ip) || total < header_length)
		return DROP_MALFORMED_IP;
	if (mode == PARSE_WHOLE && !ip.ttl)
		return DROP_MALFORMED_IP;
	if (mode == PARSE_WHOLE && offset + total > skb->len)
		return DROP_TRUNCATED;
	if (header_length > sizeof(ip)) {
		reason =
		    (enum drop_reason)parse_ip4_options(skb, offset + sizeof(ip), offset + header_length);
		if (reason)
			return reason;
	}

	packet->family = 4;
	packet->protocol = ip.protocol;
	packet->hop_limit = ip.ttl;
	packet->length = total;
	packet->transport_offset = offset + header_length;
	address_from_ip4(&packet->source, ip.saddr);
	address_from_ip4(&packet->destination, ip.daddr);

	fragment = bpf_ntohs(ip.frag_off);
	if (fragment & (IP4_FRAGMENT_MORE | IP4_FRAGMENT_OFFSET)) {
		packet->fragment = fragment & IP4_FRAGMENT_OFFSET ? FRAGMENT_LATER : FRAGMENT_FIRST;
		packet->fragment_offset = (fragment & IP4_FRAGMENT_OFFSET) * 8;
		packet->fragment_start = packet->transport_offset;
		packet->fragment_protocol = ip.protocol;
		packet->fragment_id = (__be32)ip.id;
	}
	return DROP_NONE;
}

/*
 * Walks RFC 8200 §4's chain to the transport header. Routing headers are refused whatever their type: they
 * make the receiver send the packet on, past the policy.
 */
static __always_inline enum drop_reason parse_ip6(struct __sk_buff *skb, struct packet *packet,
						  enum parse_mode mode)
{
	__u32 offset = packet->network_offset, end;
	struct ip6_fragment_header header;
	struct ipv6hdr ip;
	__u8 next;

	if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)))
		return DROP_TRUNCATED;
	/* A payload length of 0 is a jumbogram (RFC 2675), which no veth carries unless someone asks for it.
	 */
	if (ip.version != 6 || !ip.payload_len)
		return DROP_MALFORMED_IP;
	if (mode == PARSE_WHOLE && !ip.hop_limit)
		return DROP_MALFORMED_IP;
	packet->length = sizeof(ip) + bpf_ntohs(ip.payload_len);
	end = offset + sizeof(ip) + bpf_ntohs(ip.payload_len);
	if (mode == PARSE_WHOLE && end > skb->len)
		return DROP_TRUNCATED;
	__builtin_memcpy(&packet->source, &ip.saddr, sizeof(packet->source));
	__builtin_memcpy(&packet->destination, &ip.daddr, sizeof(packet->destination));
	/* On the wire these mean nothing (RFC 4942 §2.2); in our maps they would pass for IPv4. */
	if (address_is_ip4_mapped(&packet->source) || address_is_ip4_mapped(&packet->destination))
		return DROP_MALFORMED_IP;
	packet->family = 6;
	packet->hop_limit = ip.hop_limit;

	next = ip.nexthdr;
	offset += sizeof(ip);
	for (int i = 0; i <= IP6_EXTENSIONS_MAX; i++) {
		switch (next) {
		case IPPROTO_TCP:
		case IPPROTO_UDP:
		case IPPROTO_SCTP:
		case IPPROTO_ICMPV6:
			packet->protocol = next;
			packet->transport_offset = offset;
			return DROP_NONE;
		case IPPROTO_HOPOPTS:
			if (i)
				return DROP_EXTENSION_HEADERS;
			break;
		case IPPROTO_DSTOPTS:
			break;
		case IPPROTO_ROUTING:
			return DROP_SOURCE_ROUTED;
		case IPPROTO_FRAGMENT:
			if (packet->has_fragment_header)
				return DROP_EXTENSION_HEADERS;
			packet->has_fragment_header = true;
			break;
		case IPPROTO_AH:
		case IPPROTO_MH:
		case IPPROTO_NONE:
		case 139: /* HIP */
		case 140: /* Shim6 */
			return DROP_EXTENSION_HEADERS;
		default:
			packet->protocol = next;
			return DROP_UNKNOWN_PROTOCOL;
		}
		if (offset + sizeof(header) > end || bpf_skb_load_bytes(skb, offset, &header, sizeof(header)))
			return DROP_TRUNCATED;
		if (next == IPPROTO_FRAGMENT) {
			__u16 field = bpf_ntohs(header.offset);

			offset += sizeof(header);
			/* With neither offset nor more to come it is an atomic fragment (RFC 6946): whole. */
			if (field & 0xfff9) {
				packet->fragment = field & 0xfff8 ? FRAGMENT_LATER : FRAGMENT_FIRST;
				packet->fragment_offset = field & 0xfff8;
				packet->fragment_start = offset;
				packet->fragment_protocol = header.next_header;
				packet->fragment_id = header.id;
			}
			if (packet->fragment == FRAGMENT_LATER) {
				packet->protocol = header.next_header;
				packet->transport_offset = offset;
				return DROP_NONE;
			}
		} else {
			/* The second byte of an options header counts 8-byte units beyond the first 8 (RFC
			 * 8200 §4.2). */
			offset += (header.reserved + 1) * 8;
		}
		if (offset > end)
			return DROP_TRUNCATED;
		next = header.next_header;
	}
	return DROP_EXTENSION_HEADERS;
}
