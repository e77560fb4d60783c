/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Decides whether two parties may talk: egress at the source and ingress at the destination must both allow.
 * Beside that it finds out what the rules that are only audited would have changed.
 */
#pragma once

#include "policy_range.h"

/* What is to be judged: the first packet of a flow. */
struct policy_request {
	struct ip_address source;
	struct ip_address destination;
	__u32 slot; /* generation of the rules */
	__u16 port; /* destination port, host byte order; 0 for ICMP */
	__u8 protocol;
	__u8 audit; /* 1: as if the rules that are audited were enforced */
};

/* Copies what there is to know of the subject's rules. 0: they are not computed. A function of its own for
 * its stack. */
__attribute__((noinline)) int policy_subject(struct policy_query *query)
{
	struct subject_value *subject, *read;
	struct subject_key key = {};

	if (!query)
		return 0;
	key.identity = query->subject;
	subject = bpf_map_lookup_elem(&qn_policy_subjects, &key);
	read = &query->generations;
	/* As in policy_probe_one(). */
	if (!subject || !sealed_copy(read, subject, sizeof(*read)) || read->key.identity != key.identity)
		return 0;
	if (query->slot)
		query->rules = read->slot[1];
	else
		query->rules = read->slot[0];
	return query->rules.present;
}

#define TIER_UNDECIDED (-1)

/* Which forms of ports there are to look for in a tier: see struct subject_rules. */
static __always_inline __u32 policy_tier_bits(const struct policy_query *query, enum policy_tier tier,
					      bool egress)
{
	__u32 at = 2 * tier + !egress;
	__u32 bits = query->rules.enforced.port_bits[at];

	return query->audit ? bits | query->rules.audited.port_bits[at] : bits;
}

/* What one tier says: a drop reason, or TIER_UNDECIDED. */
static __always_inline int policy_ask_tier(struct policy_query *query, enum policy_tier tier, bool egress)
{
	__u32 bits = policy_tier_bits(query, tier, egress);

	query->tier = (__u8)tier;
	query->verdict = VERDICT_NONE;
	query->precedence = 0;
	query->rule = 0;
	if (bits)
		policy_lookup(query, bits);
	if (!query->computed)
		return DROP_POLICY_MISSING;
	if (query->verdict == VERDICT_ALLOW)
		return DROP_NONE;
	if (query->verdict == VERDICT_DENY)
		return egress ? DROP_POLICY_EGRESS_DENY : DROP_POLICY_INGRESS_DENY;
	return TIER_UNDECIDED;
}

/*
 * Goes through the tiers until one decides. DROP_NONE: the subject allows it. query->rule is the rule that
 * decided; 0: none, so default deny.
 */
__attribute__((noinline)) int policy_decide(struct policy_query *query)
{
	__u32 isolated;
	bool egress;
	int answer;

	if (!query)
		return DROP_MAP_CORRUPT;
	egress = query->direction == DIRECTION_EGRESS;
	isolated = query->rules.enforced.isolated;
	if (query->audit)
		isolated |= query->rules.audited.isolated;

	answer = policy_ask_tier(query, TIER_ADMIN, egress);
	if (answer != TIER_UNDECIDED)
		return answer;
	answer = policy_ask_tier(query, TIER_NETWORK_POLICY, egress);
	if (answer != TIER_UNDECIDED)
		return answer;
	if (!(isolated & (egress ? 1U << DIRECTION_EGRESS : 1U << DIRECTION_INGRESS))) {
		answer = policy_ask_tier(query, TIER_BASELINE, egress);
		if (answer != TIER_UNDECIDED)
			return answer;
		answer = policy_ask_tier(query, TIER_DEFAULT, egress);
		if (answer != TIER_UNDECIDED)
			return answer;
	}
	query->rule = 0;
	return egress ? DROP_POLICY_EGRESS : DROP_POLICY_INGRESS;
}

/* The generation of rules that counts now; read once per packet, so that a packet never sees two. */
static __always_inline __u32 policy_epoch(void)
{
	struct control *control;
	__u32 zero = 0;

	control = bpf_map_lookup_elem(&qn_control, &zero);
	return control ? *(volatile __u32 *)&control->policy_epoch : 0;
}

/*
 * Asks the rules of one party about the other; the answer is the query's. *audits: those that are audited
 * have a say in it.
 */
