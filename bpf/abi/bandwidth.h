/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* How fast an endpoint may send and receive. */
#pragma once

#include "types.h"

/* Key of qn_bandwidth. */
struct bandwidth_key {
	__u32 endpoint_id;
	__u8 direction; /* enum direction, or BANDWIDTH_DEPARTURE */
	__u8 pad[3];
};
_Static_assert(sizeof(struct bandwidth_key) == 8, "layout of bandwidth_key");

/*
 * Instead of a direction: the bucket by which leave_container gives what the container sends its departure
 * times. There is none where the queue on the container's side does not let frames go by them.
 */
enum bandwidth_departure {
	BANDWIDTH_DEPARTURE = 2,
};

enum bandwidth_scale {
	BANDWIDTH_COST_BITS = 20,  /* of a nanosecond, behind the point */
	BANDWIDTH_EPOCH_BITS = 62, /* when CLOCK_MONOTONIC began: any burst is earned since 0 */
};

/*
 * Value of qn_bandwidth: a token bucket, kept as the time when all that was let pass will have passed at the
 * rate (the virtual scheduling of ITU-T I.371). The kernel may recycle a removed element while a program
 * still uses it: one packet is then put on another bucket's account, and what that cannot be begins anew.
 */
struct bandwidth {
	__u64 byte_cost; /* ns that a byte takes at the rate, << BANDWIDTH_COST_BITS */
	__u64 burst_ns;	 /* what may pass at once after a pause, as the time that it takes at the rate */
	__u64 queue_ns;	 /* so far ahead of its time a packet may come: it waits in the interface's queue */
	__u64 due_ns;	 /* CLOCK_MONOTONIC since 1 << BANDWIDTH_EPOCH_BITS; written by the programs */
	__u32 queue_packets; /* no more packets than these wait there, however small they are */
	__u8 pad[4];
};
_Static_assert(sizeof(struct bandwidth) == 40, "layout of bandwidth");
