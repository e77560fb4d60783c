/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The life of a connection: found, judged again when the policy has changed, or opened. This is where policy,
 * conntrack and fragments meet; both programs and the sweep decide with it.
 */
#pragma once

#include "conntrack_create.h"
#include "endpoint.h"
#include "fragment.h"
#include "policy.h"
#include "route.h"

/*
 * Has a record been judged by the rules of an epoch, or of the one after it? Who runs while the policy
 * changes has read the old epoch and may meet records that others have judged by the new rules: the last word
 * on them is said, and the old rules must not cut what the new ones allow. More than one epoch ahead nobody
 * is, as the next change waits for those who run (src/datapath/policy-table.ts).
 */
static __always_inline bool epoch_is_judged(__u32 judged, __u32 epoch)
{
	return judged - epoch <= 1;
}

/* Answers of connection_find() that are no drop reason. */
enum connection_state {
	CONNECTION_KNOWN = 0, /* same value as DROP_NONE */
	CONNECTION_NEW = 1000,
};

/*
 * Who stands at an end of a recorded flow now. Of an endpoint the interface and the id that were recorded say
 * so, not the address, which may have been translated on the way and may have another owner by now; of who is
 * outside the address alone, which the node may have taken or given up. False: who it was is gone.
 */
static __always_inline bool flow_party(const struct conntrack_entry *entry, enum flow_end end,
				       const struct ip_address *address, struct party *party)
{
	__u32 id = conntrack_endpoint(entry, end);

	if (id)
		return party_of_interface(conntrack_ifindex(entry, end), party) && party->endpoint_id == id;
	if (party_of_address(address, party) || party->endpoint_id)
		return false;
	if (end == FLOW_RESPONDER)
		return true;
	/* What the node's own sockets send is the node's, from whatever address; and nobody else can send
	 * from one of its own (see source_party() of to_container). */
	if (entry->flags & CONNTRACK_OPENER_IS_HOST) {
		*party = (struct party){.identity = IDENTITY_HOST};
		return true;
	}
	return party->identity == IDENTITY_WORLD;
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
	const struct ip_address *opener, *responder;
	bool from_b;

	if (!key || !entry || !outcome)
		return DROP_MAP_CORRUPT;
	from_b = entry->flags & CONNTRACK_OPENER_IS_B;
	opener = from_b ? &key->address_b : &key->address_a;
	responder = from_b ? &key->address_a : &key->address_b;
	if (!flow_party(entry, FLOW_OPENER, opener, &outcome->source) ||
	    !flow_party(entry, FLOW_RESPONDER, responder, &outcome->destination))
		return DROP_CONNECTION_CUT;
	if (entry->flags & CONNTRACK_SELF) {
		entry->epoch = epoch;
		return DROP_NONE;
	}
	if (policy_judge(outcome, opener, responder, from_b ? key->port_a : key->port_b, key->protocol,
			 epoch))
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

	if (epoch_is_judged(record->epoch, passage->epoch))
		return DROP_NONE;
	/* The record stays: by it the sender is told. */
	if (!end_is_present(record, other_end(sender)))
		return DROP_NO_SUCH_ENDPOINT;
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
	if (packet_is_icmp(packet))
		return icmp_is_echo_request(packet) == (sender == FLOW_OPENER);
	return true;
}

/*
 * Whether a packet from an end of the live record that was found belongs to it, whatever the policy says now:
 * CONNECTION_KNOWN, CONNECTION_NEW (it opens another, in place of one that has closed), or why it is dropped.
 */
static __always_inline int connection_continue_unjudged(const struct passage *passage, enum flow_end sender)
{
	const struct packet *packet = &passage->packet;

	if (packet->protocol == IPPROTO_TCP && packet->fragment != FRAGMENT_LATER && packet_opens(packet) &&
	    conntrack_closing(&passage->record))
		return CONNECTION_NEW;
	return connection_takes(packet, sender) ? CONNECTION_KNOWN : DROP_NO_CONNECTION;
}

/* The same, if the policy lets the flow go on. */
static __always_inline int connection_continue(struct passage *passage, struct conntrack_entry *place,
					       enum flow_end sender)
{
	int found = connection_continue_unjudged(passage, sender);

	return found == CONNECTION_KNOWN ? connection_recheck(passage, place, sender) : found;
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
	struct conntrack_entry *place;

	flow_of(&passage->packet, passage->scope, &passage->flow);
	if (config_explain)
		return CONNECTION_NEW;
	place = conntrack_find(passage);
	if (!place)
		return CONNECTION_NEW;
	*sender = flow_sender(&passage->flow, record);
	/* The address had another owner when the flow was opened. */
	if (conntrack_endpoint(record, self_sends ? *sender : other_end(*sender)) != passage->self.id)
		return CONNECTION_NEW;
	*found = place;
	return connection_continue(passage, place, *sender);
}

/*
 * The live record of the flow that its other end knows by passage->alias.key, and its place; passage->record
 * is its copy. NULL: there is none.
 */
static __always_inline struct conntrack_entry *connection_named(struct passage *passage)
{
	const struct nat_key *key = &passage->alias.key;
	struct conntrack_entry *place;
	struct nat_alias *alias;
	__u32 nonce;

	if (config_explain)
		return NULL;
	alias = bpf_map_lookup_elem(&qn_nat, key);
	if (!alias || !nat_copy_flow(alias, key, &passage->flow.key, &nonce))
		return NULL;
	place = conntrack_find(passage);
	return place && passage->record.nonce == nonce ? place : NULL;
}

/*
 * Opens a flow between the parties in the outcome, if the packet can open one and the policy lets it; under
 * passage->naming, if there is one.
 */
static __always_inline enum drop_reason connection_open(struct __sk_buff *skb, struct passage *passage)
{
	const struct packet *packet = &passage->packet;
	struct naming *naming = &passage->naming;
	enum drop_reason reason;

	if (packet->fragment == FRAGMENT_LATER)
		return DROP_FRAGMENT_WITHOUT_FIRST;
	if (!packet_opens(packet))
		return DROP_NO_CONNECTION;
	/* Its checksum is of the whole (see rewrite_sctp()). */
	if (naming->needed && packet->protocol == IPPROTO_SCTP && packet->fragment != FRAGMENT_NONE)
		return DROP_NAT_PROTOCOL;
	/* As a container reaches itself without a service too, whatever the policy. */
	reason = conntrack_naming_flags(passage) & CONNTRACK_SELF ? DROP_NONE : policy_judge_packet(passage);
	if (reason || config_explain)
		return reason;
	if (naming->needed && naming->end == FLOW_OPENER) {
		reason = (enum drop_reason)route_open(skb, passage);
		if (reason)
			return reason;
		/* A record without a name would let the packet out under the container's own. */
		if (address_is_zero(&naming->address))
			return DROP_NO_UPLINK_ADDRESS;
	}
	reason = conntrack_create(skb, passage);
	if (reason)
		return reason;
	passage->outcome.new_flow = true;
	return DROP_NONE;
}
