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