static __always_inline enum drop_reason policy_ask(struct policy_query *query, const struct outcome *outcome,
						   const struct policy_request *request,
						   enum direction direction, bool *audits)
{
	bool egress = direction == DIRECTION_EGRESS;
	const struct party *subject = egress ? &outcome->source : &outcome->destination;
	const struct party *peer = egress ? &outcome->destination : &outcome->source;

	query->subject = subject->identity;
	query->direction = (__u8)direction;
	query->slot = request->slot;
	query->rule = 0;
	if (!policy_subject(query))
		return DROP_POLICY_MISSING;
	query->computed = 1;
	query->audit = request->audit;
	query->protocol = request->protocol;
	query->port = request->port;
	query->destination = outcome->destination.endpoint_id;
	query->peers[0] = peer->identity;
	query->peers[1] = PEER_ANY;
	query->peers[2] = peer->network_id ? PEER_NETWORK_FLAG | peer->network_id : 0;
	query->peers[3] = policy_cidr_class(query, egress ? &request->destination : &request->source);
	if (query->rules.audits & (1U << direction))
		*audits = true;
	return (enum drop_reason)policy_decide(query);
}

/* What the rules say to a request, of both sides. */
struct policy_answer {
	enum drop_reason reason;
	__u32 egress_rule;
	__u32 ingress_rule;
	__u32 audits; /* not 0: audited rules have a say in it */
};

/*
 * Room to judge in: too much for the stack, which all the functions on the way share. Per CPU and a program's
 * own, as struct passage; the sweep holds preemption off while it runs.
 */
struct judgement {
	struct policy_request request;
	struct policy_query query;
	struct policy_answer enforced;
	struct policy_answer audited;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct judgement);
} judgements SEC(".maps");

/*
 * Both sides, as the request says with the audited rules or without. Only endpoints have rules: the host and
 * the world are peers of theirs.
 */
__attribute__((noinline)) int policy_judge_sides(const struct outcome *outcome, struct judgement *judgement)
{
	struct policy_answer *answer;
	bool audits = false;

	if (!outcome || !judgement)
		return 0;
	answer = judgement->request.audit ? &judgement->audited : &judgement->enforced;
	answer->reason = DROP_NONE;
	answer->egress_rule = 0;
	answer->ingress_rule = 0;
	if (outcome->source.endpoint_id) {
		answer->reason =
		    policy_ask(&judgement->query, outcome, &judgement->request, DIRECTION_EGRESS, &audits);
		answer->egress_rule = judgement->query.rule;
	}
	if (!answer->reason && outcome->destination.endpoint_id) {
		answer->reason =
		    policy_ask(&judgement->query, outcome, &judgement->request, DIRECTION_INGRESS, &audits);
		answer->ingress_rule = judgement->query.rule;
	}
	answer->audits = audits;
	return 0;
}

/*
 * May the outcome's source open the connection to its destination? The outcome gets the rules that decided.
 * port in network byte order; an ICMP echo has none: only rules for every protocol speak of it.
 */
static __always_inline enum drop_reason policy_judge(struct outcome *outcome, const struct ip_address *source,
						     const struct ip_address *destination, __be16 port,
						     __u8 protocol, __u32 epoch)
{
	bool echo = protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
	struct policy_answer *enforced, *audited;
	struct policy_request *request;
	struct judgement *judgement;
	__u32 zero = 0;

	judgement = bpf_map_lookup_elem(&judgements, &zero);
	if (!judgement)
		return DROP_MAP_CORRUPT;
	enforced = &judgement->enforced;
	audited = &judgement->audited;
	request = &judgement->request;
	request->source = *source;
	request->destination = *destination;
	request->slot = epoch & 1;
	request->port = echo ? 0 : bpf_ntohs(port);
	request->protocol = protocol;
	request->audit = 0;
	policy_judge_sides(outcome, judgement);
	outcome->egress_rule = enforced->egress_rule;
	outcome->ingress_rule = enforced->ingress_rule;
	outcome->audited = false;
	if (enforced->audits) {
		request->audit = 1;
		policy_judge_sides(outcome, judgement);
		outcome->audited = !audited->reason != !enforced->reason;
		outcome->audit_reason = audited->reason;
		outcome->audit_egress_rule = audited->egress_rule;
		outcome->audit_ingress_rule = audited->ingress_rule;
	}
	return enforced->reason;
}
