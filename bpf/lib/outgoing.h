/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A packet that a container sends, once it is proved to be its own: which flow it belongs to or opens, who is
 * at the other end, and the way there.
 */
#pragma once

#include "connection.h"
#include "deliver.h"
#include "forward.h"
#include "icmp_error.h"
#include "refuse.h"
#include "service.h"

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
	if (!endpoint_of_interface(ifindex, &passage->peer) || passage->peer.id != id)
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
	reason = related_find(passage, &passage->quoted.source, true, &receiver);
	if (!reason && sender_errs(record, other_end(receiver)))
		reason = DROP_ICMP_UNRELATED;
	if (reason == DROP_ICMP_UNRELATED)
		reason = related_find_named(passage, &receiver);
	if (reason)
		return reason;
	/* What we quote was sent to us, at our end of the flow. */
	if (!address_equal(&passage->quoted.destination, &passage->packet.source))
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
	/* Most new flows stay in their network, where no container's address is another's name, or open a
	 * connection to the world, where none is either.
	 */
	if (passage->scope || (passage->packet.protocol == IPPROTO_TCP && packet_opens(&passage->packet))) {
		*located = party_of_address(&passage->packet.destination, destination);
		if (!*located && (destination->endpoint_id || destination->identity == IDENTITY_WORLD))
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
	enum flow_end sender = FLOW_OPENER;
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
