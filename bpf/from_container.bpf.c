// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * tcx/clsact ingress of the host's side of a container's veth: everything a container sends. Proves who sent
 * it, answers ARP and neighbour discovery, judges the egress policy and, for a receiver on this node, the
 * ingress policy too, and hands the packet straight into the receiver, or out by
 * the uplink. What is sent to a port mapping or a service is for the container that serves it.
 */
#include "lib/account.h"
#include "lib/bandwidth.h"
#include "lib/connection.h"
#include "lib/deliver.h"
#include "lib/destination.h"
#include "lib/forward.h"
#include "lib/icmp_error.h"
#include "lib/neighbour.h"
#include "lib/parse.h"
#include "lib/refuse.h"
#include "lib/service.h"

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

/* Sends a packet of passage->record's flow, or an error about it, from one end to the other. */
static __always_inline enum drop_reason send_on(struct __sk_buff *skb, struct passage *passage,
						enum flow_end sender, bool is_error)
{
	const struct conntrack_entry *record = &passage->record;
	enum flow_end receiver = other_end(sender);
	__u32 id = conntrack_endpoint(record, receiver), ifindex = conntrack_ifindex(record, receiver);
	enum drop_reason reason;

	if (!record_is_translated(record))
		return deliver(skb, passage, id, ifindex);
	if (!id)
		return forward(skb, passage, sender, is_error);
	if (!receiver_of_interface(ifindex, &passage->peer) || passage->peer.id != id)
		return DROP_NO_SUCH_ENDPOINT;
	reason = translate(skb, passage, sender, is_error);
	return reason ? reason : deliver_local(skb, passage, &passage->peer);
}

/* Who opened a flow to a frontend knows its other end by that name alone. */
static __always_inline bool sender_errs(const struct conntrack_entry *record, enum flow_end sender)
{
	return sender == FLOW_OPENER && record_is_translated(record) && named_end(record) == FLOW_RESPONDER;
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
	if (!reason && sender_errs(record, other_end(receiver)))
		reason = DROP_ICMP_UNRELATED;
	if (reason == DROP_ICMP_UNRELATED)
		reason = related_find_named(passage, &receiver);
	if (reason)
		return reason;
	/* What we quote was sent to us, at our end of the flow. */
	if (!address_equal(&passage->quoted.destination, &passage->packet.source) ||
	    conntrack_endpoint(record, other_end(receiver)) != passage->self.id)
		return DROP_ICMP_UNRELATED;
	return send_on(skb, passage, other_end(receiver), true);
}

/* Who has the packet's destination was not asked yet. */
#define NOT_LOCATED (-1)

/*
 * The flow that a packet belongs to, by the names that its sender has for both ends. As connection_find().
 * *located: the answer of party_of_address() about the destination, if it was asked.
 */
static __always_inline int flow_find(struct passage *passage, enum flow_end *sender,
				     struct conntrack_entry **place, int *located)
{
	const struct conntrack_entry *record = &passage->record;
	struct party *destination = &passage->outcome.destination;
	int found = connection_find(passage, true, sender, place);

	if ((found == CONNECTION_KNOWN || found == DROP_NO_SUCH_ENDPOINT) && *place &&
	    sender_errs(record, *sender))
		return DROP_NAT_CONFLICT;
	if (found != CONNECTION_NEW)
		return found;
	/* Most new flows stay in their network, where no container's address is another's name. */
	if (passage->scope) {
		*located = party_of_address(&passage->packet.destination, destination);
		if (!*located && destination->endpoint_id)
			return CONNECTION_NEW;
	}
	nat_key_of_packet(&passage->packet, &passage->alias.key);
	*place = connection_named(passage);
	if (!*place)
		return CONNECTION_NEW;
	*sender = other_end(named_end(record));
	if (conntrack_endpoint(record, *sender) != passage->self.id)
		return CONNECTION_NEW;
	return connection_continue(passage, *place, *sender);
}

/*
 * Who is at the other end of a packet that belongs to no flow yet, and what the sender is to know it by: the
 * outcome's destination, and passage->naming. As connection_find(), of the flow that it would be.
 */
