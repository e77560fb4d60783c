/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Limits of bandwidth. What an endpoint sends is smoothed by a queue on the container's own side of the veth,
 * which the container may remove; this is the limit behind it that it cannot. What it is sent waits in a
 * queue on the host's side, and what finds no place there is dropped here, so that it has a reason and a
 * counter. When what waits may go, lib/queue.h tells queues that let frames go by their time.
 */
#pragma once

#include <linux/tcp.h>
#include <linux/udp.h>

#include "../maps/maps.h"
#include "bucket.h"
#include "config.h"
#include "packet.h"

/* include/linux/skbuff.h: the segments of SCTP are as its sender has made them. */
#define GSO_BY_FRAGS 0xffff

/* As the kernel's own TCP has it: smaller segments are forged, to be many and unlike what they cost. */
#define GSO_SIZE_MIN 8

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
	struct bandwidth *bucket;

	if (config_explain)
		return DROP_NONE;
	bucket = bpf_map_lookup_elem(&qn_bandwidth, &key);
	if (!bucket)
		return DROP_MAP_CORRUPT;
	if (bucket_take(bucket, frame_bytes(skb, packet)))
		return DROP_NONE;
	return direction == DIRECTION_EGRESS ? DROP_BANDWIDTH_EGRESS : DROP_BANDWIDTH_INGRESS;
}
