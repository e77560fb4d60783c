// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * tcx/clsact ingress of the host's side of a container's veth: everything a container sends. Proves who sent
 * it, answers ARP and neighbour discovery, judges the egress policy and, for a receiver on this node, the
 * ingress policy too, and hands the packet straight into the receiver, or out by
 * the uplink. What is sent to a port mapping or a service is for the container that serves it.
 */
#include "lib/account.h"
#include "lib/bandwidth.h"
#include "lib/destination.h"
#include "lib/neighbour.h"
#include "lib/outgoing.h"
#include "lib/parse.h"
#include "lib/stand_in.h"

#define DHCP4_SERVER 67
#define DHCP4_CLIENT 68
#define DHCP6_CLIENT 546
#define DHCP6_SERVER 547

static __always_inline bool is_dhcp(const struct packet *packet)
{
	__u16 from = bpf_ntohs(packet->source_port), to = bpf_ntohs(packet->destination_port);

	if (packet->protocol != IPPROTO_UDP || packet->fragment == FRAGMENT_LATER)
		return false;
	if (packet->family == 4)
		return from == DHCP4_SERVER || to == DHCP4_SERVER ||
		       (from == DHCP4_CLIENT && to == DHCP4_CLIENT);
	return from == DHCP6_SERVER || to == DHCP6_SERVER || (from == DHCP6_CLIENT && to == DHCP6_CLIENT);
}

/* RFC 792 redirects, RFC 1256 router discovery. */
static __always_inline bool is_ip4_routing_message(const struct packet *packet)
{
	return packet->protocol == IPPROTO_ICMP && packet->fragment != FRAGMENT_LATER &&
	       (packet->icmp_type == ICMP4_REDIRECT || packet->icmp_type == ICMP4_ROUTER_ADVERTISEMENT ||
		packet->icmp_type == ICMP4_ROUTER_SOLICITATION);
}

/*
 * Multicast listener discovery (RFC 2710, RFC 3810), which every IPv6 stack sends by itself, also from the
 * unspecified address. There is no router that wants it, and it is no sign of spoofing.
 */
static __always_inline bool is_listener_message(const struct packet *packet)
{
	return packet->protocol == IPPROTO_ICMPV6 && packet->fragment != FRAGMENT_LATER &&
	       ((packet->icmp_type >= ICMP6_LISTENER_QUERY && packet->icmp_type <= ICMP6_LISTENER_DONE) ||
		packet->icmp_type == ICMP6_LISTENER_REPORT_V2);
}

static __always_inline enum drop_reason handle_ip(struct __sk_buff *skb, struct passage *passage)
{
	const struct endpoint *self = &passage->self;
	struct packet *packet = &passage->packet;
	enum drop_reason reason;
	bool flood = false, is_error = false;

	reason = parse_ip_fixed(skb, packet);
	if (reason)
		return reason;
	if (nd_is_discovery(packet)) {
		reason = nd_answer(skb, self, packet);
		return reason ? reason : deliver_back(skb, passage);
	}
	if (is_dhcp(packet))
		return DROP_DHCP_FROM_CONTAINER;
	if (is_ip4_routing_message(packet))
		return DROP_ROUTER_ADVERTISEMENT;
	if (is_listener_message(packet))
		return DROP_ICMP_TYPE;
	if (!endpoint_has_address(self, &packet->source))
		return DROP_SPOOFED_IP;
	if (self->flags & ENDPOINT_LIMITED_EGRESS) {
		reason = bandwidth_admit(skb, packet, self->id, DIRECTION_EGRESS);
		if (reason)
			return reason;
	}
	reason = destination_check(&packet->destination, self, &flood);
	if (reason)
		return reason;
	if (flood) {
		if (packet->fragment != FRAGMENT_LATER && icmp_is_error(packet))
			return DROP_ICMP_UNRELATED; /* RFC 1122 §3.2.2 */
		/* Each receiver's own program judges it; the original ends here. */
		return deliver_flood(skb, passage);
	}

	passage->now = bpf_ktime_get_coarse_ns();
	passage->epoch = policy_epoch();
	passage->scope = endpoint_network_contains(self, &packet->destination) ? self->network_id : 0;
	reason = flow_prepare(passage, &is_error);
	if (reason)
		return reason;
	if (is_error)
		return handle_icmp_error(skb, passage);
	reason = handle_flow(skb, passage);
	if (reason == DROP_NO_ROUTE)
		icmp_answer(skb, passage, packet->family == 4 ? ICMP4_UNREACHABLE : ICMP6_UNREACHABLE, 0, 0);
	if (!reason && packet->fragment == FRAGMENT_FIRST) {
		/* The rest of it says what the sender calls the ends. */
		if (passage->naming.needed && passage->naming.end == FLOW_RESPONDER) {
			packet->source = packet->family == 4 ? self->ip4 : self->ip6;
			packet->destination = passage->naming.address;
			packet->destination_port = passage->naming.port;
		}
		reason = fragment_open(packet, self->id, passage->now);
	}
	return reason;
}

static __always_inline enum drop_reason handle_frame(struct __sk_buff *skb, struct passage *passage)
{
	struct ethhdr *eth = &passage->ethernet;
	enum drop_reason reason;

	if (!endpoint_of_interface(skb->ifindex, &passage->self)) {
		passage->self.id = 0;
		passage->self.network_id = 0;
		return DROP_UNKNOWN_ENDPOINT;
	}
	party_from_endpoint(&passage->outcome.source, &passage->self);
	reason = parse_ethernet(skb, &passage->packet, eth);
	if (reason)
		return reason;
	if (!mac_equal(eth->h_source, passage->self.mac))
		return DROP_SPOOFED_MAC;
	if (passage->packet.ethertype != ETH_P_ARP)
		return handle_ip(skb, passage);
	reason = address_is_zero(&passage->self.ip4) ? DROP_ARP_REJECTED : arp_answer(skb, &passage->self);
	return reason ? reason : deliver_back(skb, passage);
}

SEC("tc")
int from_container(struct __sk_buff *skb)
{
	struct passage *passage;
	enum drop_reason reason;

	if (is_answered(skb, STAND_IN_FROM_CONTAINER))
		return ACTION_PASS;
	passage = passage_begin(skb);
	if (!passage)
		return ACTION_DROP;
	/* When the container wants it to leave (SO_TXTIME) holds in the container: no queue of the node's is
	 * to keep it. */
	skb->tstamp = 0;
	reason = handle_frame(skb, passage);
	account(skb, passage, DIRECTION_EGRESS, reason);
	return answer_once(skb, STAND_IN_FROM_CONTAINER,
			   reason && !passage->answered ? ACTION_DROP : passage->action);
}

char _license[] SEC("license") = "Dual MIT/GPL";
