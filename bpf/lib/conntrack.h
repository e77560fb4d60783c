/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * One record per flow. Whoever opened it was judged by the policy; what belongs to it passes in both
 * directions while it lives and while the policy epoch it was judged under is the current one. Drops what
 * belongs to no flow and can open none, and new flows when there is no room.
 */
#pragma once

#include "../maps/maps.h"
#include "account.h"
#include "config.h"
#include "parse.h"
#include "passage.h"

/* The flow that a packet belongs to. */
static __always_inline void flow_of(const struct packet *packet, __u32 scope, struct flow *flow)
{
	const struct ip_address *source = &packet->source, *destination = &packet->destination;
	bool swap = address_equal(source, destination) ? packet->source_port > packet->destination_port
						       : address_less(destination, source);

	flow->from_b = swap;
	flow->key.address_a = swap ? *destination : *source;
	flow->key.address_b = swap ? *source : *destination;
	flow->key.port_a = swap ? packet->destination_port : packet->source_port;
	flow->key.port_b = swap ? packet->source_port : packet->destination_port;
	flow->key.scope = scope;
	flow->key.protocol = packet->protocol;
	__builtin_memset(flow->key.pad, 0, sizeof(flow->key.pad));
}

/* Which end of the record sent a packet of this flow. */
static __always_inline enum flow_end flow_sender(const struct flow *flow, const struct conntrack_entry *entry)
{
	return flow->from_b == !!(entry->flags & CONNTRACK_OPENER_IS_B) ? FLOW_OPENER : FLOW_RESPONDER;
}

static __always_inline enum flow_end other_end(enum flow_end end)
{
	return end == FLOW_OPENER ? FLOW_RESPONDER : FLOW_OPENER;
}

/* Without a variable index, which the verifier of older kernels cannot bound in a map's value. */
static __always_inline __u32 conntrack_endpoint(const struct conntrack_entry *entry, enum flow_end end)
{
	return end == FLOW_OPENER ? entry->endpoint_id[FLOW_OPENER] : entry->endpoint_id[FLOW_RESPONDER];
}

static __always_inline __u32 conntrack_ifindex(const struct conntrack_entry *entry, enum flow_end end)
{
	return end == FLOW_OPENER ? entry->ifindex[FLOW_OPENER] : entry->ifindex[FLOW_RESPONDER];
}

static __always_inline __u64 conntrack_lifetime(__u8 protocol, __u32 flags)
{
	__u64 seconds;

	if (protocol == IPPROTO_TCP) {
		if ((flags & CONNTRACK_RESET) || (flags & (CONNTRACK_FIN_OPENER | CONNTRACK_FIN_RESPONDER)) ==
						     (CONNTRACK_FIN_OPENER | CONNTRACK_FIN_RESPONDER))
			seconds = config_tcp_closing_s;
		else if (flags & CONNTRACK_ESTABLISHED)
			seconds = config_tcp_established_s;
		else
			seconds = config_tcp_opening_s;
	} else if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
		seconds = config_icmp_s;
	} else {
		seconds = flags & CONNTRACK_REPLIED ? config_udp_replied_s : config_udp_s;
	}
	return seconds * NSEC_PER_SEC;
}

static __always_inline bool conntrack_closing(const struct conntrack_entry *entry)
{
	const __u32 fins = CONNTRACK_FIN_OPENER | CONNTRACK_FIN_RESPONDER;

	return (entry->flags & CONNTRACK_RESET) || (entry->flags & fins) == fins;
}

/* A live record of the flow, or NULL. What has expired is as good as gone, whoever collects it. */
static __always_inline struct conntrack_entry *conntrack_find(const struct flow *flow, __u64 now)
{
	struct conntrack_entry *entry = bpf_map_lookup_elem(&qn_conntrack, &flow->key);

	return entry && entry->expires_ns > now ? entry : NULL;
}

/* Takes note of a packet that passes. Writes only what changed: the line is shared between CPUs. */
static __always_inline void conntrack_refresh(struct conntrack_entry *entry, const struct packet *packet,
					      enum flow_end sender, __u64 now)
{
	const __u32 known = entry->flags;
	__u32 flags = known;
	__u64 expires;

