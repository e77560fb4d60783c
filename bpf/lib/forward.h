/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The way out by the uplink, under the node's address: what a router with address translation does, past the
 * host's stack. Drops what is too large for the uplink or has been too far, and tells the sender.
 */
#pragma once

#include "icmp_answer.h"
#include "route.h"
#include "translate.h"

/* May the packet be sent on by the uplink? */
static __always_inline enum drop_reason forward_check(struct __sk_buff *skb, struct passage *passage,
						      __u32 uplink)
{
	const struct packet *packet = &passage->packet;
	bool ip4 = packet->family == 4;
	enum drop_reason reason;
	__u32 mtu = 0;
	long fits;

	reason = checksum_check(skb, packet);
	if (reason)
		return reason;
	if (packet->hop_limit <= 1) {
		icmp_answer(skb, passage, ip4 ? ICMP4_TIME_EXCEEDED : ICMP6_TIME_EXCEEDED, 0, 0);
		return DROP_HOP_LIMIT;
	}
	/* Segments of what the card will cut are measured one by one. */
	fits = bpf_check_mtu(skb, uplink, &mtu, 0, BPF_MTU_CHK_SEGS);
	if (!fits)
		return DROP_NONE;
	if (fits < 0)
		return DROP_NO_UPLINK;
	/* Also without DF: the sender fragments itself from now on. */
	icmp_answer(skb, passage, ip4 ? ICMP4_UNREACHABLE : ICMP6_TOO_BIG,
		    ip4 ? ICMP4_CODE_FRAGMENTATION_NEEDED : 0, (__u16)(mtu > 0xffff ? 0xffff : mtu));
	return DROP_TOO_BIG;
}

/* Sends a packet of a translated flow, or the container's error about one, to its end outside. */
static __always_inline enum drop_reason forward(struct __sk_buff *skb, struct passage *passage,
						enum flow_end sender, bool is_error)
{
	int reason = route_out(skb, passage, sender, sender == FLOW_OPENER && !is_error);
	__u32 uplink = passage->fib.ifindex;

	if (!reason)
		reason = forward_check(skb, passage, uplink);
	if (!reason)
		reason = translate_on(skb, passage, sender, is_error);
	if (reason)
		return (enum drop_reason)reason;
	/* To whoever has the destination's address beyond the uplink; the kernel finds what is not known yet.
	 */
	passage->action = (int)(passage->next_hop.nh_family ? bpf_redirect_neigh(uplink, &passage->next_hop,
										 sizeof(passage->next_hop), 0)
							    : bpf_redirect_neigh(uplink, NULL, 0, 0));
	return DROP_NONE;
}
