/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Numbers that nobody in a container can foretell. Those of bpf_get_prandom_u32() are none by themselves:
 * whoever may open a socket reads the same state of a CPU by a filter (SKF_AD_RANDOM), and some of them tell
 * all others.
 */
#pragma once

#include "config.h"
#include "packet.h"

static __always_inline __u64 rotate_left(__u64 word, __u32 bits)
{
	return word << bits | word >> (64 - bits);
}

/* Aumasson, Bernstein: SipHash: a fast short-input PRF (2012), §2; v is its four words of state. */
static __always_inline void sip_round(__u64 v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate_left(v[1], 13) ^ v[0];
	v[3] = rotate_left(v[3], 16) ^ v[2];
	v[0] = rotate_left(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate_left(v[1], 17) ^ v[2];
	v[3] = rotate_left(v[3], 21) ^ v[0];
	v[2] = rotate_left(v[2], 32);
}

/* SipHash-1-3 of eight bytes. */
static __always_inline __u64 sip_hash(__u64 key0, __u64 key1, __u64 message)
{
	__u64 v[4] = {key0 ^ 0x736f6d6570736575ULL, key1 ^ 0x646f72616e646f6dULL,
		      key0 ^ 0x6c7967656e657261ULL, key1 ^ 0x7465646279746573ULL};
	const __u64 last = 8ULL << 56; /* the message's length, and nothing more of it */

	v[3] ^= message;
	sip_round(v);
	v[0] ^= message;
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Not inlined: it is long. */
static __attribute__((noinline, unused)) __u64 secret_random(void)
{
	return sip_hash(random_secret[0], random_secret[1],
			(__u64)bpf_get_prandom_u32() << 32 ^ bpf_ktime_get_ns());
}
