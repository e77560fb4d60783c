/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Reads values that the daemon replaces or removes while programs run: whole, or not at all.
 *
 * The kernel gives a replaced or removed element of a hash map to another key at once, whoever still reads
 * it, and writes an element of an array where it stands. It copies the value as its memcpy() does, and that
 * has no order to build on. On x86-64 it goes front to back where the processor has fast short string copies
 * (FSRM), and else in blocks, back to front if the lowest bytes of the two addresses say so (memcpy_orig in
 * arch/x86/lib/memcpy_64.S). On arm64 it goes from both ends at once, and neither its stores nor the loads of
 * who reads are ordered, for which BPF has no barrier cheaper than an atomic operation. So no word that was
 * looked at before or afterwards, at whichever end, tells of the words between.
 *
 * Therefore such a value ends with a sum over all the others (abi/seal.h), the key that it is written for
 * among them. A reader loads each word once, in any order, and what it has then is judged by itself: the seal
 * says that the words are of one value, and the key in it whose. Of mixtures one in 2^32 has the sum of a
 * whole value. That is against accidents: only the daemon, and for qn_node_peers a program, writes what is
 * sealed.
 *
 * Records and aliases, which programs change, are told by their nonce instead (lib/conntrack.h).
 */
#pragma once

#include "../abi/seal.h"
#include "packet.h"

#define SEAL_FIRST ((__u64)SEAL_FACTOR * SEAL_FACTOR * SEAL_FACTOR)
_Static_assert(SEAL_PLACE == 3, "the first word's power");

/* What a word adds to the sum; the last has the seal in its upper half, which is taken for zero. */
static __always_inline __u64 seal_term(__u64 word, bool is_last, __u64 factor)
{
	return (is_last ? (__u32)word : word ^ word >> 32) * factor;
}

/*
 * Reads a sealed value, and copies the first bytes of it. False: its words are not of one value. Both are
 * aligned to 8 bytes; lengths are constants and multiples of it.
 */
static __always_inline bool sealed_read(void *to, __u32 copied, const void *from, __u32 bytes)
{
	const volatile word64 *source = from;
	__u64 word = 0, sum = 0, factor = SEAL_FIRST;
	word64 *target = to;

#pragma clang loop unroll(full)
	for (__u32 i = 0; i < bytes / 8; i++) {
		word = source[i];
		if (i < copied / 8)
			target[i] = word;
		sum += seal_term(word, i + 1 == bytes / 8, factor);
		/* One word after the other: else the compiler keeps them all on the stack. */
		asm volatile("" : "+r"(sum));
		factor *= SEAL_FACTOR;
	}
	return sum >> 32 == word >> 32;
}

/* The same of the whole value. */
static __always_inline bool sealed_copy(void *to, const void *from, __u32 bytes)
{
	return sealed_read(to, bytes, from, bytes);
}

/* The seal of a value that is in nobody else's sight yet; what is in the seal's place does not matter. */
static __always_inline __u32 seal_of(const void *value, __u32 bytes)
{
	const word64 *source = value;
	__u64 sum = 0, factor = SEAL_FIRST;

#pragma clang loop unroll(full)
	for (__u32 i = 0; i < bytes / 8; i++) {
		sum += seal_term(source[i], i + 1 == bytes / 8, factor);
		factor *= SEAL_FACTOR;
	}
	return (__u32)(sum >> 32);
}
