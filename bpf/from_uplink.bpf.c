// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * tcx/clsact ingress of the uplink: answers to what containers have sent out under the node's address, and
 * what comes to ports that lead to containers. It gets the container's address and goes straight to it.
 * Everything else is the node's own and passes untouched, but for what lib/inbound.h takes from nobody. As
 * the program writes into packets, the kernel gives it a copy of its own of what somebody else looks at too
 * (tcpdump, a DHCP client).
 */
#include "lib/account.h"
#include "lib/connection.h"
#include "lib/deliver.h"
#include "lib/destination.h"
#include "lib/expire.h"
#include "lib/icmp_error.h"
#include "lib/inbound.h"
#include "lib/parse.h"
#include "lib/service.h"
#include "lib/stand_in.h"
#include "lib/translate.h"

/* Answer of the functions below that is no drop reason: the packet is for the node. */
#define NOT_OURS 1001

/* The container that a packet is for becomes self; its end of passage->record. */
static __always_inline bool receiver_is_present(struct passage *passage, enum flow_end end)
{
	const struct conntrack_entry *record = &passage->record;

	return endpoint_of_interface(conntrack_ifindex(record, end), &passage->self) &&
	       passage->self.id == conntrack_endpoint(record, end);
}

/* Nobody outside has an address of ours. */
static __always_inline enum drop_reason source_check(struct passage *passage)
{
	const struct ip_address *source = &passage->packet.source;

	if (address_classify(source) != ADDRESS_UNICAST ||
	    party_of_address(source, &passage->outcome.source) ||
	    passage->outcome.source.identity != IDENTITY_WORLD)
		return DROP_BAD_SOURCE;
	return DROP_NONE;
}

/* Whose table has the fragments of passage->record's flow. */
static __always_inline __u32 fragments_of_flow(const struct passage *passage)
{
	return uplink_fragments(&passage->packet, !conntrack_endpoint(&passage->record, FLOW_OPENER));
}

/* A later fragment tells nothing of its flow: it may be of either kind. */
static __always_inline bool follow_fragment(struct passage *passage)
{
	struct packet *packet = &passage->packet;

#pragma unroll
	for (int opened_outside = 0; opened_outside < 2; opened_outside++) {
		enum drop_reason reason =
		    fragment_follow(packet, uplink_fragments(packet, opened_outside), passage->now);

		if (reason != DROP_FRAGMENT_WITHOUT_FIRST)
			return !reason;
	}
	return false;
}

/* Gives a packet of passage->record's flow, or an error about it, to the container at its other end. */
static __always_inline enum drop_reason hand_in(struct __sk_buff *skb, struct passage *passage,
						enum flow_end sender, bool is_error)
{
	struct packet *packet = &passage->packet;
	enum drop_reason reason;

	if (packet->hop_limit <= 1)
		return (enum drop_reason)expire(skb, passage, &packet->destination);
	if (packet->fragment == FRAGMENT_FIRST) {
		reason = fragment_open(packet, fragments_of_flow(passage), passage->now);
		if (reason)
			return reason;
	}
	reason = translate_on(skb, passage, sender, is_error);
	if (reason)
		return reason;
	return deliver_local(skb, passage, &passage->self);
}

/* What the container is called inside, for whoever is told of the packet. */
static __always_inline void tell_inside(struct passage *passage, enum flow_end end, bool is_error)
{
	struct packet *packet = &passage->packet;
	__be16 port;

	flow_end_of(&passage->flow.key, &passage->record, end, &packet->destination, &port);
	if (!is_error)
		packet->destination_port = port;
}

/* A packet of a known flow. */
static __always_inline int handle_known(struct __sk_buff *skb, struct passage *passage,
					struct conntrack_entry *place, bool is_error)
{
	struct packet *packet = &passage->packet;
	enum flow_end named = named_end(&passage->record), sender = other_end(named);
	int reason;

	/* A flow between containers, or from the node itself, never comes in by the uplink. */
	if (conntrack_endpoint(&passage->record, sender) ||
	    (sender == FLOW_OPENER && (passage->record.flags & CONNTRACK_OPENER_IS_HOST)) ||
	    !receiver_is_present(passage, named))
		return NOT_OURS;
	/* What opens a connection is no answer. */
	if (!is_error) {
		reason = connection_continue_unjudged(passage, sender);
		if (reason)
			return reason == CONNECTION_NEW || sender == FLOW_RESPONDER ? NOT_OURS : reason;
	}
	party_from_endpoint(&passage->outcome.destination, &passage->self);
	passage->outcome.source = (struct party){.identity = IDENTITY_WORLD};
	/* Any router on the way may complain. */
	reason = is_error ? source_check(passage) : DROP_NONE;
	if (reason)
		return reason;
	passage->epoch = policy_epoch();
	reason = connection_recheck(passage, place, sender);
	if (!reason && packet->fragment == FRAGMENT_FIRST)
		reason = fragment_prepare(fragments_of_flow(passage));
	if (!reason)
		reason = hand_in(skb, passage, sender, is_error);
	if (!reason && !is_error)
		conntrack_refresh(place, passage, sender);
	tell_inside(passage, named, is_error);
	return reason;
}

