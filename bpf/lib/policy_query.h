/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Looks up the rules of one side that could speak of a packet. */
#pragma once

#include "../maps/maps.h"
#include "packet.h"
#include "sealed.h"

#define PEER_CLASSES 4

/* What is asked of the rules of one side, and the answer. */
struct policy_query {
	struct subject_value generations __attribute__((aligned(8))); /* of the subject's rules */
	struct subject_slot rules; /* that generation of them which counts */
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
	struct policy_value value __attribute__((aligned(8))); /* that was found last */
	struct policy_key key;				       /* being looked up */
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
	struct policy_value *place = bpf_map_lookup_elem(&qn_policy, key);
	struct policy_value *value = &query->value;
	struct policy_decision found;

	if (!place)
		return;
	if (!sealed_copy(value, place, sizeof(*value)) || !policy_key_equal(&value->key, key)) {
		/* The element was given to another rule while we read it. This packet is not decided by
		 * either. */
		query->computed = 0;
		return;
	}
	found = query->slot ? value->slot[1] : value->slot[0];
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
	struct named_port_value names __attribute__((aligned(8)));

	if (!query || !query->destination)
		return 0;
	where.endpoint_id = query->destination;
	where.port = query->port;
	where.protocol = query->protocol;
	found = bpf_map_lookup_elem(&qn_named_ports, &where);
	if (!found)
		return 0;
	if (!sealed_copy(&names, found, sizeof(names)) || names.key.endpoint_id != where.endpoint_id ||
	    names.key.port != where.port || names.key.protocol != where.protocol) {
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