	if (sender == FLOW_RESPONDER)
		flags |= CONNTRACK_REPLIED;
	if (packet->protocol == IPPROTO_TCP && packet->fragment != FRAGMENT_LATER) {
		if (packet->tcp_flags & TCP_RST)
			flags |= CONNTRACK_RESET;
		if (packet->tcp_flags & TCP_FIN)
			flags |= sender == FLOW_OPENER ? CONNTRACK_FIN_OPENER : CONNTRACK_FIN_RESPONDER;
		if (sender == FLOW_OPENER && (flags & CONNTRACK_REPLIED) && (packet->tcp_flags & TCP_ACK))
			flags |= CONNTRACK_ESTABLISHED;
	}
	/* Only what is new: the element may have become another flow's while we looked (see struct endpoint).
	 */
	if (flags != known)
		__sync_fetch_and_or(&entry->flags, flags & ~known);
	expires = now + conntrack_lifetime(packet->protocol, flags);
	/* A lifetime may shrink (FIN, RST); growth by less than a second is not worth the write. */
	if (expires < entry->expires_ns || expires - entry->expires_ns > NSEC_PER_SEC)
		entry->expires_ns = expires;
}

/* Whose account a record is on: the opener's, or for one from outside the responder's, kept apart from its
 * own. */
struct payer {
	__u32 endpoint_id;
	bool inbound;
};

static __always_inline struct payer conntrack_payer(const struct conntrack_entry *entry)
{
	__u32 opener = entry->endpoint_id[FLOW_OPENER];

	return opener ? (struct payer){.endpoint_id = opener}
		      : (struct payer){.endpoint_id = entry->endpoint_id[FLOW_RESPONDER], .inbound = true};
}

/* The counter that a payer's flows are in. The verifier must see a bound that the compiler knows and leaves
 * out. */
static __always_inline __u32 *flow_counter(struct flow_count *count, struct payer payer)
{
	__u32 index = payer.inbound;

	asm volatile("%0 &= 1" : "+r"(index));
	return &count->flows + index;
}

static __always_inline void conntrack_remove(const struct conntrack_key *key, struct payer payer)
{
	struct flow_count *count;

	/* Only who really removed it takes it off the account. */
	if (bpf_map_delete_elem(&qn_conntrack, key))
		return;
	count = bpf_map_lookup_elem(&qn_flow_counts, &payer.endpoint_id);
	if (count)
		__sync_fetch_and_add(flow_counter(count, payer), (__u32)-1);
}

/* Makes the record of a flow that the policy allows. */
static __always_inline enum drop_reason conntrack_create(struct passage *passage)
{
	const struct outcome *outcome = &passage->outcome;
	const struct flow *flow = &passage->flow;
	struct conntrack_entry entry = {};
	struct conntrack_entry *old;
	struct flow_count *count;
	struct payer payer;
	__u32 *flows;
	long error;

	entry.flags = (flow->from_b ? CONNTRACK_OPENER_IS_B : 0) |
		      (outcome->source.identity == IDENTITY_HOST ? CONNTRACK_OPENER_IS_HOST : 0) |
		      (outcome->destination.identity == IDENTITY_HOST ? CONNTRACK_RESPONDER_IS_HOST : 0);
	entry.expires_ns = passage->now + conntrack_lifetime(flow->key.protocol, entry.flags);
	entry.epoch = passage->epoch;
	entry.endpoint_id[FLOW_OPENER] = outcome->source.endpoint_id;
	entry.endpoint_id[FLOW_RESPONDER] = outcome->destination.endpoint_id;
	entry.ifindex[FLOW_OPENER] = outcome->source.ifindex;
	entry.ifindex[FLOW_RESPONDER] = outcome->destination.ifindex;
	entry.rule[FLOW_OPENER] = outcome->egress_rule;
	entry.rule[FLOW_RESPONDER] = outcome->ingress_rule;
	payer = conntrack_payer(&entry);

	/* A dead or replaced record must leave the account of whoever opened it. */
	old = bpf_map_lookup_elem(&qn_conntrack, &flow->key);
	if (old)
		conntrack_remove(&flow->key, conntrack_payer(old));

	count = bpf_map_lookup_elem(&qn_flow_counts, &payer.endpoint_id);
	if (!count) {
		struct flow_count none = {};

		bpf_map_update_elem(&qn_flow_counts, &payer.endpoint_id, &none, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&qn_flow_counts, &payer.endpoint_id);
		if (!count)
			return DROP_MAP_CORRUPT;
	}
	flows = flow_counter(count, payer);
	if (config_flows_per_endpoint && *flows >= config_flows_per_endpoint)
		return DROP_FLOW_LIMIT;
	error = bpf_map_update_elem(&qn_conntrack, &flow->key, &entry, BPF_NOEXIST);
	/* Another CPU made it since we looked: the same flow, judged the same way. */
	if (error == -17 /* EEXIST */)
		return DROP_NONE;
	if (error)
		return DROP_CONNTRACK_FULL;
	__sync_fetch_and_add(flows, 1);
	return DROP_NONE;
}
