/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Makes the record of a flow that the policy allows. Drops new flows when there is no room for one. */
#pragma once

#include "nat_claim.h"

/* Is the record the one that passage->naming asks for? */
static __always_inline bool record_is_named(const struct conntrack_entry *record, const struct naming *naming)
{
	return address_equal(&record->nat_address, &naming->address) && named_end(record) == naming->end &&
	       (!naming->port || record->nat_port == naming->port);
}

/* What the flow that is being opened says of its names: enum conntrack_flags. */
static __always_inline __u32 conntrack_naming_flags(const struct passage *passage)
{
	const struct outcome *outcome = &passage->outcome;

	if (!passage->naming.needed || passage->naming.end != FLOW_RESPONDER)
		return 0;
	return CONNTRACK_NAMED_RESPONDER |
	       (outcome->source.endpoint_id && outcome->source.endpoint_id == outcome->destination.endpoint_id
		    ? CONNTRACK_SELF
		    : 0);
}

/* Who else may take from the same account at once, before one of them is refused for it. */
#define ADMISSION_TRIES 8

/*
 * May one connection more come in from outside, by the rate that is set? One word says it for all CPUs: when
 * those that were let in would have come at that rate (the virtual scheduling of ITU-T I.371).
 */
static __always_inline bool inbound_admit(struct flow_count *count)
{
	__u64 interval, ahead, due, seen, now;

	if (!config_inbound_new_per_second)
		return true;
	/* Not passage->now: more than one may come in within a tick. */
	now = bpf_ktime_get_ns();
	interval = NSEC_PER_SEC / config_inbound_new_per_second;
	ahead = interval * config_inbound_new_burst;
	for (int i = 0; i < ADMISSION_TRIES; i++) {
		seen = *(volatile __u64 *)&count->inbound_ns;
		due = seen < now ? now : seen;
		if (due + interval > now + ahead)
			return false;
		if (__sync_val_compare_and_swap(&count->inbound_ns, seen, due + interval) == seen)
			return true;
	}
	return false;
}

/*
 * Makes the record of a flow that the policy allows; it stands in passage->record then. With
 * passage->naming: under that name, with an alias, or not at all.
 */
static __always_inline enum drop_reason conntrack_create(struct __sk_buff *skb, struct passage *passage)
{
	const struct naming *naming = &passage->naming;
	const struct outcome *outcome = &passage->outcome;
	struct conntrack_entry *entry = &passage->record;
	const struct flow *flow = &passage->flow;
	enum drop_reason reason = DROP_NONE;
	struct conntrack_entry *place;
	conntrack_stamp unnamed;
	struct flow_count *count;
	struct payer payer;
	__u32 *flows;
	long error;

	/* A dead or replaced record must leave the account of whoever opened it. */
	place = bpf_map_lookup_elem(&qn_conntrack, &flow->key);
	if (place && conntrack_copy(place, &flow->key, entry))
		conntrack_remove(place, &flow->key, entry);

	__builtin_memset(entry, 0, sizeof(*entry));
	entry->key = flow->key;
	entry->flags = (flow->from_b ? CONNTRACK_OPENER_IS_B : 0) |
		       (outcome->source.identity == IDENTITY_HOST ? CONNTRACK_OPENER_IS_HOST : 0) |
		       conntrack_naming_flags(passage);
	entry->expires_ns = passage->now + conntrack_lifetime(flow->key.protocol, entry->flags);
	entry->epoch = passage->epoch;
	entry->endpoint_id[FLOW_OPENER] = outcome->source.endpoint_id;
	entry->endpoint_id[FLOW_RESPONDER] = outcome->destination.endpoint_id;
	entry->ifindex[FLOW_OPENER] = outcome->source.ifindex;
	entry->ifindex[FLOW_RESPONDER] = outcome->destination.ifindex;
	entry->rule[FLOW_OPENER] = outcome->egress_rule;
	entry->rule[FLOW_RESPONDER] = outcome->ingress_rule;
	if (entry->flags & CONNTRACK_NAMED_RESPONDER)
		entry->backend = naming->backend;
	payer = conntrack_payer(entry);

	count = flow_account(payer.endpoint_id);
	if (!count)
		return DROP_MAP_CORRUPT;
	flows = flow_counter(count, payer);
	/* Signed: an account may be given to another endpoint too while we count on it, and fall below
	 * nothing.
	 */
	if (config_flows_per_endpoint && (__s32)*flows >= (__s32)config_flows_per_endpoint)
		return DROP_FLOW_LIMIT;
	if (outcome->source.identity == IDENTITY_WORLD && !inbound_admit(count))
		return DROP_INBOUND_RATE;
	if (payer.inbound && !inbound_total_add(1))
		return DROP_FLOW_LIMIT;
	error = bpf_map_update_elem(&qn_conntrack, &flow->key, entry, BPF_NOEXIST);
	if (error && payer.inbound)
		inbound_total_add(-1);
	/* Another CPU made it since we looked: the same flow, judged the same way. Or is about to remove it.
	 * Untranslated it passes; what it is translated to, only a whole record tells.
	 */
	if (error == -EEXIST && naming->needed &&
	    (!conntrack_find(passage) || !record_is_named(&passage->record, naming)))
		return DROP_NO_CONNECTION;
	if (error == -EEXIST)
		return DROP_NONE;
	if (error)
		return DROP_CONNTRACK_FULL;
	__sync_fetch_and_add(flows, 1);
	/* Without a nonce it is nobody's to remove, so this is it. */
	place = bpf_map_lookup_elem(&qn_conntrack, &flow->key);
	if (!place)
		return DROP_MAP_CORRUPT;
	unnamed = conntrack_stamp_of(entry);
	entry->nonce = bpf_get_prandom_u32() | 1;
	if (naming->needed) {
		entry->nat_address = naming->address;
		entry->nat_port = naming->port;
		reason = (enum drop_reason)nat_claim(skb, passage);
		if (reason) {
			entry->nat_address = (struct ip_address){};
			entry->nat_port = 0;
			/* Dead from when it can be found: nobody takes it for a flow without a name. */
			place->expires_ns = 0;
		}
		place->nat_address = entry->nat_address;
		place->nat_port = entry->nat_port;
	}
	barrier();
	conntrack_exchange(place, unnamed, conntrack_stamp_of(entry));
	if (reason)
		conntrack_remove(place, &flow->key, entry);
	return reason;
}
