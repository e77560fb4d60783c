/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Earliest departure times: when a frame may leave by the limit of an endpoint, written on the frame, for a
 * queue behind the program that lets it go then (sch_fq). Any other queue pays no regard to it. The time
 * stays on the frame across the veth (skb_clear_tstamp() in include/linux/skbuff.h): from_container takes it
 * off again.
 */
#pragma once

#include "bucket.h"

/* Takes the place of whatever the sender has written there (SO_TXTIME), which is not to hold up a queue. */
static __always_inline void depart_at(struct __sk_buff *skb, __u64 due_ns)
{
	__u64 now = bpf_ktime_get_ns(), at = due_ns - (1ULL << BANDWIDTH_EPOCH_BITS);

	/* What the bucket had earned may lie before the clock began. */
	if ((__s64)at < (__s64)now)
		at = now;
	bpf_skb_set_tstamp(skb, at, BPF_SKB_TSTAMP_DELIVERY_MONO);
}
