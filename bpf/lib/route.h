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
/* Answer to that: it has none there. */
#define FIB_NO_SOURCE 9

/* Asks for the way from an address to the packet's destination: passage->fib. 0: found; else why not, as
 * bpf_fib_lookup() says.
 */
static __always_inline int route_ask(struct __sk_buff *skb, struct passage *passage,
				     const struct ip_address *source, __u32 router, __u32 flags)
{
	struct bpf_fib_lookup *fib = &passage->fib;
	const struct packet *packet = &passage->packet;
	long answer;

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
	answer = bpf_fib_lookup(skb, fib, sizeof(*fib), flags);
	/* The neighbour is asked for when the packet leaves, and its size is forward_check()'s to judge. */
	return answer == BPF_FIB_LKUP_RET_NO_NEIGH || answer == BPF_FIB_LKUP_RET_FRAG_NEEDED
		   ? BPF_FIB_LKUP_RET_SUCCESS
		   : (int)answer;
}

/* Nothing is said of a black hole, nor of what is the node's own fault. */
static __always_inline enum drop_reason route_refusal(int answer)
{
	if (!answer)
		return DROP_NONE;
	return answer == BPF_FIB_LKUP_RET_NOT_FWDED || answer == BPF_FIB_LKUP_RET_UNREACHABLE ||
		       answer == BPF_FIB_LKUP_RET_PROHIBIT
		   ? DROP_NO_ROUTE
		   : DROP_NO_UPLINK;
}

/* Do the routes forbid the way, whichever uplink it were by? */
static __always_inline bool route_is_closed(int answer)
{
	return answer && answer != BPF_FIB_LKUP_RET_NOT_FWDED && answer != BPF_FIB_LKUP_RET_FWD_DISABLED;
}

/*
 * The address of the flow that the packet opens, passage->naming, and its uplink, the outcome's
 * destination's. The kernel may name an address of another interface, which whoever is beyond this one would
 * not answer to.
 */
static __attribute__((noinline, unused)) int route_open(struct __sk_buff *skb, struct passage *passage)
{
	const struct packet *packet = &passage->packet;
	struct ip_address *address = &passage->naming.address, source;
	__u32 *ifindex = &passage->outcome.destination.ifindex;
	struct bpf_fib_lookup *fib = &passage->fib;
	struct uplink *uplink = uplink_first();
	enum drop_reason reason;
	bool is_fixed, is_only;
	__u32 router, first;
	int answer;

	if (!uplink)
		return DROP_MAP_CORRUPT;
	/* Whatever way it takes later, that is its address. */
	is_fixed = (passage->self.flags & ENDPOINT_SOURCE_ADDRESS) &&
		   source_address(packet, passage->self.network_id, address);
	router = *(const volatile __u32 *)&uplink->router;
	if (!router)
		return is_fixed ? DROP_NONE : uplink_address(uplink, packet, address, ifindex);
	is_only = uplink->flags & UPLINK_ONLY;
	answer = route_ask(skb, passage, &packet->source, router, is_fixed ? 0 : FIB_LOOKUP_SOURCE);
	if (answer < 0 || answer == FIB_NO_SOURCE) {
		answer = route_ask(skb, passage, &packet->source, router, 0);
		/* It is not to be taken for the node's. */
		__builtin_memset(fib->ipv6_src, 0, sizeof(fib->ipv6_src));
	}
	if (!is_only || route_is_closed(answer)) {
		reason = route_refusal(answer);
		if (reason)
			return reason;
	}
	if (is_fixed)
		return DROP_NONE;
	if (!is_only) {
		uplink = uplink_of(fib->ifindex, packet);
		if (!uplink)
			return DROP_NO_UPLINK;
	}
	first = fib->ifindex;
	reason = uplink_address(uplink, packet, address, ifindex);
	if (answer || *ifindex != first)
		return is_only || reason ? reason : DROP_NO_UPLINK_ADDRESS;
	if (packet->family == 4)
		address_from_ip4(&source, fib->ipv4_src);
	else
		__builtin_memcpy(&source, fib->ipv6_src, sizeof(source));
	if (!uplink_has(first, &source))
		return reason;
	*address = source;
	return DROP_NONE;
}

