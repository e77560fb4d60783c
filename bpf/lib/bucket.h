/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Taking a place in a token bucket: struct bandwidth. */
#pragma once

#include <bpf/bpf_helpers.h>

#include "../abi/bandwidth.h"

/*
 * Keeps the product below within 64 bits at the lowest rate. No packet of the kernel's TCP has more on the
 * wire, even of 512 KiB (BIG TCP) in the smallest segments that it takes (net.ipv4.tcp_min_snd_mss).
 */
#define FRAME_BYTES_MAX (1U << 21)

/* At most so many processors (a power of two) take a place in a bucket at once and then do not get it. */
#define BANDWIDTH_RACERS_BITS 6

/*
 * Takes a place in a bucket: the time when what was let pass will have passed, the packet of so many bytes
 * included, as due_ns. 0: there is no place.
 */
static __always_inline __u64 bucket_take(struct bandwidth *bucket, __u32 bytes)
{
	__u64 now, cost, earliest, latest, own, seen, due;

	now = bpf_ktime_get_ns() + (1ULL << BANDWIDTH_EPOCH_BITS);
	if (bytes > FRAME_BYTES_MAX)
		return 0;
	cost = bytes * bucket->byte_cost >> BANDWIDTH_COST_BITS;
	earliest = now - bucket->burst_ns;
	latest = now + bucket->queue_ns;
	/* What is farther ahead has come from the bucket that this element was before the kernel recycled it.
	 */
	own = latest + ((bucket->burst_ns + bucket->queue_ns) << BANDWIDTH_RACERS_BITS);
	seen = *(volatile __u64 *)&bucket->due_ns;
	if (seen < earliest || seen > own) {
		/* Who comes second finds that it is done. */
		__sync_val_compare_and_swap(&bucket->due_ns, seen, earliest);
	} else if (seen + cost > latest) {
		return 0;
	}
	/* Added in one step: however many processors send at once, nobody tries in vain. */
	due = __sync_fetch_and_add(&bucket->due_ns, cost) + cost;
	if (due <= latest)
		return due;
	__sync_fetch_and_sub(&bucket->due_ns, cost);
	return 0;
}
