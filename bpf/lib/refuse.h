/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Tells a container at once that nobody is there, or no longer: a connection that it believes to be open is
 * reset (RFC 9293 §3.10.7.1), everything else gets a "port unreachable". Nothing is said about what may be
 * there and is only not for the sender.
 */
#pragma once

#include "icmp_answer.h"

/*
 * Puts a RST in the place of a segment of a connection, with the sequence number that its sender waits for:
 * any other one it would not take (RFC 5961 §3.2). Nothing is answered to a RST. Not inlined, for its stack.
 */
static __attribute__((noinline)) int tcp_reset(struct __sk_buff *skb, struct passage *passage)
{
	const struct packet *packet = &passage->packet;
	struct answer_ends ends = {.source = packet->destination};
	struct tcphdr segment, reset = {};
	__s64 sum;

	if ((packet->tcp_flags & (TCP_RST | TCP_ACK)) != TCP_ACK ||
	    bpf_skb_load_bytes(skb, packet->transport_offset, &segment, sizeof(segment)))
		return 0;
	reset.source = segment.dest;
	reset.dest = segment.source;
	reset.seq = segment.ack_seq;
	reset.doff = sizeof(reset) / 4;
	reset.rst = 1;
	sum = answer_pseudo_sum(&ends.source, &packet->source, sizeof(reset), IPPROTO_TCP);
	reset.check = checksum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&reset, sizeof(reset), (__u32)sum));
	answer_ends_of(&passage->self, &ends);
	if (answer_write(skb, packet, &ends, sizeof(reset), IPPROTO_TCP) ||
	    bpf_skb_store_bytes(skb, answer_headers(packet), &reset, sizeof(reset), 0))
		return 0;
	deliver_back(skb, passage);
	passage->answered = true;
	return 1;
}

/* Drops a packet of a container for a reason that its sender is told of. */
static __always_inline enum drop_reason refuse(struct __sk_buff *skb, struct passage *passage,
					       enum drop_reason reason)
{
	const struct packet *packet = &passage->packet;
	bool ip4 = packet->family == 4;

	if (config_explain)
		return reason;
	if (packet->protocol == IPPROTO_TCP && packet->fragment != FRAGMENT_LATER && !packet_opens(packet))
		tcp_reset(skb, passage);
	else
		icmp_answer(skb, passage, ip4 ? ICMP4_UNREACHABLE : ICMP6_UNREACHABLE,
			    ip4 ? ICMP4_CODE_PORT : ICMP6_CODE_PORT, 0);
	return reason;
}
