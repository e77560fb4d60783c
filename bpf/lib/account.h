/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Tells the world, once per packet, what was decided: counters always, an event where it is news. */
#pragma once

#include "../maps/maps.h"
#include "config.h"
#include "passage.h"

#define NSEC_PER_SEC 1000000000ULL

static __always_inline void count(struct metric_key key, __u32 bytes)
{
	struct metric_value *value = bpf_map_lookup_elem(&qn_metrics, &key);
	struct metric_value first = {.packets = 1, .bytes = bytes};

	if (value) {
		/* Per CPU, and a program is not interrupted by another on the same hook: no atomics needed.
		 */
		value->packets++;
		value->bytes += bytes;
		return;
	}
	/* Two CPUs may come first at once; the loser finds the entry that the winner made. */
	if (bpf_map_update_elem(&qn_metrics, &key, &first, BPF_NOEXIST)) {
		value = bpf_map_lookup_elem(&qn_metrics, &key);
		if (value) {
			value->packets++;
			value->bytes += bytes;
		}
	}
}

static __always_inline void count_lost_event(enum event_loss kind)
{
	__u32 index = kind;
	__u64 *lost = bpf_map_lookup_elem(&qn_event_loss, &index);

	if (lost)
		(*lost)++;
}

/*
 * Token bucket of the endpoint. Two CPUs may race for the last token, or refill twice: the limit is there to
 * keep one container from filling the ring, not to count exactly.
 */
static __always_inline bool event_permitted(__u32 endpoint_id)
{
	struct event_limit *limit = bpf_map_lookup_elem(&qn_event_limits, &endpoint_id);
	__u64 now = bpf_ktime_get_ns();
	__u64 earned;

	if (!limit) {
		struct event_limit fresh = {.refilled_ns = now};

		if (!config_events_burst)
			return false;
		fresh.tokens = config_events_burst - 1; /* this event takes one */
		bpf_map_update_elem(&qn_event_limits, &endpoint_id, &fresh, BPF_ANY);
		return true;
	}
	earned = (now - limit->refilled_ns) * config_events_per_second / NSEC_PER_SEC;
	if (earned) {
		__u64 tokens = limit->tokens + earned;

		limit->tokens = tokens > config_events_burst ? config_events_burst : (__u32)tokens;
		limit->refilled_ns = now;
	}
	if (!limit->tokens)
		return false;
	limit->tokens--;
	return true;
}

static __always_inline void emit_event(__u32 ifindex, const struct passage *passage, enum direction direction,
				       enum drop_reason reason)
{
	const struct packet *packet = &passage->packet;
	const struct outcome *outcome = &passage->outcome;
	struct event *event;

	if (!event_permitted(passage->self.id)) {
		count_lost_event(EVENT_LOSS_RATE_LIMITED);
		return;
	}
	event = bpf_ringbuf_reserve(&qn_events, sizeof(*event), 0);
	if (!event) {
		count_lost_event(EVENT_LOSS_RING_FULL);
		return;
	}
	event->time_ns = bpf_ktime_get_ns();
	event->kind = reason ? EVENT_DROP : EVENT_FLOW;
	event->direction = (__u8)direction;
	event->protocol = packet->protocol;
	event->family = packet->family;
	event->reason = (__u16)reason;
	event->ethertype = packet->ethertype;
	event->endpoint_id = passage->self.id;
	event->ifindex = ifindex;
	event->network_id = passage->self.network_id;
	event->source_identity = outcome->source.identity;
	event->destination_identity = outcome->destination.identity;
	event->source_endpoint_id = outcome->source.endpoint_id;
	event->destination_endpoint_id = outcome->destination.endpoint_id;
	event->egress_rule = outcome->egress_rule;
	event->ingress_rule = outcome->ingress_rule;
	event->audit_egress_rule = outcome->audit_egress_rule;
	event->audit_ingress_rule = outcome->audit_ingress_rule;
	event->length = passage->length;
	event->source = packet->source;
	event->destination = packet->destination;
	event->source_port = packet->source_port;
	event->destination_port = packet->destination_port;
	event->icmp_type = packet->icmp_type;
	event->icmp_code = packet->icmp_code;
	event->audit_reason = (__u16)outcome->audit_reason;
	event->audited = outcome->audited;
	__builtin_memset(event->pad, 0, sizeof(event->pad));
	bpf_ringbuf_submit(event, 0);
}

/* What a program decides that was loaded to explain: told to who asked, and to nobody else. */
static __always_inline void explain(const struct outcome *outcome, enum drop_reason reason)
{
	__u32 zero = 0;
	struct explanation *answer = bpf_map_lookup_elem(&explanations, &zero);

	if (!answer)
		return;
	answer->reason = reason;
	answer->source_identity = outcome->source.identity;
	answer->destination_identity = outcome->destination.identity;
	answer->source_endpoint_id = outcome->source.endpoint_id;
	answer->destination_endpoint_id = outcome->destination.endpoint_id;
	answer->egress_rule = outcome->egress_rule;
	answer->ingress_rule = outcome->ingress_rule;
	answer->audited = outcome->audited;
	answer->audit_reason = outcome->audit_reason;
	answer->audit_egress_rule = outcome->audit_egress_rule;
	answer->audit_ingress_rule = outcome->audit_ingress_rule;
	answer->runs++;
}

static __always_inline void account_at(__u32 ifindex, const struct passage *passage, enum direction direction,
				       enum drop_reason reason)
{
	const struct outcome *outcome = &passage->outcome;
	struct metric_key key = {
	    .endpoint_id = passage->self.id, .reason = (__u16)reason, .direction = (__u8)direction};

	if (config_explain) {
		explain(outcome, reason);
		return;
	}
	count(key, passage->length);
	if (outcome->audited && !reason) {
		key.reason = (__u16)outcome->audit_reason;
		key.audited = 1;
		count(key, passage->length);
	}
	if (reason || outcome->new_flow || outcome->audited)
		emit_event(ifindex, passage, direction, reason);
}

static __always_inline void account(struct __sk_buff *skb, const struct passage *passage,
				    enum direction direction, enum drop_reason reason)
{
	account_at(skb->ifindex, passage, direction, reason);
}