static __always_inline int flow_resolve(struct __sk_buff *skb, struct passage *passage, enum flow_end *sender,
					struct conntrack_entry **place, int located)
{
	struct packet *packet = &passage->packet;
	struct party *destination = &passage->outcome.destination;
	int reason = located, served = DROP_NO_SERVICE;
	bool asks = service_is_asked(packet), is_node;

	/* Who asks for a service needs no look at whose the address is. */
	if (reason == NOT_LOCATED && asks)
		served = service_resolve(passage, false, false);
	if (served == DROP_NO_SERVICE) {
		if (reason == NOT_LOCATED)
			reason = party_of_address(&packet->destination, destination);
		is_node = !reason && destination->identity == IDENTITY_HOST;
		if (reason != DROP_NO_SERVICE && !is_node)
			return reason ? reason : CONNECTION_NEW;
		if (asks)
			served = service_resolve(passage, is_node, !is_node);
		if (served == DROP_NO_SERVICE && is_node)
			return CONNECTION_NEW;
	}
	if (!served && (party_of_address(&packet->destination, destination) || !destination->endpoint_id))
		served = DROP_NO_BACKEND;
	if (served)
		return refuse(skb, passage, (enum drop_reason)served);
	/* CONNTRACK_SELF: its answer goes to the name that it asked for. */
	if (destination->endpoint_id == passage->self.id)
		packet->source = passage->naming.address;
	else
		passage->scope = endpoint_network_contains(&passage->self, &packet->destination)
				     ? passage->self.network_id
				     : 0;
	return service_find(passage, true, sender, place);
}

static __always_inline enum drop_reason handle_flow(struct __sk_buff *skb, struct passage *passage)
{
	struct outcome *outcome = &passage->outcome;
	struct conntrack_entry *place = NULL;
	enum flow_end sender;
	int reason, located = NOT_LOCATED;
	bool gone = false;

	reason = flow_find(passage, &sender, &place, &located);
	if (reason == CONNECTION_KNOWN && place) {
		reason = send_on(skb, passage, sender, false);
		if (!reason)
			conntrack_refresh(place, passage, sender);
	}
	if ((reason == DROP_NO_SUCH_ENDPOINT || reason == DROP_ROUTE_CHANGED) && place) {
		/* Only this packet missed it. */
		if (reason == DROP_NO_SUCH_ENDPOINT && end_is_present(&passage->record, other_end(sender)))
			return reason;
		/* The receiver is gone, or the way to it under this name, and so is the flow. What opens a
		 * connection is a new one, to whoever has the address now.
		 */
		conntrack_remove(place, &passage->flow.key, &passage->record);
		if (!packet_opens(&passage->packet))
			return refuse(skb, passage, (enum drop_reason)reason);
		gone = true;
		located = NOT_LOCATED;
	} else if (reason != CONNECTION_NEW) {
		return reason;
	}
	/* What was found by a name has left its own flow there. */
	flow_of(&passage->packet, passage->scope, &passage->flow);
	party_from_endpoint(&outcome->source, &passage->self);
	reason = flow_resolve(skb, passage, &sender, &place, located);
	/* Who has not talked to it is not told whether an address is somebody's. */
	if (gone && reason == DROP_NO_SUCH_ENDPOINT)
		return refuse(skb, passage, DROP_NO_SUCH_ENDPOINT);
	if (reason != CONNECTION_KNOWN && reason != CONNECTION_NEW)
		return reason;
	if (reason == CONNECTION_NEW) {
		if ((passage->self.flags & ENDPOINT_MASQUERADE) &&
		    outcome->destination.identity == IDENTITY_WORLD) {
			passage->naming.needed = true;
			passage->naming.end = FLOW_OPENER;
			passage->naming.port = 0;
		}
		reason = service_open(skb, passage);
		if (reason)
			return reason;
	}
	if (passage->naming.needed && !config_explain)
		return send_on(skb, passage, FLOW_OPENER, false);
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
