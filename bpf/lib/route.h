/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * By which uplink a packet leaves the node, to which neighbour, and under which address. Where there is a
 * choice the node's routes and rules make it, as for traffic that a router would forward: from the
 * container's own address, so that a rule can send a network its own way. Drops what they lead nowhere, or
 * out by what is no uplink.
 */
#pragma once

#include "conntrack.h"
#include "passage.h"
#include "uplink.h"

#define FAMILY_IP4 2  /* AF_INET */
#define FAMILY_IP6 10 /* AF_INET6 */

/* Also say what address the node speaks from on that way; EINVAL before Linux 6.7. */
#define FIB_LOOKUP_SOURCE (1U << 4)

/*
 * Asks for the way from an address to the packet's destination: passage->fib. Negative: errno; else enum
 * drop_reason.
 */
static __always_inline int route_ask(struct __sk_buff *skb, struct passage *passage,
				     const struct ip_address *source, __u32 router, __u32 flags)
{
	struct bpf_fib_lookup *fib = &passage->fib;
	const struct packet *packet = &passage->packet;
	long found;

	__builtin_memset(fib, 0, sizeof(*fib));
	fib->ifindex = router;
	fib->l4_protocol = packet->protocol;
	fib->sport = packet->source_port;
	fib->dport = packet->destination_port;
	if (packet->family == 4) {
		fib->family = FAMILY_IP4;
		fib->ipv4_src = source->word[3];
		fib->ipv4_dst = packet->destination.word[3];
	} else {
		fib->family = FAMILY_IP6;
		__builtin_memcpy(fib->ipv6_src, source, sizeof(*source));
		__builtin_memcpy(fib->ipv6_dst, &packet->destination, sizeof(packet->destination));
	}
	found = bpf_fib_lookup(skb, fib, sizeof(*fib), flags);
	/* The neighbour is asked for when the packet leaves, and its size is forward_check()'s to judge. */
	if (found == BPF_FIB_LKUP_RET_SUCCESS || found == BPF_FIB_LKUP_RET_NO_NEIGH ||
	    found == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return DROP_NONE;
	return found < 0 ? (int)found : DROP_NO_ROUTE;
}

/* The uplink and the address of the flow that the packet opens: passage->naming, and the outcome's
 * destination. */
static __attribute__((noinline, unused)) int route_open(struct __sk_buff *skb, struct passage *passage)
{
	const struct packet *packet = &passage->packet;
	struct ip_address *address = &passage->naming.address;
	__u32 *ifindex = &passage->outcome.destination.ifindex;
	struct bpf_fib_lookup *fib = &passage->fib;
	struct uplink *uplink = uplink_first();
	bool is_fixed, has_source = true;
	__u32 router;
	int reason;

	if (!uplink)
		return DROP_MAP_CORRUPT;
	/* Whatever way it takes later, that is its address. */
	is_fixed = (passage->self.flags & ENDPOINT_SOURCE_ADDRESS) &&
		   source_address(packet, passage->self.network_id, address);
	router = *(const volatile __u32 *)&uplink->router;
	if (!router)
		return is_fixed ? DROP_NONE : (int)uplink_address(uplink, packet, address, ifindex);
	reason = route_ask(skb, passage, &packet->source, router, FIB_LOOKUP_SOURCE);
	if (reason < 0) {
		has_source = false;
		reason = route_ask(skb, passage, &packet->source, router, 0);
	}
	if (reason || is_fixed)
		return reason < 0 ? DROP_NO_ROUTE : reason;
	uplink = uplink_of(fib->ifindex);
	if (!uplink)
		return DROP_NO_UPLINK;
	reason = uplink_address(uplink, packet, address, ifindex);
	if (*ifindex != fib->ifindex)
		return DROP_NO_UPLINK_ADDRESS;
	if (reason || !has_source)
		return reason;
	if (packet->family == 4)
		address_from_ip4(address, fib->ipv4_src);
	else
		__builtin_memcpy(address, fib->ipv6_src, sizeof(*address));
	return DROP_NONE;
}

/* The neighbour that route_ask() has found. */
static __always_inline void next_hop_of_route(struct passage *passage)
{
	struct bpf_redir_neigh *next_hop = &passage->next_hop;

	next_hop->nh_family = passage->fib.family;
	__builtin_memcpy(next_hop->ipv6_nh, passage->fib.ipv6_dst, sizeof(next_hop->ipv6_nh));
}

/* By the uplink that a flow has, whatever the routes say: the way that they know there, or its gateway. */
static __always_inline int route_kept(struct __sk_buff *skb, struct passage *passage,
				      const struct uplink *uplink, __u32 ifindex, __u32 router)
{
	struct bpf_redir_neigh *next_hop = &passage->next_hop;
	struct bpf_fib_lookup *fib = &passage->fib;
	struct ip_address gateway;

	if (!route_ask(skb, passage, &passage->record.nat_address, router, 0) && fib->ifindex == ifindex) {
		next_hop_of_route(passage);
		return DROP_NONE;
	}
	fib->ifindex = ifindex;
	if (!uplink_gateway(uplink, &passage->packet, &gateway))
		return DROP_NONE;
	if (passage->packet.family == 4) {
		next_hop->nh_family = FAMILY_IP4;
		next_hop->ipv4_nh = gateway.word[3];
	} else {
		next_hop->nh_family = FAMILY_IP6;
		__builtin_memcpy(next_hop->ipv6_nh, &gateway, sizeof(gateway));
	}
	return DROP_NONE;
}

/*
 * The way out of a packet of passage->record's flow: passage->fib.ifindex and next_hop, whose family is 0 if
 * the kernel is to look it up. is_led: the routes are asked, if they have a choice; else it leaves by the
 * uplink that the flow has, as answers do and errors, which the routes might lead elsewhere.
 * DROP_ROUTE_CHANGED: they lead to another one than that of the flow's address.
 */
static __attribute__((noinline, unused)) int route_out(struct __sk_buff *skb, struct passage *passage,
						       enum flow_end sender, bool is_led)
{
	__u32 kept = conntrack_ifindex(&passage->record, other_end(sender)), router;
	struct bpf_fib_lookup *fib = &passage->fib;
	struct uplink *uplink = uplink_first();
	int reason;

	passage->next_hop.nh_family = 0;
	if (!uplink)
		return DROP_MAP_CORRUPT;
	fib->ifindex = *(const volatile __u32 *)&uplink->ifindex;
	if (!fib->ifindex)
		return DROP_NO_UPLINK;
	router = *(const volatile __u32 *)&uplink->router;
	if (!router)
		return DROP_NONE;
	uplink = is_led || !kept ? NULL : uplink_of(kept);
	if (uplink)
		return route_kept(skb, passage, uplink, kept, router);
	reason = route_ask(skb, passage, &passage->packet.source, router, 0);
	if (reason)
		return reason < 0 ? DROP_NO_ROUTE : reason;
	if (!uplink_of(fib->ifindex))
		return DROP_NO_UPLINK;
	if (is_led && kept && kept != fib->ifindex)
		return DROP_ROUTE_CHANGED;
	next_hop_of_route(passage);
	return DROP_NONE;
}
