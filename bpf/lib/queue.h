/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The way into the queue of an endpoint with a limit. What waits there stays on the account of the socket
 * that sent it. One connection is to be slowed by that; a socket that serves many must not stand still for
 * one that is slow, so what it sends waits as a copy, which is on nobody's account (__skb_clone() in
 * net/core/skbuff.c).
 */
#pragma once

#include "bandwidth.h"
#include "config.h"
#include "departure.h"
#include "kernel.h"
#include "packet.h"

/* include/linux/net.h */
#define SOCKET_STREAM 1

/* The interface to which this CPU sends a copy right now, through this very program; else 0. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} copied_to SEC(".maps");

/* Is the packet the copy of one that may pass? Only of endpoints with a limit, and asked once. */
static __always_inline bool is_copy_of_admitted(struct __sk_buff *skb)
{
	__u32 zero = 0, *ifindex = bpf_map_lookup_elem(&copied_to, &zero);

	if (!ifindex || *ifindex != skb->ifindex)
		return false;
	*ifindex = 0;
	return true;
}

/* Type 0: that of a tun device, which takes as much as it gets. */
static __always_inline bool sender_serves_many(struct __sk_buff *skb)
{
	struct bpf_sock *socket = skb->sk;

	if (!socket)
		return false;
	socket = bpf_sk_fullsock(socket);
	return socket && socket->type && socket->type != SOCKET_STREAM;
}

/* How many places a packet takes there: a token bucket cuts what is larger than it into its segments. */
static __always_inline __u32 places_of(struct __sk_buff *skb, __u32 handle)
{
	__u32 size = skb->gso_size;

	if (handle != TOKEN_BUCKET_HANDLE || !size)
		return 1;
	/* Not what a container says that they are, and one more for the headers. */
	return size == GSO_BY_FRAGS ? skb->gso_segs : skb->len / size + 1;
}

/*
 * Do as many packets wait behind this hook that there is no place for another? The queue would drop what is
 * more, which nobody would be told of, and the packet would have had its place in the bucket for nothing. The
 * queue itself has room for some more, of processors that find the last place at once.
 */
static __always_inline bool queue_is_full(struct __sk_buff *skb, const struct bandwidth *bucket)
{
	struct sk_buff *kernel = (struct sk_buff *)skb;
	struct Qdisc *queue = BPF_CORE_READ(kernel, dev, qdisc);
	__u32 handle;

	if (!queue)
		return false;
	handle = BPF_CORE_READ(queue, handle);
	return queue_is_ours(handle) &&
	       BPF_CORE_READ(queue, q.qlen) + places_of(skb, handle) > bucket->queue_packets;
}

/*
 * Gives a packet for an endpoint with a limit its time; why not, if the queue has no room. Not inlined, for
 * its stack.
 */
static __attribute__((noinline)) enum drop_reason
ingress_schedule(struct __sk_buff *skb, const struct packet *packet, __u32 endpoint_id)
{
	struct bandwidth_key key = {.endpoint_id = endpoint_id, .direction = DIRECTION_INGRESS};
	struct bandwidth *bucket;
	__u64 due_ns;

	if (config_explain)
		return DROP_NONE;
	bucket = bpf_map_lookup_elem(&qn_bandwidth, &key);
	if (!bucket)
		return DROP_MAP_CORRUPT;
	due_ns = queue_is_full(skb, bucket) ? 0 : bucket_take(bucket, frame_bytes(skb, packet));
	if (!due_ns)
		return DROP_BANDWIDTH_INGRESS;
	depart_at(skb, due_ns);
	return DROP_NONE;
}

/* Sends a packet on that may pass; the verdict. Nothing of the passage may be used afterwards. */
static __always_inline int enqueue(struct __sk_buff *skb)
{
	__u32 zero = 0, *ifindex;
	long error;

	if (config_explain || !sender_serves_many(skb))
		return ACTION_PASS;
	ifindex = bpf_map_lookup_elem(&copied_to, &zero);
	if (!ifindex)
		return ACTION_PASS;
	*ifindex = skb->ifindex;
	error = bpf_clone_redirect(skb, skb->ifindex, 0);
	*ifindex = 0;
	/* No memory for a copy. */
	if (error < 0)
		return ACTION_PASS;
	/* To nowhere: a drop would tell a socket of the node that its packet was lost. */
	return (int)bpf_redirect(0, 0);
}
