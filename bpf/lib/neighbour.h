/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * ARP (RFC 826) and neighbour discovery (RFC 4861) of containers end here. Every address of the network is
 * answered with the gateway's MAC, whether anyone has it or not: nothing is flooded, nobody learns who else
 * exists, and no table is left to poison. Drops what claims to be someone else, and what asks for no answer.
 */
#pragma once

#include "answer.h"
#include "endpoint.h"
#include "parse.h"

#define ND_OPTION_SOURCE_MAC	   1
#define ND_OPTION_TARGET_MAC	   2
#define ND_OPTIONS_MAX		   4
#define ND_HOP_LIMIT		   255 /* RFC 4861 §7.1: proves that no router has touched it */
#define ND_FLAG_SOLICITED_OVERRIDE 0x60

struct arp_frame {
	struct ethhdr eth;
	__be16 hardware_type;
	__be16 protocol_type;
	__u8 hardware_length;
	__u8 protocol_length;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__be32 sender_ip;
	__u8 target_mac[ETH_ALEN];
	__be32 target_ip;
} __attribute__((packed));

struct nd_message {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__u8 flags[4];
	struct ip_address target;
};

struct nd_answer {
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct nd_message message;
	__u8 option_type;
	__u8 option_length; /* in units of 8 bytes */
	__u8 option_mac[ETH_ALEN];
} __attribute__((packed));

/* May an address be asked for: in the network of self, and not its own? */
static __always_inline bool neighbour_answerable(const struct endpoint *self, const struct ip_address *target)
{
	return endpoint_network_contains(self, target) && !address_equal(target, &self->ip4) &&
	       !address_equal(target, &self->ip6);
}

/*
 * Turns an ARP request into its answer, in place. DROP_NONE: the frame is ready to go back. Not inlined, for
 * its stack.
 */
static __attribute__((noinline)) enum drop_reason arp_answer(struct __sk_buff *skb,
							     const struct endpoint *self)
{
	struct ip_address sender, target;
	struct arp_frame frame;

	if (bpf_skb_load_bytes(skb, 0, &frame, sizeof(frame)))
		return DROP_TRUNCATED;
	if (frame.hardware_type != bpf_htons(ARP_HARDWARE_ETHERNET) ||
	    frame.protocol_type != bpf_htons(ETH_P_IP) || frame.hardware_length != ETH_ALEN ||
	    frame.protocol_length != sizeof(__be32))
		return DROP_TRUNCATED;
	address_from_ip4(&sender, frame.sender_ip);
	address_from_ip4(&target, frame.target_ip);
	/* RFC 5227 §1.1: a probe has no sender address yet. */
	if (!mac_equal(frame.sender_mac, self->mac) ||
	    (frame.sender_ip && !address_equal(&sender, &self->ip4)))
		return DROP_SPOOFED_ARP;
	if (frame.operation != bpf_htons(ARP_REQUEST))
		return DROP_ARP_REJECTED;
	if (!frame.sender_ip || !neighbour_answerable(self, &target))
		return DROP_ARP_REJECTED;

	__builtin_memcpy(frame.eth.h_dest, self->mac, ETH_ALEN);
	__builtin_memcpy(frame.eth.h_source, self->gateway_mac, ETH_ALEN);
	frame.operation = bpf_htons(ARP_REPLY);
	frame.target_ip = frame.sender_ip;
	__builtin_memcpy(frame.target_mac, self->mac, ETH_ALEN);
	frame.sender_ip = target.word[3];
	__builtin_memcpy(frame.sender_mac, self->gateway_mac, ETH_ALEN);
	return bpf_skb_store_bytes(skb, 0, &frame, sizeof(frame), 0) ? DROP_DELIVERY_FAILED : DROP_NONE;
}

/* Every link-layer address among the options (RFC 4861 §4.6.1) must be the endpoint's own. */
static __always_inline enum drop_reason nd_check_options(struct __sk_buff *skb, const struct endpoint *self,
							 __u32 offset, __u32 end)
{
	for (int i = 0; i <= ND_OPTIONS_MAX; i++) {
		__u8 option[8];

		if (offset == end)
			return DROP_NONE;
		if (offset + sizeof(option) > end || bpf_skb_load_bytes(skb, offset, option, sizeof(option)))
			return DROP_TRUNCATED;
		if (!option[1])
			return DROP_TRUNCATED;
		if ((option[0] == ND_OPTION_SOURCE_MAC || option[0] == ND_OPTION_TARGET_MAC) &&
		    (option[1] != 1 || !mac_equal(option + 2, self->mac)))
			return DROP_SPOOFED_ND;
		offset += option[1] * 8;
	}
	return DROP_TRUNCATED;
}