/* The neighbour that route_ask() has found. */
static __always_inline void next_hop_of_route(struct passage *passage)
{
	struct bpf_redir_neigh *next_hop = &passage->next_hop;

	next_hop->nh_family = passage->fib.family;
	__builtin_memcpy(next_hop->ipv6_nh, passage->fib.ipv6_dst, sizeof(next_hop->ipv6_nh));
}

/*
 * The neighbour by this uplink, whatever the routes prefer: the one that they know there, else the one that
 * they would know if there were no other uplink. The kernel finds that for IPv4 alone: of IPv6 it takes what
 * leads elsewhere (ip6_route_output_flags_noref() in net/ipv6/route.c).
 */
static __always_inline enum drop_reason route_by(struct __sk_buff *skb, struct passage *passage,
						 const struct ip_address *source, const struct uplink *uplink,
						 __u32 router)
{
	const struct ip_address *destination = &passage->packet.destination;
	struct bpf_redir_neigh *next_hop = &passage->next_hop;
	__u32 ifindex = *(const volatile __u32 *)&uplink->ifindex;
	struct bpf_fib_lookup *fib = &passage->fib;
	int answer = route_ask(skb, passage, source, router, 0);

	if (!answer && fib->ifindex == ifindex) {
		next_hop_of_route(passage);
		return DROP_NONE;
	}
	fib->ifindex = ifindex;
	if (route_is_closed(answer))
		return route_refusal(answer);
	if (passage->packet.family == 4)
		return DROP_NONE;
	next_hop->nh_family = FAMILY_IP6;
	if (address_is_zero(&uplink->gateway6) || uplink_reaches6(ifindex, destination))
		__builtin_memcpy(next_hop->ipv6_nh, destination, sizeof(*destination));
	else
		__builtin_memcpy(next_hop->ipv6_nh, &uplink->gateway6, sizeof(uplink->gateway6));
	return DROP_NONE;
}

/*
 * The way out of a packet of passage->record's flow: passage->fib.ifindex and next_hop, whose family is 0 if
 * the kernel is to look it up. is_led: the routes are followed, if they have a choice; else it leaves by the
 * uplink that the flow has, as answers do and errors. DROP_ROUTE_CHANGED: the flow's address is of another
 * uplink than the one that the packet would leave by now.
 */
static __attribute__((noinline, unused)) int route_out(struct __sk_buff *skb, struct passage *passage,
						       enum flow_end sender, bool is_led)
{
	__u32 kept = conntrack_ifindex(&passage->record, other_end(sender)), router;
	const struct conntrack_entry *record = &passage->record;
	const struct ip_address *source = &passage->packet.source;
	struct bpf_fib_lookup *fib = &passage->fib;
	struct uplink *first = uplink_first(), *by = NULL;
	enum drop_reason reason = DROP_NONE;

	passage->next_hop.nh_family = 0;
	if (!first)
		return DROP_MAP_CORRUPT;
	fib->ifindex = *(const volatile __u32 *)&first->ifindex;
	if (!fib->ifindex)
		return DROP_NO_UPLINK;
	router = *(const volatile __u32 *)&first->router;
	if (router && !is_led && kept) {
		by = uplink_of(kept, &passage->packet);
		source = &record->nat_address;
	}
	if (!by && (first->flags & UPLINK_ONLY))
		by = first;
	if (by && router) {
		reason = route_by(skb, passage, source, by, router);
	} else if (router) {
		reason = route_refusal(route_ask(skb, passage, source, router, 0));
		if (!reason && !uplink_of(fib->ifindex, &passage->packet))
			reason = DROP_NO_UPLINK;
		next_hop_of_route(passage);
	}
	if (reason || !kept || kept == fib->ifindex || uplink_has(fib->ifindex, &record->nat_address))
		return reason;
	return is_led ? DROP_ROUTE_CHANGED : DROP_NO_UPLINK;
}
