// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * tcx/clsact ingress of the host's side of a container's veth: everything a container sends. Proves who sent
 * it, answers ARP and neighbour discovery, judges the egress policy and, for a receiver on this node, the
 * ingress policy too, and hands the packet straight into the receiver, or out by
 * the uplink.
 */
#include "lib/account.h"
#include "lib/connection.h"
#include "lib/deliver.h"
#include "lib/destination.h"
#include "lib/icmp_error.h"
#include "lib/masquerade.h"
#include "lib/neighbour.h"
#include "lib/parse.h"

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

static __always_inline enum drop_reason handle_icmp_error(struct __sk_buff *skb, struct passage *passage)
{
	const struct conntrack_entry *record = &passage->record;
	enum flow_end receiver;
	int reason;

	reason = parse_quoted(skb, passage);
	if (reason)
		return reason;
	reason = related_find(passage, &passage->quoted.source, &receiver);
	if (reason)
		return reason;
	/* What we quote was sent to us, at our end of the flow. */
	if (!address_equal(&passage->quoted.destination, &passage->packet.source) ||
	    conntrack_endpoint(record, other_end(receiver)) != passage->self.id)
		return DROP_ICMP_UNRELATED;
	if (record_is_translated(record))
		return masquerade_error(skb, passage);
	return deliver(skb, passage, conntrack_endpoint(record, receiver),
		       conntrack_ifindex(record, receiver));
}

static __always_inline enum drop_reason handle_flow(struct __sk_buff *skb, struct passage *passage)
{
	const struct conntrack_entry *record = &passage->record;
	struct outcome *outcome = &passage->outcome;
	struct conntrack_entry *place = NULL;
	enum flow_end sender;
	bool translate;
	int reason;

	reason = connection_find(passage, true, &sender, &place);
	if (reason == CONNECTION_KNOWN && place) {
		enum flow_end receiver = other_end(sender);

		if (record_is_translated(record))
			reason = masquerade(skb, passage);
		else
			reason = deliver(skb, passage, conntrack_endpoint(record, receiver),
					 conntrack_ifindex(record, receiver));
		if (!reason)
			conntrack_refresh(place, passage, sender);
		/* The receiver is gone; its address may have a new owner, to whom this is a new flow. */
		if (reason != DROP_NO_SUCH_ENDPOINT)
			return reason;
	} else if (reason != CONNECTION_NEW) {
		return reason;
	}
	party_from_endpoint(&outcome->source, &passage->self);
	reason = party_of_address(&passage->packet.destination, &outcome->destination);
	if (reason)
		return reason;
	translate =
	    (passage->self.flags & ENDPOINT_MASQUERADE) && outcome->destination.identity == IDENTITY_WORLD;
	reason = connection_open(skb, passage, translate);
	if (reason)
		return reason;
	if (translate && !config_explain)
		return masquerade(skb, passage);
	return deliver(skb, passage, outcome->destination.endpoint_id, outcome->destination.ifindex);
}

static __always_inline enum drop_reason handle_ip(struct __sk_buff *skb, struct passage *passage)
{
	const struct endpoint *self = &passage->self;
	struct packet *packet = &passage->packet;
	enum drop_reason reason;
	bool flood = false, is_error = false;

	reason = parse_ip(skb, packet);
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
	reason = destination_check(&packet->destination, self, &flood);
	if (reason)
		return reason;
	if (flood) {
		if (packet->fragment != FRAGMENT_LATER && icmp_is_error(packet))
			return DROP_ICMP_UNRELATED; /* RFC 1122 §3.2.2 */
		/* Each receiver's own program judges it; the original ends here. */
		return deliver_flood(skb, self);
	}

	passage->now = bpf_ktime_get_ns();
	passage->epoch = policy_epoch();
	passage->scope = endpoint_network_contains(self, &packet->destination) ? self->network_id : 0;
	reason = flow_prepare(passage, &is_error);
	if (reason)
		return reason;
	if (is_error)
		return handle_icmp_error(skb, passage);
	reason = handle_flow(skb, passage);
	if (!reason && packet->fragment == FRAGMENT_FIRST)
		reason = fragment_open(packet, self->id, passage->now);
	return reason;
}

static __always_inline enum drop_reason handle_frame(struct __sk_buff *skb, struct passage *passage)
{
	enum drop_reason reason;
	struct ethhdr eth;

	if (!endpoint_of_interface(skb->ifindex, &passage->self)) {
		passage->self.id = 0;
		passage->self.network_id = 0;
		return DROP_UNKNOWN_ENDPOINT;
	}
	party_from_endpoint(&passage->outcome.source, &passage->self);
	reason = parse_ethernet(skb, &passage->packet, &eth);
	if (reason)
		return reason;
	if (!mac_equal(eth.h_source, passage->self.mac))
		return DROP_SPOOFED_MAC;
	if (passage->packet.ethertype != ETH_P_ARP)
		return handle_ip(skb, passage);
	reason = address_is_zero(&passage->self.ip4) ? DROP_ARP_REJECTED : arp_answer(skb, &passage->self);
	return reason ? reason : deliver_back(skb, passage);
}

SEC("tc")
int from_container(struct __sk_buff *skb)
{
	struct passage *passage = passage_begin(skb);
	enum drop_reason reason;

	if (!passage)
		return ACTION_DROP;
	reason = handle_frame(skb, passage);
	account(skb, passage, DIRECTION_EGRESS, reason);
	return reason && !passage->answered ? ACTION_DROP : passage->action;
}

char _license[] SEC("license") = "Dual MIT/GPL";
