/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A new flow to a port that leads to a container becomes one to that container, for the judge and the
 * connection table; the packet's bytes are changed when it is sent on (translate.h). Drops what nobody
 * serves.
 */
#pragma once

#include "connection.h"
#include "frontend.h"

/* Does a packet that belongs to no flow ask for a frontend, as far as it tells? */
static __always_inline bool service_is_asked(const struct packet *packet)
{
	return !packet_is_icmp(packet) && packet->fragment != FRAGMENT_LATER && packet_opens(packet);
}

/*
 * Chooses the backend of the frontend that the packet is for. DROP_NONE: it is the packet's destination now,
 * and the outcome's, and what the client asked for is passage->naming. DROP_NO_SERVICE: there is no such
 * frontend; DROP_NO_BACKEND: nobody serves it. is_node, is_service: whose the packet's destination is known
 * to be. Not inlined, for its stack.
 */
static __attribute__((noinline)) int service_resolve(struct passage *passage, bool is_node, bool is_service)
{
	struct packet *packet = &passage->packet;
	struct naming *naming = &passage->naming;
	struct frontend frontend __attribute__((aligned(8)));
	struct choice choice;

	if (!frontend_find(&packet->destination, packet->destination_port, packet->protocol, is_node,
			   &frontend))
		return DROP_NO_SERVICE;
	/* Of any other address it has to be known first that it is the node's. */
	if (!is_node && !is_service && !(frontend.flags & FRONTEND_SERVICE_ADDRESS))
		return DROP_NO_SERVICE;
	if (!backend_choose(&frontend, &packet->source,
			    client_hash(&packet->source, packet->source_port, frontend.id), passage->now,
			    &choice))
		return DROP_NO_BACKEND;
	/* Nobody translates between the families. */
	if (address_is_ip4_mapped(&choice.backend.address) != (packet->family == 4))
		return DROP_NO_BACKEND;
	naming->needed = true;
	naming->end = FLOW_RESPONDER;
	naming->address = packet->destination;
	naming->port = packet->destination_port;
	naming->frontend_id = frontend.id;
	naming->backend = choice.index;
	naming->affinity_s = frontend.affinity_s;
	nat_key_of_packet(packet, &passage->alias.key);
	packet->destination = choice.backend.address;
	packet->destination_port = choice.backend.port;
	return DROP_NONE;
}

/*
 * Is the record that was found what the backend itself has sent to the client, who has never answered? That
 * is what becomes of datagrams when their flow has gone while the backend served no longer. It gives way to
 * the client's own flow, if the policy lets that open, and what the backend sends belongs to that then. Of a
 * client outside anybody may have written the address: nothing gives way to that.
 */
static __always_inline bool service_replaces(const struct passage *passage, bool self_sends,
					     enum flow_end sender)
{
	return self_sends && sender == FLOW_RESPONDER && !(passage->record.flags & CONNTRACK_REPLIED);
}

/*
 * Looks for the flow between the client and the backend that service_resolve() chose, in which self must
 * stand at the end that self_sends says. As connection_find(); what another connection stands in the way of
 * is dropped.
 */
static __always_inline int service_find(struct passage *passage, bool self_sends, enum flow_end *sender,
					struct conntrack_entry **place)
{
	int found;

	if (!config_explain)
		name_release_dead(passage, false);
	found = connection_find(passage, self_sends, sender, place);
	if (found != CONNECTION_KNOWN)
		return found;
	if (service_replaces(passage, self_sends, *sender))
		return CONNECTION_NEW;
	return *sender == FLOW_OPENER && record_is_named(&passage->record, &passage->naming)
		   ? CONNECTION_KNOWN
		   : DROP_NAT_CONFLICT;
}

/* Opens the flow that service_find() did not find, and keeps its client where it is served. */
static __always_inline enum drop_reason service_open(struct __sk_buff *skb, struct passage *passage)
{
	const struct naming *naming = &passage->naming;
	enum drop_reason reason = connection_open(skb, passage);

	if (!reason && !config_explain && naming->needed && naming->end == FLOW_RESPONDER)
		affinity_keep(naming->frontend_id, &passage->alias.key.remote, naming->backend,
			      naming->affinity_s, passage->now);
	return reason;
}
