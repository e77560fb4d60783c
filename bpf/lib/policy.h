/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Decides whether two parties may talk: egress at the source and ingress at the destination must both allow.
 * Beside that it finds out what the rules that are only audited would have changed.
 */
#pragma once

#include "../maps/maps.h"
#include "packet.h"

#define PEER_CLASSES 4

/* What is to be judged: the first packet of a flow. */
struct policy_request {
	struct ip_address source;
	struct ip_address destination;
	__u32 slot; /* generation of the rules */
	__u16 port; /* destination port, host byte order; 0 for ICMP */
	__u8 protocol;
	__u8 audit; /* 1: as if the rules that are audited were enforced */
};

/* What is asked of the rules of one side, and the answer. */
struct policy_query {
	struct subject_slot rules; /* of the subject */
	__u32 subject;		   /* identity whose rules are asked */
	__u32 peers[PEER_CLASSES]; /* every policy_key.peer that names the other side */
	__u32 destination;	   /* endpoint whose names of ports count; 0: host or world */
	__u32 slot;
	__u16 port;
	__u8 protocol;
	__u8 direction;
	__u8 audit;
	__u8 computed; /* 0: the subject has no compiled policy, or it changed while we read it */
	__u8 tier;     /* being asked */
	__u8 verdict;  /* of that tier; VERDICT_NONE: no rule of it matches */
	__u32 rule;
	__u32 precedence;
	struct policy_key key; /* being looked up */
};

static __always_inline bool policy_key_equal(const struct policy_key *a, const struct policy_key *b)
{
	return a->subject == b->subject && a->peer == b->peer && a->direction == b->direction &&
	       a->tier == b->tier && a->protocol == b->protocol && a->port_bits == b->port_bits &&
	       a->port == b->port;
}

/* Among rules of one precedence deny beats pass, and pass beats allow. */
static __always_inline __u32 verdict_strength(__u8 verdict)
{
	return verdict == VERDICT_DENY ? 2 : verdict == VERDICT_PASS;
}

static __always_inline void policy_probe_one(struct policy_query *query, const struct policy_key *key)
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
	    (found.precedence == query->precedence &&
	     verdict_strength(found.verdict) > verdict_strength(query->verdict))) {
		query->verdict = found.verdict;
		query->precedence = found.precedence;
		query->rule = found.rule;
	}
}

/*
 * The rule of query->key, and with `audit` the audited one too. A function of its own, so that it is verified
 * once. The key is copied to the stack: Linux 6.1 looks up no key in memory that a function was handed.
 */
__attribute__((noinline)) int policy_probe(struct policy_query *query)
{
	struct policy_key key;

	if (!query)
		return 0;
	key = query->key;
	key.tier = query->tier;
	policy_probe_one(query, &key);
	if (query->audit) {
		key.tier = query->tier | TIER_AUDIT_FLAG;
		policy_probe_one(query, &key);
	}
	return 0;
}

/* Rules that name the port by the names that its endpoint gives it. */
__attribute__((noinline)) int policy_probe_names(struct policy_query *query)
{
	struct named_port_key where = {};
	struct named_port_value *found;
	struct named_port_value names;

	if (!query || !query->destination)
		return 0;
	where.endpoint_id = query->destination;
	where.port = query->port;
	where.protocol = query->protocol;
	found = bpf_map_lookup_elem(&qn_named_ports, &where);
	if (!found)
		return 0;
	names = *found;
	barrier();
	if (found->key.endpoint_id != where.endpoint_id || found->key.port != where.port ||
	    found->key.protocol != where.protocol) {
		query->computed = 0; /* as in policy_probe_one() */
		return 0;
	}
	query->key.port_bits = PORT_BITS_NAMED;
	for (int i = 0; i < PORT_NAMES_MAX; i++) {
		if (!names.name[i])
			break;
		query->key.port = names.name[i];
		policy_probe(query);
	}
	return 0;
}

/*
 * Asks the tier `query->tier`: looks at every key of it that could match, which is a handful: the classes of
 * the peer times the forms of the port that occur in the subject's rules (bits, see struct subject_rules).
 * The number of rules does not enter.
 */
__attribute__((noinline)) int policy_lookup(struct policy_query *query, __u32 bits)
{
	struct policy_key *key;

	if (!query)
		return 0;
	key = &query->key;
	key->subject = query->subject;
	key->direction = query->direction;
	/* Unrolled, because the verifier of Linux 6.1 refuses the way out of the inner loop into the head of
	 * this one. */
#pragma clang loop unroll(full)
	for (int i = 0; i < PEER_CLASSES; i++) {
		key->peer = query->peers[i];
		/* A class that the peer does not have stands for PEER_ANY, which changes no answer. */
		if (i > 1 && !key->peer)
			continue;
		key->protocol = query->protocol;
		for (int length = 0; length <= PORT_BITS_MAX; length++) {
			if (!(bits & (1U << length)))
				continue;
			key->port_bits = (__u8)length;
			key->port = query->port & (0xffff0000U >> length) & 0xffff;
			policy_probe(query);
		}
		if (bits & (1U << PORT_BITS_NAMED))
			policy_probe_names(query);
		key->protocol = 0;
		key->port_bits = 0;
		key->port = 0;
		if (bits & 1U)
			policy_probe(query);
	}
	return 0;
}

