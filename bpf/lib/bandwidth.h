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

/* Keeps the product below within 64 bits at the lowest rate; no packet of the kernel's has more on the wire.
 */
#define FRAME_BYTES_MAX (1U << 23)

/* As the kernel's own TCP has it: smaller segments are forged, to be many and unlike what they cost. */
#define GSO_SIZE_MIN 8

/* Who else may take from the same bucket at once, before one of them is refused for it. */
#define BANDWIDTH_TRIES 8

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
 * What the packet takes on a wire, as the kernel's queues count it (qdisc_pkt_len_init() in net/core/dev.c).
 * More than FRAME_BYTES_MAX: nothing that may pass.
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
	return length;
}

/* May the packet pass by the limit of the endpoint in that direction? Only of endpoints that have one. */
static __always_inline enum drop_reason bandwidth_admit(struct __sk_buff *skb, const struct packet *packet,
							__u32 endpoint_id, enum direction direction)
{
	struct bandwidth_key key = {.endpoint_id = endpoint_id, .direction = (__u8)direction};
	__u64 now, cost, start, earliest, latest, seen;
	struct bandwidth *bucket;
	__u32 bytes;

	if (config_explain)
		return DROP_NONE;
	bucket = bpf_map_lookup_elem(&qn_bandwidth, &key);
	if (!bucket)
		return DROP_MAP_CORRUPT;
	now = bpf_ktime_get_ns();
	bytes = frame_bytes(skb, packet);
	if (bytes > FRAME_BYTES_MAX)
		goto refuse;
	cost = bytes * bucket->byte_cost >> BANDWIDTH_COST_BITS;
	earliest = now > bucket->burst_ns ? now - bucket->burst_ns : 0;
	latest = now + bucket->queue_ns;
	for (int i = 0; i < BANDWIDTH_TRIES; i++) {
		seen = *(volatile __u64 *)&bucket->due_ns;
		start = seen < earliest ? earliest : seen;
		if (start + cost > latest)
			break;
		if (__sync_val_compare_and_swap(&bucket->due_ns, seen, start + cost) == seen)
			return DROP_NONE;
	}
refuse:
	return direction == DIRECTION_EGRESS ? DROP_BANDWIDTH_EGRESS : DROP_BANDWIDTH_INGRESS;
}
