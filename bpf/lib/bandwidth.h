/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Limits of bandwidth. What an endpoint sends is smoothed by a queue on the container's own side of the veth,
 * which the container may remove; this is the limit behind it that it cannot. What it is sent waits in a
 * queue on the host's side, and what finds no place there is dropped here, so that it has a reason and a
 * counter.
 */
#pragma once

#include <linux/tcp.h>
#include <linux/udp.h>

#include "../maps/maps.h"
#include "config.h"
#include "packet.h"

/* include/linux/skbuff.h: the segments of SCTP are as its sender has made them. */
#define GSO_BY_FRAGS 0xffff

/*
 * Keeps the product below within 64 bits at the lowest rate. No packet of the kernel's TCP has more on the
 * wire, even of 512 KiB (BIG TCP) in the smallest segments that it takes (net.ipv4.tcp_min_snd_mss).
 */
#define FRAME_BYTES_MAX (1U << 21)

/* As the kernel's own TCP has it: smaller segments are forged, to be many and unlike what they cost. */
#define GSO_SIZE_MIN 8

/* At most so many processors (a power of two) take a place in a bucket at once and then do not get it. */
#define BANDWIDTH_RACERS_BITS 6

/* The header that every segment of a packet repeats. */
static __always_inline __u32 segment_header(struct __sk_buff *skb, const struct packet *packet)
{
	__u32 offset = packet->transport_offset;
	__u8 words;

	if (packet->protocol != IPPROTO_TCP)
		return offset + (packet->protocol == IPPROTO_UDP ? sizeof(struct udphdr) : 12);
	if (bpf_skb_load_bytes(skb, offset + 12, &words, sizeof(words)))
		return offset + sizeof(struct tcphdr);
	return offset + (words >> 4) * 4;
}

/*
 * What the packet takes on a wire, as the kernel's queues count it (qdisc_pkt_len_init() in net/core/dev.c),
 * by ourselves where the kernel has not done it. Of a tunnel that a container has made only the kernel knows
 * the headers inside. More than FRAME_BYTES_MAX: nothing that may pass.
 */
static __always_inline __u32 frame_bytes(struct __sk_buff *skb, const struct packet *packet)
{
	__u32 length = skb->len, size = skb->gso_size, header, segments;

	if (!size)
		return length;
	if (size < GSO_SIZE_MIN)
		return FRAME_BYTES_MAX + 1;
	header = segment_header(skb, packet);
	if (length <= header)
		return length;
	/* Not what a container says that they are: it may say 0. */
	segments = size == GSO_BY_FRAGS ? skb->gso_segs : (length - header + size - 1) / size;
	if (segments > 1)
		length += (segments - 1) * header;
	return length > skb->wire_len ? length : skb->wire_len;
}

/*
 * May the packet pass by the limit of the endpoint in that direction? Only of endpoints that have one. Not
 * inlined, for its stack.
 */
static __attribute__((noinline)) enum drop_reason bandwidth_admit(struct __sk_buff *skb,
								  const struct packet *packet,
								  __u32 endpoint_id, enum direction direction)
{
	struct bandwidth_key key = {.endpoint_id = endpoint_id, .direction = (__u8)direction};
	__u64 now, cost, earliest, latest, own, seen;
	struct bandwidth *bucket;
	__u32 bytes;

	if (config_explain)
		return DROP_NONE;
	bucket = bpf_map_lookup_elem(&qn_bandwidth, &key);
	if (!bucket)
		return DROP_MAP_CORRUPT;
	now = bpf_ktime_get_ns() + (1ULL << BANDWIDTH_EPOCH_BITS);
	bytes = frame_bytes(skb, packet);
	if (bytes > FRAME_BYTES_MAX)
		goto refuse;
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
		goto refuse;
	}
	/* Added in one step: however many processors send at once, nobody tries in vain. */
	if (__sync_fetch_and_add(&bucket->due_ns, cost) + cost <= latest)
		return DROP_NONE;
	__sync_fetch_and_sub(&bucket->due_ns, cost);
refuse:
	return direction == DIRECTION_EGRESS ? DROP_BANDWIDTH_EGRESS : DROP_BANDWIDTH_INGRESS;
}
