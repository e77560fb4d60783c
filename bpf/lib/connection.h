/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The life of a connection: found, judged again when the policy has changed, or opened. This is where policy,
 * conntrack and fragments meet; both programs and the sweep decide with it.
 */
#pragma once

#include "conntrack.h"
#include "endpoint.h"
#include "fragment.h"
#include "policy.h"
#include "uplink.h"

/* Answers of connection_find() that are no drop reason. */
enum connection_state {
	CONNECTION_KNOWN = 0, /* same value as DROP_NONE */
	CONNECTION_NEW = 1000,
};

/*
 * Who stands at an end of a recorded flow now. The interface and the id that were recorded say so, not the
 * address, which may have been translated on the way and may have another owner by now. False: that endpoint
 * is gone.
 */
static __always_inline bool flow_party(const struct conntrack_entry *entry, enum flow_end end,
				       struct party *party)
{
	const __u32 host = end == FLOW_OPENER ? CONNTRACK_OPENER_IS_HOST : CONNTRACK_RESPONDER_IS_HOST;
	__u32 id = conntrack_endpoint(entry, end);

	if (!id) {
		*party = (struct party){.identity = entry->flags & host ? IDENTITY_HOST : IDENTITY_WORLD};
		return true;
	}
	return party_of_interface(conntrack_ifindex(entry, end), party) && party->endpoint_id == id;
}

/*
 * Judges a recorded flow by the current rules, as if it opened now. DROP_CONNECTION_CUT: it may not go on.
 * The outcome has the opener as its source, and entry, a copy, what the record is to become. Not inlined: two
 * programs and the sweep call it, on the rare path.
 */
__attribute__((noinline)) int connection_judge_again(const struct conntrack_key *key,
						     struct conntrack_entry *entry, struct outcome *outcome,
						     __u32 epoch)
{
	bool from_b;

	if (!key || !entry || !outcome)
		return DROP_MAP_CORRUPT;
	if (!flow_party(entry, FLOW_OPENER, &outcome->source) ||
	    !flow_party(entry, FLOW_RESPONDER, &outcome->destination))
		return DROP_CONNECTION_CUT;
	from_b = entry->flags & CONNTRACK_OPENER_IS_B;
	if (policy_judge(outcome, from_b ? &key->address_b : &key->address_a,
			 from_b ? &key->address_a : &key->address_b, from_b ? key->port_a : key->port_b,
			 key->protocol, epoch))
		return DROP_CONNECTION_CUT;
	entry->rule[FLOW_OPENER] = outcome->egress_rule;
	entry->rule[FLOW_RESPONDER] = outcome->ingress_rule;
	entry->epoch = epoch;
	return DROP_NONE;
}

/* Writes what a judgement made of a record, whose stamp was that, into its place, if it is still there. */
static __always_inline void connection_confirm(struct conntrack_entry *place, conntrack_stamp judged,
					       const struct conntrack_entry *record)
{
	if (!conntrack_exchange(place, judged, conntrack_stamp_of(record)))
		return;
	place->rule[FLOW_OPENER] = record->rule[FLOW_OPENER];
	place->rule[FLOW_RESPONDER] = record->rule[FLOW_RESPONDER];
}

/*
 * Keeps a record up to the current epoch, or removes it and says why. When it judged again, the outcome has
 * the parties as a packet of that sender has them.
 */
static __always_inline int connection_recheck(struct passage *passage, struct conntrack_entry *place,
					      enum flow_end sender)
{
	struct conntrack_entry *record = &passage->record;
	conntrack_stamp judged = conntrack_stamp_of(record);
	struct outcome *outcome = &passage->outcome;
	struct party opener;
	int reason;

	if (record->epoch == passage->epoch)
		return DROP_NONE;
	reason = connection_judge_again(&passage->flow.key, record, outcome, passage->epoch);
	if (sender == FLOW_RESPONDER) {
		opener = outcome->source;
		outcome->source = outcome->destination;
		outcome->destination = opener;
	}
	if (reason)
		conntrack_remove(place, &passage->flow.key, record);
	else
		connection_confirm(place, judged, record);
	return reason;
}

/* Judges a packet by the current rules, as one that opens a flow between the parties in the outcome. */
static __always_inline enum drop_reason policy_judge_packet(struct passage *passage)
{
	const struct packet *packet = &passage->packet;

	return policy_judge(&passage->outcome, &packet->source, &packet->destination,
			    packet->destination_port, packet->protocol, passage->epoch);
}

/* May a packet from that end belong to the flow? Being allowed to answer is not being allowed to open. */
static __always_inline bool connection_takes(const struct packet *packet, enum flow_end sender)
{
	if (packet->fragment == FRAGMENT_LATER)
		return true;
	if (packet->protocol == IPPROTO_TCP)
		return sender == FLOW_OPENER || !packet_opens(packet);
	if (packet->protocol == IPPROTO_ICMP || packet->protocol == IPPROTO_ICMPV6)
		return icmp_is_echo_request(packet) == (sender == FLOW_OPENER);
	return true;
}

/*
 * Looks for the live record of the packet's flow, in which self must stand at the end that self_sends says.
 * CONNECTION_KNOWN: the packet belongs to passage->record, whose place is *found; whoever lets it pass calls
 * conntrack_refresh().
 * CONNECTION_NEW: there is no record that it belongs to. Else the reason why it is dropped.
 */
static __always_inline int connection_find(struct passage *passage, bool self_sends, enum flow_end *sender,
					   struct conntrack_entry **found)
{
	const struct conntrack_entry *record = &passage->record;
	const struct packet *packet = &passage->packet;
	struct conntrack_entry *place;
	int reason;

	flow_of(packet, passage->scope, &passage->flow);
	if (config_explain)
		return CONNECTION_NEW;
	place = conntrack_find(passage);
	if (!place)
		return CONNECTION_NEW;
	*sender = flow_sender(&passage->flow, record);
	/* The address had another owner when the flow was opened. */
	if (conntrack_endpoint(record, self_sends ? *sender : other_end(*sender)) != passage->self.id)
		return CONNECTION_NEW;
	if (packet->protocol == IPPROTO_TCP && packet->fragment != FRAGMENT_LATER && packet_opens(packet) &&
	    conntrack_closing(record))
		return CONNECTION_NEW;
	if (!connection_takes(packet, *sender))
		return DROP_NO_CONNECTION;
	reason = connection_recheck(passage, place, *sender);
	if (reason)
		return reason;
	*found = place;
	return CONNECTION_KNOWN;
}

/*
 * Opens a flow between the parties in the outcome, if the packet can open one and the policy lets it.
 * masquerade: it leaves under an address of the uplink's.
 */
static __always_inline enum drop_reason connection_open(struct __sk_buff *skb, struct passage *passage,
							bool masquerade)
{
	const struct packet *packet = &passage->packet;
	struct ip_address address = {};
	enum drop_reason reason;

	if (packet->fragment == FRAGMENT_LATER)
		return DROP_FRAGMENT_WITHOUT_FIRST;
	if (!packet_opens(packet))
		return DROP_NO_CONNECTION;
	reason = policy_judge_packet(passage);
	if (reason || config_explain)
		return reason;
	if (masquerade) {
		reason = uplink_address(packet, &address);
		if (reason)
			return reason;
	}
	reason = conntrack_create(skb, passage, masquerade ? &address : NULL);
	if (reason)
		return reason;
	passage->outcome.new_flow = true;
	return DROP_NONE;
}
