/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The way out by the uplink, under the node's address: what a router with address translation does, past the
 * host's stack. Drops what is too large for the uplink or has been too far, and tells the sender.
 */
#pragma once

#include "icmp_answer.h"
#include "icmp_error.h"
#include "rewrite.h"
#include "uplink.h"

/* Type and code of the answers: RFC 792, RFC 1191; RFC 4443. */
#define ICMP4_CODE_FRAGMENTATION_NEEDED 4
#define ICMP6_TOO_BIG			2
#define ICMP6_TIME_EXCEEDED		3

static __always_inline bool record_is_translated(const struct conntrack_entry *record)
{
	return !address_is_zero(&record->nat_address);
}

/* The container's end of a translated flow, which is its opener, as the container knows it. */
static __always_inline void flow_opener(const struct conntrack_key *key, const struct conntrack_entry *record,
					struct ip_address *address, __be16 *port)
{
	bool from_b = record->flags & CONNTRACK_OPENER_IS_B;

	*address = from_b ? key->address_b : key->address_a;
	*port = from_b ? key->port_b : key->port_a;
}

/* From the container's names to those of the uplink. */
static __always_inline void rewrite_out(const struct passage *passage, enum packet_end end,
					struct rewrite *rewrite)
{
	rewrite->end = end;
	flow_opener(&passage->flow.key, &passage->record, &rewrite->from, &rewrite->from_port);
	rewrite->to = passage->record.nat_address;
	rewrite->to_port = passage->record.nat_port;
}

/* May the packet be sent on by the uplink? *uplink is it then. */
static __always_inline enum drop_reason masquerade_check(struct __sk_buff *skb, struct passage *passage,
							 __u32 *uplink)
{
	const struct packet *packet = &passage->packet;
	bool ip4 = packet->family == 4;
	struct icmp_answer answer = {};
	enum drop_reason reason;
	__u32 mtu = 0;
	long fits;

	*uplink = uplink_ifindex();
	if (!*uplink)
		return DROP_NO_UPLINK;
	reason = checksum_check(skb, packet);
	if (reason)
		return reason;
	if (packet->hop_limit <= 1) {
		answer.type = ip4 ? ICMP4_TIME_EXCEEDED : ICMP6_TIME_EXCEEDED;
		reason = DROP_HOP_LIMIT;
	} else {
		/* Segments of what the card will cut are measured one by one. */
		fits = bpf_check_mtu(skb, *uplink, &mtu, 0, BPF_MTU_CHK_SEGS);
		if (!fits)
			return DROP_NONE;
		if (fits < 0)
			return DROP_NO_UPLINK;
		/* Also without DF: the sender fragments itself from now on. */
		answer.type = ip4 ? ICMP4_UNREACHABLE : ICMP6_TOO_BIG;
		answer.code = ip4 ? ICMP4_CODE_FRAGMENTATION_NEEDED : 0;
		answer.mtu = (__u16)(mtu > 0xffff ? 0xffff : mtu);
		reason = DROP_TOO_BIG;
	}
	icmp_answer(skb, passage, &answer);
	return reason;
}

/* To whoever has the destination's address beyond the uplink; the kernel finds route and neighbour. */
static __always_inline enum drop_reason masquerade_send(struct passage *passage, __u32 uplink)
{
	passage->action = (int)bpf_redirect_neigh(uplink, NULL, 0, 0);
	return DROP_NONE;
}

/* Sends a packet of a translated flow on. */
static __always_inline enum drop_reason masquerade(struct __sk_buff *skb, struct passage *passage)
{
	struct rewrite rewrite;
	enum drop_reason reason;
	__u32 uplink;

	reason = masquerade_check(skb, passage, &uplink);
	if (reason)
		return reason;
	rewrite_out(passage, PACKET_SOURCE, &rewrite);
	reason = rewrite_packet(skb, &passage->packet, &rewrite);
	if (!reason)
		reason = rewrite_hop_limit(skb, &passage->packet);
	return reason ? reason : masquerade_send(passage, uplink);
}

/* Sends on what the container complains of about a packet of a translated flow. */
static __always_inline enum drop_reason masquerade_error(struct __sk_buff *skb, struct passage *passage)
{
	struct rewrite rewrite;
	enum drop_reason reason;
	__u32 uplink;

	reason = masquerade_check(skb, passage, &uplink);
	if (reason)
		return reason;
	rewrite_out(passage, PACKET_DESTINATION, &rewrite);
	reason = rewrite_quoted(skb, &passage->packet, &passage->quoted, &rewrite);
	if (reason)
		return reason;
	rewrite.end = PACKET_SOURCE;
	reason = rewrite_packet(skb, &passage->packet, &rewrite);
	if (!reason)
		reason = rewrite_hop_limit(skb, &passage->packet);
	return reason ? reason : masquerade_send(passage, uplink);
}