static __always_inline bool cidr_key_equal(const struct cidr_key *a, const struct cidr_key *b)
{
	return a->subject == b->subject && a->direction == b->direction && a->family == b->family &&
	       a->prefix_length == b->prefix_length && address_equal(&a->address, &b->address);
}

/* The class of one range; 0: there is no such range. */
static __always_inline __u32 policy_probe_cidr(struct policy_query *query, const struct cidr_key *key)
{
	struct cidr_value *value = bpf_map_lookup_elem(&qn_policy_cidrs, key);
	__u32 class;

	if (!value)
		return 0;
	class = query->slot ? *(volatile __u32 *)&value->slot[1] : *(volatile __u32 *)&value->slot[0];
	barrier();
	if (!cidr_key_equal(&value->key, key)) {
		query->computed = 0; /* as in policy_probe_one() */
		return 0;
	}
	return class;
}

/*
 * Number of the highest bit that is set in a word that is not 0. clang 14 has no such instruction for BPF;
 * without branches, since each would double what the verifier has to look at.
 */
static __always_inline __u32 highest_bit(__u32 word)
{
	__u32 bit, half;

	half = (((word >> 16) + 0xffff) >> 16) << 4;
	bit = half;
	word >>= half;
	half = (((word >> 8) + 0xff) >> 8) << 3;
	bit += half;
	word >>= half;
	half = (((word >> 4) + 0xf) >> 4) << 2;
	bit += half;
	word >>= half;
	half = (((word >> 2) + 0x3) >> 2) << 1;
	bit += half;
	word >>= half;
	return bit + (word >> 1);
}

/* Bits that prefixes can have, in words: one of 128 has a word of its own. */
#define PREFIX_WORDS 5

static __always_inline __u32 policy_range_lengths(const struct policy_query *query, __u8 family, int word)
{
	const struct range_lengths *lengths = &query->rules.ranges[query->direction == DIRECTION_INGRESS];

	if (family == 6)
		return lengths->ip6[word];
	return word < 3 ? 0 : lengths->ip4[word - 3];
}

/*
 * The class of the narrowest range in the subject's rules that an address is in; 0: it is in none. It is
 * looked for with each length that the subject's ranges have, the longest first: their number does not enter,
 * and of lengths there are 33 or 129 at most. A function of its own for its stack.
 */
__attribute__((noinline)) __u32 policy_cidr_class(struct policy_query *query,
						  const struct ip_address *address)
{
	struct cidr_key key = {};

	if (!query || !address)
		return 0;
	key.subject = query->subject;
	key.direction = query->direction;
	key.family = address_is_ip4_mapped(address) ? 4 : 6;
	key.address = *address;
	/* Unrolled as in policy_lookup(), and since a word of the key on the stack has to be named by a
	 * constant. */
#pragma clang loop unroll(full)
	for (int word = PREFIX_WORDS - 1; word >= 0; word--) {
		__u32 lengths = policy_range_lengths(query, key.family, word);

		for (int i = 0; i < 32 && lengths; i++) {
			__u32 bits = highest_bit(lengths);
			__u32 class;

			lengths &= ~(1U << bits);
			key.prefix_length = (__u8)(32 * word + bits);
			if (word < 4)
				key.address.word[word] =
				    address->word[word] & bpf_htonl(~(0xffffffffU >> bits));
			class = policy_probe_cidr(query, &key);
			if (class)
				return PEER_CIDR_FLAG | class;
		}
		if (word < 4)
			key.address.word[word] = 0;
	}
	return 0;
}

/* Copies what there is to know of the subject's rules. 0: they are not computed. A function of its own for
 * its stack. */
__attribute__((noinline)) int policy_subject(struct policy_query *query)
{
	struct subject_value *subject;
	struct subject_key key = {};

	if (!query)
		return 0;
	key.identity = query->subject;
	subject = bpf_map_lookup_elem(&qn_policy_subjects, &key);
	if (!subject)
		return 0;
	query->rules = query->slot ? subject->slot[1] : subject->slot[0];
	barrier();
	/* As in policy_probe_one(). */
	return *(volatile __u32 *)&subject->key.identity == key.identity && query->rules.present;
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