/* A packet of no known flow: it may open one to a port that leads to a container. */
static __always_inline int handle_new(struct __sk_buff *skb, struct passage *passage)
{
	struct packet *packet = &passage->packet;
	struct naming *naming = &passage->naming;
	struct outcome *outcome = &passage->outcome;
	struct ip_address asked = packet->destination;
	__be16 asked_port = packet->destination_port;
	struct conntrack_entry *place = NULL;
	enum flow_end sender;
	int reason;

	/* Of a port without a container the node's own stack says that nobody listens there. */
	if (!service_is_asked(packet) || service_resolve(passage, true, false) ||
	    party_of_address(&naming->address, &outcome->destination) ||
	    outcome->destination.identity != IDENTITY_HOST ||
	    party_of_address(&packet->destination, &outcome->destination) ||
	    !endpoint_of_interface(outcome->destination.ifindex, &passage->self) ||
	    nat_port_is_connected(skb, &passage->alias.key))
		return NOT_OURS;
	reason = source_check(passage);
	if (reason)
		return reason;
	passage->epoch = policy_epoch();
	passage->scope = 0;
	/* By which its answers leave. */
	outcome->source.ifindex = skb->ifindex;
	reason = service_find(passage, false, &sender, &place);
	/* Nothing comes of it that would be worth a record, but an answer for whom the policy lets in. */
	if (reason == CONNECTION_NEW && packet->hop_limit <= 1) {
		reason = policy_judge_packet(passage);
		return reason ? reason : expire(skb, passage, &asked);
	}
	if (reason == CONNECTION_NEW) {
		if (packet->fragment == FRAGMENT_FIRST)
			reason = fragment_prepare(uplink_fragments(packet, true));
		else
			reason = DROP_NONE;
		if (!reason)
			reason = service_open(skb, passage);
	}
	if (reason)
		return reason;
	/* As the fragments to come have them. */
	packet->destination = asked;
	packet->destination_port = asked_port;
	reason = hand_in(skb, passage, FLOW_OPENER, false);
	tell_inside(passage, FLOW_RESPONDER, false);
	return reason;
}

/* Of what is not parsed to its end, the network header alone. NOT_OURS: it has none. */
static __always_inline int inbound_header(struct __sk_buff *skb, struct packet *packet)
{
	__u32 offset = packet->network_offset, room = skb->len - offset;
	struct ipv6hdr ip6;
	struct iphdr ip4;

	if (packet->ethertype == ETH_P_IP)
		return bpf_skb_load_bytes(skb, offset, &ip4, sizeof(ip4)) ? DROP_TRUNCATED
									  : inbound_ip4(&ip4, room, packet);
	if (packet->ethertype == ETH_P_IPV6)
		return bpf_skb_load_bytes(skb, offset, &ip6, sizeof(ip6)) ? DROP_TRUNCATED
									  : inbound_ip6(&ip6, room, packet);
	return NOT_OURS;
}

/* What uplink_xdp does, where it does not run. */
static __always_inline int inbound(struct __sk_buff *skb, struct packet *packet, bool is_parsed, __u32 flags)
{
	int reason = is_parsed ? DROP_NONE : inbound_header(skb, packet);

	return reason ? reason : inbound_check(packet, flags);
}

static __always_inline int handle_packet(struct __sk_buff *skb, struct passage *passage)
{
	struct packet *packet = &passage->packet;
	struct conntrack_entry *place;
	bool is_error = false;
	int reason;

	/* What an interface only overhears is for another host, and nobody answers what was sent to everybody
	 * (RFC 1122 §3.3.6).
	 */
	if (skb->pkt_type != PACKET_HOST)
		return NOT_OURS;
	passage->now = bpf_ktime_get_coarse_ns();
	if (packet->fragment == FRAGMENT_LATER && !follow_fragment(passage))
		return NOT_OURS;
	is_error = packet->fragment != FRAGMENT_LATER && packet_is_icmp(packet) && icmp_is_error(packet);
	if (is_error) {
		if (parse_quoted(skb, passage))
			return NOT_OURS;
		nat_key_of_reply(&passage->quoted, &passage->alias.key);
	} else {
		nat_key_of_packet(packet, &passage->alias.key);
	}
	place = connection_named(passage);
	if (place) {
		reason = handle_known(skb, passage, place, is_error);
		if (reason != NOT_OURS)
			return reason;
	}
	return is_error ? NOT_OURS : handle_new(skb, passage);
}

static __always_inline int handle_frame(struct __sk_buff *skb, struct passage *passage)
{
	struct packet *packet = &passage->packet;
	__u32 flags = inbound_flags();
	int reason = DROP_NONE;
	struct ethhdr eth;
	bool is_parsed;

	if (parse_ethernet(skb, packet, &eth))
		return NOT_OURS;
	is_parsed = !parse_ip(skb, packet);
	if (!(flags & INBOUND_XDP)) {
		passage->outcome.source.identity = IDENTITY_WORLD;
		reason = inbound(skb, packet, is_parsed, flags);
		if (reason)
			return reason;
	}
	reason = is_parsed ? handle_packet(skb, passage) : NOT_OURS;
	if (reason != NOT_OURS || (flags & INBOUND_XDP) || !inbound_spoof_check(packet))
		return reason;
	/* It is dropped for its source, whoever it is for. */
	passage->self.id = 0;
	passage->self.network_id = 0;
	return DROP_BAD_SOURCE;
}

SEC("tc")
int from_uplink(struct __sk_buff *skb)
{
	struct passage *passage;
	int reason;

	if (is_answered(skb, STAND_IN_FROM_UPLINK))
		return ACTION_PASS;
	passage = passage_begin(skb);
	if (!passage)
		return ACTION_PASS;
	reason = handle_frame(skb, passage);
	if (reason == NOT_OURS)
		return answer_once(skb, STAND_IN_FROM_UPLINK, ACTION_PASS);
	account(skb, passage, DIRECTION_INGRESS, (enum drop_reason)reason);
	return answer_once(skb, STAND_IN_FROM_UPLINK,
			   reason && !passage->answered ? ACTION_DROP : passage->action);
}

char _license[] SEC("license") = "Dual MIT/GPL";
