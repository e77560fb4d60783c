/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The ways out for a packet that may pass. */
#pragma once

#include "bandwidth.h"
#include "checksum.h"
#include "config.h"
#include "endpoint.h"
#include "passage.h"

/* The kernel marks a frame by the MAC it was sent to; once we have decided where it goes, it is for that
 * host. */
static __always_inline void mark_for_receiver(struct __sk_buff *skb)
{
	if (skb->pkt_type != PACKET_HOST)
		bpf_skb_change_type(skb, PACKET_HOST);
}

/* Back into the container that sent it: an answer made from its own request. */
static __always_inline enum drop_reason deliver_back(struct __sk_buff *skb, struct passage *passage)
{
	mark_for_receiver(skb);
	passage->action = (int)bpf_redirect_peer(skb->ifindex, 0);
	return DROP_NONE;
}

/* To the host's own stack, which routes it on if it is not for the host. */
static __always_inline enum drop_reason deliver_host(struct __sk_buff *skb, struct passage *passage)
{
	enum drop_reason reason = checksum_check(skb, &passage->packet);

	if (reason)
		return reason;
	mark_for_receiver(skb);
	passage->action = ACTION_PASS;
	return DROP_NONE;
}

/*
 * What stands in skb->cb of a frame that passes by to_container on its way to an endpoint, judged already;
 * the endpoint's id beside it. No stack writes both of them there, and none addresses a frame as
 * deliver_local() does.
 */
#define HANDED_OVER 0x716e6862

static __always_inline enum drop_reason hand_over(struct __sk_buff *skb, struct passage *passage,
						  const struct endpoint *to)
{
	enum drop_reason reason;
	__u32 mtu = 0;

	if (to->flags & ENDPOINT_LIMITED_INGRESS) {
		if (!bpf_check_mtu(skb, to->ifindex, &mtu, 0, BPF_MTU_CHK_SEGS)) {
			/* By the queue of its interface, and the program before that. */
			skb->cb[0] = HANDED_OVER;
			skb->cb[1] = to->id;
			passage->action = (int)bpf_redirect(to->ifindex, 0);
			return DROP_NONE;
		}
		/* Larger than what passes there, from a network of larger packets: it counts, and does not
		 * wait. */
		reason = bandwidth_admit(skb, &passage->packet, to->id, DIRECTION_INGRESS);
		if (reason)
			return reason;
	}
	passage->action = (int)bpf_redirect_peer(to->ifindex, 0);
	return DROP_NONE;
}

/* Is it a frame that another program has handed over to this endpoint? Asked once: then it is none any more.
 */
static __always_inline bool handed_over(struct __sk_buff *skb, const struct ethhdr *eth,
					const struct endpoint *self)
{
	if (!(self->flags & ENDPOINT_LIMITED_INGRESS) || skb->cb[0] != HANDED_OVER ||
	    skb->cb[1] != self->id || !mac_equal(eth->h_source, self->gateway_mac))
		return false;
	skb->cb[0] = 0;
	return true;
}

/* Straight into another container: past the host's stack and, unless it has a limit, every queue. */
static __always_inline enum drop_reason deliver_local(struct __sk_buff *skb, struct passage *passage,
						      const struct endpoint *receiver)
{
	enum drop_reason reason = checksum_check(skb, &passage->packet);
	__u8 macs[2 * ETH_ALEN];

	if (reason)
		return reason;
	__builtin_memcpy(macs, receiver->mac, ETH_ALEN);
	__builtin_memcpy(macs + ETH_ALEN, receiver->gateway_mac, ETH_ALEN);
	if (bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0))
		return DROP_DELIVERY_FAILED;
	mark_for_receiver(skb);
	return hand_over(skb, passage, receiver);
}

/* Hands an allowed packet to whoever stands at the other end: an endpoint on this node, or (0) the host. */
static __always_inline enum drop_reason deliver(struct __sk_buff *skb, struct passage *passage,
						__u32 endpoint_id, __u32 ifindex)
{
	if (!endpoint_id)
		return deliver_host(skb, passage);
	if (!endpoint_of_interface(ifindex, &passage->peer) || passage->peer.id != endpoint_id)
		return DROP_NO_SUCH_ENDPOINT;
	return deliver_local(skb, passage, &passage->peer);
}

struct flood {
	struct __sk_buff *skb;
	__u32 network_id;
	__u32 from_ifindex;
};

static long flood_one(struct bpf_map *map, const __u32 *ifindex, struct endpoint *endpoint,
		      struct flood *flood)
{
	(void)map;
	if (endpoint->network_id == flood->network_id && *ifindex != flood->from_ifindex)
		bpf_clone_redirect(flood->skb, *ifindex, 0);
	return 0;
}

/*
 * A copy to every other endpoint of the network, through the to_container program of each, which judges it
 * for that receiver. Only for networks whose options ask for it.
 */
static __always_inline enum drop_reason deliver_flood(struct __sk_buff *skb, const struct passage *passage)
{
	const struct endpoint *self = &passage->self;
	enum drop_reason reason = checksum_check(skb, &passage->packet);
	struct flood flood = {.skb = skb, .network_id = self->network_id, .from_ifindex = self->ifindex};

	if (reason || config_explain)
		return reason; /* the copies would be real */
	if (bpf_skb_store_bytes(skb, ETH_ALEN, self->gateway_mac, ETH_ALEN, 0))
		return DROP_DELIVERY_FAILED;
	/* Whatever the container has written there: nobody has judged the copies yet. */
	skb->cb[0] = 0;
	bpf_for_each_map_elem(&qn_endpoints, flood_one, &flood, 0);
	return DROP_NONE;
}
