/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Finds the narrowest range in the rules of one side that an address is in. */
#pragma once

#include "policy_query.h"

static __always_inline bool cidr_key_equal(const struct cidr_key *a, const struct cidr_key *b)
{
	return a->subject == b->subject && a->direction == b->direction && a->family == b->family &&
	       a->prefix_length == b->prefix_length && address_equal(&a->address, &b->address);
}

/* The class of one range; 0: there is no such range. */
static __always_inline __u32 policy_probe_cidr(struct policy_query *query, const struct cidr_key *key)
{
	struct cidr_value *place = bpf_map_lookup_elem(&qn_policy_cidrs, key);
	struct cidr_value value __attribute__((aligned(8)));

	if (!place)
		return 0;
	if (!sealed_copy(&value, place, sizeof(value)) || !cidr_key_equal(&value.key, key)) {
		query->computed = 0; /* as in policy_probe_one() */
		return 0;
	}
	return query->slot ? value.slot[1] : value.slot[0];
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
