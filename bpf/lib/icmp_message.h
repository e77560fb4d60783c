/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What a router tells the sender of a packet that it does not send on (RFC 792, RFC 1812 §4.3.2, RFC 4443
 * §2.4), made in the packet's own place: one answer for one packet.
 */
#pragma once

#include "answer.h"

/* Type and code of the answers: RFC 792, RFC 1191; RFC 4443. */
#define ICMP4_CODE_FRAGMENTATION_NEEDED 4
#define ICMP6_TOO_BIG			2
#define ICMP6_TIME_EXCEEDED		3

/* Of the packet that it is about: network header with options, and enough of the transport. */
#define ICMP_QUOTE_MAX 128
#define ICMP_QUOTE_MIN 28 /* IPv4 header and 64 bits */

struct icmp_message {
	struct icmp_header header;
	__u8 quote[ICMP_QUOTE_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct icmp_message);
} icmp_messages SEC(".maps");

struct icmp_answer {
	__u8 type;
	__u8 code;
	__u16 mtu; /* 0: not about size */
	struct answer_ends ends;
};

/* The checksum of a message whose quote is followed by zeroes, which add nothing. */
static __always_inline __be16 icmp_checksum(const struct packet *packet, const struct ip_address *gateway,
					    struct icmp_message *message, __u32 length)
{
	__s64 sum = 0;

	if (packet->family == 6)
		sum = answer_pseudo_sum(gateway, &packet->source, length, IPPROTO_ICMPV6);
	return checksum_fold(bpf_csum_diff(NULL, 0, (__be32 *)message, sizeof(*message), (__u32)sum));
}

/*
 * Puts the answer in the packet's place; 0: that is not done. Nothing is answered to an ICMP error or about a
 * later fragment (RFC 1122 §3.2.2).
 */
static __attribute__((noinline)) int icmp_write(struct __sk_buff *skb, struct passage *passage,
						const struct icmp_answer *answer)
{
	const struct packet *packet = &passage->packet;
	struct icmp_message *message;
	__u32 zero = 0, quote, length;
	long error;

	if (packet->fragment == FRAGMENT_LATER || icmp_is_error(packet))
		return 0;
	message = bpf_map_lookup_elem(&icmp_messages, &zero);
	if (!message)
		return 0;
	__builtin_memset(message, 0, sizeof(*message));
	quote = packet->length;
	if (quote > ICMP_QUOTE_MAX)
		quote = ICMP_QUOTE_MAX;
	/* The verifier must see the bounds in the register that the helper gets. */
	asm volatile("" : "+r"(quote));
	if (quote < ICMP_QUOTE_MIN || quote > ICMP_QUOTE_MAX ||
	    bpf_skb_load_bytes(skb, packet->network_offset, message->quote, quote))
		return 0;
	length = sizeof(message->header) + quote;
	message->header.type = answer->type;
	message->header.code = answer->code;
	message->header.echo_sequence = bpf_htons(answer->mtu);
	message->header.checksum = icmp_checksum(packet, &answer->ends.source, message, length);
	error = answer_write(skb, packet, &answer->ends, length,
			     packet->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	asm volatile("" : "+r"(quote));
	if (error || quote < ICMP_QUOTE_MIN || quote > ICMP_QUOTE_MAX)
		return 0;
	return !bpf_skb_store_bytes(skb, answer_headers(packet), message, sizeof(message->header) + quote, 0);
}
