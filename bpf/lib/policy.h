/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Decides whether two parties may talk: egress at the source and ingress at the destination must both allow.
 */
#pragma once

#include "../maps/maps.h"
#include "packet.h"

#define PORT_BITS_MAX 16

/* What is asked of one side's rules, and the answer. */
struct policy_query {
	__u32 subject;	    /* identity whose rules are asked */
	__u32 peer;	    /* identity of the other side */
	__u32 peer_network; /* 0: host or world */
	__u32 slot;
	__u16 port; /* destination port, host byte order; 0 for ICMP */
	__u8 protocol;
	__u8 direction;
	/* answer */
	__u32 rule;
	__u16 precedence;
	__u8 verdict;  /* VERDICT_NONE: no rule, hence denied by default */
	__u8 computed; /* 0: this identity has no compiled policy */
};

static __always_inline bool policy_key_equal(const struct policy_key *a, const struct policy_key *b)
{
	return a->subject == b->subject && a->peer == b->peer && a->direction == b->direction &&
	       a->protocol == b->protocol && a->port_bits == b->port_bits && a->port == b->port;
}

static __always_inline void policy_probe(struct policy_query *query, struct policy_key *key)
{
	struct policy_value *value = bpf_map_lookup_elem(&qn_policy, key);
	struct policy_decision found;

	if (!value)
		return;
	found = query->slot ? value->slot[1] : value->slot[0];
	barrier();
	if (!policy_key_equal(&value->key, key)) {
		/* The element was given to another rule while we read it. This packet is not decided by
		 * either. */
		query->computed = 0;
		return;
	}
	if (found.verdict == VERDICT_NONE)
		return;
	if (query->verdict == VERDICT_NONE || found.precedence > query->precedence ||
	    (found.precedence == query->precedence && found.verdict == VERDICT_DENY)) {
		query->verdict = found.verdict;
		query->precedence = found.precedence;
		query->rule = found.rule;
	}
}

/*
 * Looks at every key that could match, which is a handful: three classes of peer times the prefix lengths of
 * ports that occur in the subject's rules. The number of rules does not enter. A function of its own (not
 * inlined), so that the verifier walks it once.
 */
__attribute__((noinline)) int policy_lookup(struct policy_query *query)
{
	struct policy_key key = {};
	struct subject_value *subject;
	struct subject_slot *slot;
	struct subject_key who;
	__u32 peers[3], bits;

	if (!query)
		return 0;
	who.identity = query->subject;
	query->verdict = VERDICT_NONE;
	query->precedence = 0;
	query->rule = 0;
	query->computed = 0;
	subject = bpf_map_lookup_elem(&qn_policy_subjects, &who);
	if (!subject)
		return 0;
	slot = query->slot ? &subject->slot[1] : &subject->slot[0];
	if (!slot->present)
		return 0;
	query->computed = 1;
	bits = query->direction == DIRECTION_EGRESS ? slot->port_bits[0] : slot->port_bits[1];

	peers[0] = query->peer;
	peers[1] = PEER_ANY;
	/* For the host and the world the third class repeats the second, which changes no answer. */
	peers[2] = query->peer_network ? PEER_NETWORK_FLAG | query->peer_network : PEER_ANY;

	key.subject = query->subject;
	key.direction = query->direction;
	/* Unrolled, because the verifier of Linux 6.1 refuses the way out of the inner loop into the head of
	 * this one. */
#pragma clang loop unroll(full)
	for (int i = 0; i < 3; i++) {
		key.peer = peers[i];
		key.protocol = query->protocol;
		for (int length = 0; length <= PORT_BITS_MAX; length++) {
			if (!(bits & (1U << length)))
				continue;
			key.port_bits = (__u8)length;
			key.port = (__u16)(query->port & (0xffff0000U >> length));
			policy_probe(query, &key);
		}
		key.protocol = 0;
		key.port_bits = 0;
		key.port = 0;
		if (bits & 1U)
			policy_probe(query, &key);
	}
	return 0;
}

/* The generation of rules that counts now; read once per packet, so that a packet never sees two. */
static __always_inline __u32 policy_epoch(void)
{
	struct control *control;
	__u32 zero = 0;

	control = bpf_map_lookup_elem(&qn_control, &zero);
	return control ? *(volatile __u32 *)&control->policy_epoch : 0;
}

/* Asks the rules of one party about the other; the rest of the query is the caller's. */
static __always_inline enum drop_reason policy_ask(struct policy_query *query, const struct party *subject,
						   const struct party *peer, enum direction direction)
{
	bool egress = direction == DIRECTION_EGRESS;

	query->subject = subject->identity;
	query->peer = peer->identity;
	query->peer_network = peer->network_id;
	query->direction = (__u8)direction;
	policy_lookup(query);
	if (!query->computed)
		return DROP_POLICY_MISSING;
	if (query->verdict == VERDICT_NONE)
		return egress ? DROP_POLICY_EGRESS : DROP_POLICY_INGRESS;
	if (query->verdict != VERDICT_ALLOW)
		return egress ? DROP_POLICY_EGRESS_DENY : DROP_POLICY_INGRESS_DENY;
	return DROP_NONE;
}

/*
 * May the outcome's source open a connection to its destination at port (network byte order)? Only endpoints
 * have rules: the host and the world are peers of theirs.
 */
static __always_inline enum drop_reason policy_judge(struct outcome *outcome, __u8 protocol, __be16 port,
						     __u32 epoch)
{
	const struct party *source = &outcome->source, *destination = &outcome->destination;
	struct policy_query query = {};
	enum drop_reason reason;

	query.slot = epoch & 1;
	query.protocol = protocol;
	/* An ICMP echo has no port; only rules for every protocol speak of it. */
	query.port = protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6 ? 0 : bpf_ntohs(port);
	outcome->egress_rule = 0;
	outcome->ingress_rule = 0;

	if (source->endpoint_id) {
		reason = policy_ask(&query, source, destination, DIRECTION_EGRESS);
		outcome->egress_rule = query.rule;
		if (reason)
			return reason;
	}
	if (destination->endpoint_id) {
		reason = policy_ask(&query, destination, source, DIRECTION_INGRESS);
		outcome->ingress_rule = query.rule;
		if (reason)
			return reason;
	}
	return DROP_NONE;
}
