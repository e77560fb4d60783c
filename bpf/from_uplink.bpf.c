// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * tcx/clsact ingress of the uplink: answers to what containers have sent out under the node's address. They
 * get the container's address back and go straight to it. Everything else is the node's own and passes
 * untouched, whatever it is: nothing here cuts anybody off from the node.
 */
#include "lib/account.h"
#include "lib/connection.h"
#include "lib/deliver.h"
#include "lib/destination.h"
#include "lib/icmp_error.h"
#include "lib/masquerade.h"
#include "lib/parse.h"

/* The first id that no endpoint has: whose fragments those of the uplink are. */
#define UPLINK_FRAGMENTS 0

/* The alias that a packet for the node would belong to: by itself, or what it quotes. */
static __always_inline bool alias_key_of(struct __sk_buff *skb, struct passage *passage, bool is_error)
{
	const struct packet *packet = &passage->packet;
	struct nat_key *key = &passage->alias.key;

	if (is_error) {
		if (parse_quoted(skb, passage))
			return false;
		packet = &passage->quoted;
		key->remote = packet->destination;
		key->local = packet->source;
		key->remote_port = packet->destination_port;
		key->local_port = packet->source_port;
	} else {
		key->remote = packet->source;
		key->local = packet->destination;
		key->remote_port = packet->source_port;
		key->local_port = packet->destination_port;
	}
	key->protocol = packet->protocol;
	__builtin_memset(key->pad, 0, sizeof(key->pad));
	return true;
}

/* The place of the live record whose alias the packet has; passage->record is its copy. NULL: it has none. */
static __always_inline struct conntrack_entry *translated_find(struct passage *passage)
{
	struct nat_alias *alias = &passage->alias;
	struct conntrack_entry *place;
	struct nat_alias *found;
	struct nat_key key = alias->key;

	found = bpf_map_lookup_elem(&qn_nat, &key);
	if (!found || !nat_copy(found, &key, alias))
		return NULL;
	passage->now = bpf_ktime_get_ns();
	passage->flow.key = alias->flow;
	place = conntrack_find(passage);
	if (!place || passage->record.nonce != alias->nonce)
		return NULL;
	/* Whoever opened it is there no more. */
	if (!endpoint_of_interface(passage->record.ifindex[FLOW_OPENER], &passage->self) ||
	    passage->self.id != passage->record.endpoint_id[FLOW_OPENER])
		return NULL;
	return place;
}

/* From the uplink's names to those of the container. */
static __always_inline void rewrite_in(const struct passage *passage, enum packet_end end,
				       struct rewrite *rewrite)
{
	rewrite->end = end;
	rewrite->from = passage->record.nat_address;
	rewrite->from_port = passage->record.nat_port;
	flow_opener(&passage->flow.key, &passage->record, &rewrite->to, &rewrite->to_port);
}

/* Gives a packet of a known flow to the container that opened it. */
static __always_inline enum drop_reason hand_in(struct __sk_buff *skb, struct passage *passage,
						struct conntrack_entry *place, bool is_error)
{
	struct packet *packet = &passage->packet;
	struct rewrite rewrite;
	enum drop_reason reason;
	int judged;

	party_from_endpoint(&passage->outcome.destination, &passage->self);
	passage->outcome.source = (struct party){.identity = IDENTITY_WORLD};
	/* Any router on the way may complain, but none has an address of ours. */
	if (is_error && (address_classify(&packet->source) != ADDRESS_UNICAST ||
			 party_of_address(&packet->source, &passage->outcome.source) ||
			 passage->outcome.source.identity != IDENTITY_WORLD))
		return DROP_BAD_SOURCE;
	passage->epoch = policy_epoch();
	judged = connection_recheck(passage, place, FLOW_RESPONDER);
	if (judged)
		return (enum drop_reason)judged;
	if (packet->hop_limit <= 1)
		return DROP_HOP_LIMIT;
	if (packet->fragment == FRAGMENT_FIRST) {
		reason = fragment_prepare(UPLINK_FRAGMENTS);
		if (!reason)
			reason = fragment_open(packet, UPLINK_FRAGMENTS, passage->now);
		if (reason)
			return reason;
	}
	if (is_error) {
		rewrite_in(passage, PACKET_SOURCE, &rewrite);
		reason = rewrite_quoted(skb, packet, &passage->quoted, &rewrite);
		if (reason)
			return reason;
	}
	rewrite_in(passage, PACKET_DESTINATION, &rewrite);
	reason = rewrite_packet(skb, packet, &rewrite);
	if (!reason)
		reason = rewrite_hop_limit(skb, packet);
	/* As the policy knows it, for whoever is told of it. */
	packet->destination = rewrite.to;
	if (!is_error)
		packet->destination_port = rewrite.to_port;
	if (reason)
		return reason;
	passage->peer = passage->self;
	reason = deliver_local(skb, passage);
	if (!reason && !is_error)
		conntrack_refresh(place, passage, FLOW_RESPONDER);
	return reason;
}

/* The place of the flow that the packet belongs to, or NULL: it is for the node. */
static __always_inline struct conntrack_entry *claim(struct __sk_buff *skb, struct passage *passage,
						     bool *is_error)
{
	struct packet *packet = &passage->packet;
	struct conntrack_entry *place;
	struct ethhdr eth;

	if (parse_ethernet(skb, packet, &eth) || parse_ip(skb, packet))
		return NULL;
	if (packet->fragment == FRAGMENT_LATER &&
	    fragment_follow(packet, UPLINK_FRAGMENTS, bpf_ktime_get_ns()))
		return NULL;
	*is_error = packet->fragment != FRAGMENT_LATER && packet_is_icmp(packet) && icmp_is_error(packet);
	if (!alias_key_of(skb, passage, *is_error))
		return NULL;
	place = translated_find(passage);
	/* What opens a connection is no answer. */
	if (!place || (!*is_error && !connection_takes(packet, FLOW_RESPONDER)))
		return NULL;
	return place;
}

SEC("tc")
int from_uplink(struct __sk_buff *skb)
{
	struct passage *passage = passage_begin(skb);
	struct conntrack_entry *place;
	enum drop_reason reason;
	bool is_error = false;

	if (!passage)
		return ACTION_PASS;
	place = claim(skb, passage, &is_error);
	if (!place)
		return ACTION_PASS;
	reason = hand_in(skb, passage, place, is_error);
	account(skb, passage, DIRECTION_INGRESS, reason);
	return reason ? ACTION_DROP : passage->action;
}

char _license[] SEC("license") = "Dual MIT/GPL";
