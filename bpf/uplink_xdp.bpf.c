// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * XDP on the uplink, in its driver where that can: drops what is taken from nobody, and hands packets of
 * established flows straight to their containers. Everything else goes on to the kernel's stack, that is to
 * from_uplink, which does both where this program does not run.
 */
#include "lib/account.h"
#include "lib/fast_path.h"
#include "lib/inbound.h"

/* Answer of handle_frame() that is no drop reason: the packet goes on to the stack. */
#define NOT_OURS 1001

/* The network header, from bytes to struct packet. NOT_OURS: it has none. */
static __always_inline int parse_network(struct xdp_md *xdp, struct packet *packet, __u32 length)
{
	void *data = (void *)(long)xdp->data, *end = (void *)(long)xdp->data_end;
	struct ethhdr *eth = data;
	void *l3 = eth + 1;

	if (l3 > end)
		return NOT_OURS;
	packet->ethertype = bpf_ntohs(eth->h_proto);
	packet->network_offset = sizeof(*eth);
	if (packet->ethertype == ETH_P_IP) {
		struct iphdr *ip = l3;

		return (void *)(ip + 1) > end ? DROP_TRUNCATED
					      : inbound_ip4(ip, length - (__u32)sizeof(*eth), packet);
	}
	if (packet->ethertype == ETH_P_IPV6) {
		struct ipv6hdr *ip = l3;

		return (void *)(ip + 1) > end ? DROP_TRUNCATED
					      : inbound_ip6(ip, length - (__u32)sizeof(*eth), packet);
	}
	return NOT_OURS;
}

static __always_inline int handle_frame(struct xdp_md *xdp, struct passage *passage)
{
	struct packet *packet = &passage->packet;
	int reason;

	passage->outcome.source.identity = IDENTITY_WORLD;
	reason = parse_network(xdp, packet, passage->length);
	if (!reason)
		reason = inbound_check(packet, inbound_flags());
	if (reason)
		return reason;
	if (fast_path(xdp, passage))
		return DROP_NONE;
	passage->self.id = 0;
	passage->self.network_id = 0;
	reason = inbound_spoof_check(packet);
	return reason ? reason : NOT_OURS;
}

SEC("xdp.frags")
int uplink_xdp(struct xdp_md *xdp)
{
	struct passage *passage = passage_of_length((__u32)bpf_xdp_get_buff_len(xdp));
	int reason;

	if (!passage)
		return XDP_PASS;
	reason = handle_frame(xdp, passage);
	if (reason == NOT_OURS)
		return XDP_PASS;
	account_at(xdp->ingress_ifindex, passage, DIRECTION_INGRESS, (enum drop_reason)reason);
	return reason ? XDP_DROP : passage->action;
}

char _license[] SEC("license") = "Dual MIT/GPL";