static __always_inline enum drop_reason nd_write_answer(struct __sk_buff *skb, const struct endpoint *self,
							const struct packet *packet,
							const struct ip_address *target)
{
	const __u32 length = sizeof(struct nd_message) + 8;
	struct nd_answer answer = {};
	__s64 sum;

	__builtin_memcpy(answer.eth.h_dest, self->mac, ETH_ALEN);
	__builtin_memcpy(answer.eth.h_source, self->gateway_mac, ETH_ALEN);
	answer.eth.h_proto = bpf_htons(ETH_P_IPV6);
	answer.ip.version = 6;
	answer.ip.payload_len = bpf_htons((__u16)length);
	answer.ip.nexthdr = IPPROTO_ICMPV6;
	answer.ip.hop_limit = ND_HOP_LIMIT;
	__builtin_memcpy(&answer.ip.saddr, target, sizeof(*target));
	__builtin_memcpy(&answer.ip.daddr, &packet->source, sizeof(packet->source));
	answer.message.type = ICMP6_NEIGHBOUR_ADVERTISEMENT;
	answer.message.flags[0] = ND_FLAG_SOLICITED_OVERRIDE;
	answer.message.target = *target;
	answer.option_type = ND_OPTION_TARGET_MAC;
	answer.option_length = 1;
	__builtin_memcpy(answer.option_mac, self->gateway_mac, ETH_ALEN);

	sum = answer_pseudo_sum(target, &packet->source, length, IPPROTO_ICMPV6);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)((__u8 *)&answer + sizeof(answer.eth) + sizeof(answer.ip)),
			    length, (__u32)sum);
	answer.message.checksum = checksum_fold(sum);

	if (bpf_skb_change_tail(skb, sizeof(answer), 0) ||
	    bpf_skb_store_bytes(skb, 0, &answer, sizeof(answer), 0))
		return DROP_DELIVERY_FAILED;
	return DROP_NONE;
}

/* Is this packet neighbour or router discovery? Asked before its source is judged: RFC 4862 probes have none.
 */
static __always_inline bool nd_is_discovery(const struct packet *packet)
{
	return packet->protocol == IPPROTO_ICMPV6 && packet->fragment != FRAGMENT_LATER &&
	       packet->icmp_type >= ICMP6_ROUTER_SOLICITATION && packet->icmp_type <= ICMP6_REDIRECT;
}

/*
 * Turns a neighbour solicitation into its answer, in place. DROP_NONE: the frame is ready to go back. Not
 * inlined, for its stack.
 */
static __attribute__((noinline)) enum drop_reason
nd_answer(struct __sk_buff *skb, const struct endpoint *self, const struct packet *packet)
{
	__u32 end = packet->network_offset + packet->length;
	struct nd_message message;
	enum drop_reason reason;

	if (packet->icmp_type != ICMP6_NEIGHBOUR_SOLICITATION &&
	    packet->icmp_type != ICMP6_NEIGHBOUR_ADVERTISEMENT)
		return DROP_ROUTER_ADVERTISEMENT;
	/* RFC 6980: discovery is never fragmented. */
	if (packet->has_fragment_header || packet->hop_limit != ND_HOP_LIMIT || packet->icmp_code)
		return DROP_ND_REJECTED;
	if (packet->transport_offset + sizeof(message) > end ||
	    bpf_skb_load_bytes(skb, packet->transport_offset, &message, sizeof(message)))
		return DROP_TRUNCATED;
	reason = nd_check_options(skb, self, packet->transport_offset + sizeof(message), end);
	if (reason)
		return reason;

	if (packet->icmp_type == ICMP6_NEIGHBOUR_ADVERTISEMENT) {
		if (!address_equal(&message.target, &self->ip6) &&
		    !address_equal(&message.target, &self->link_local))
			return DROP_SPOOFED_ND;
		return DROP_ND_REJECTED;
	}
	if (address_is_zero(&packet->source)) {
		/* Duplicate address detection (RFC 4862 §5.4): silence is consent. */
		if (!address_equal(&message.target, &self->ip6) &&
		    !address_equal(&message.target, &self->link_local))
			return DROP_SPOOFED_ND;
		return DROP_ND_REJECTED;
	}
	if (!address_equal(&packet->source, &self->ip6) && !address_equal(&packet->source, &self->link_local))
		return DROP_SPOOFED_ND;
	if (!neighbour_answerable(self, &message.target))
		return DROP_ND_REJECTED;
	return nd_write_answer(skb, self, packet, &message.target);
}
