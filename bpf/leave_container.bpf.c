// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * tcx egress of the container's own side of its veth: lets everything go but frames that the kernel would
 * take past from_container. A container marks frames so by sending them through an ifb device of its own;
 * they come by here when they leave that device. Held by a link of the node's, which no right inside of the
 * container ends.
 *
 * Of a container with a limit it gives frames the times at which they may leave, for the queue behind this
 * hook. That spares its own sockets the losses; the limit itself is from_container's.
 */
#include "lib/account.h"
#include "lib/departure.h"
#include "lib/endpoint.h"
#include "lib/kernel.h"

/* NETDEV_ALIGN of include/linux/netdevice.h */
#define NETDEV_ALIGN 32

/* Asked first: a container without a limit, or without that queue, pays for no more. */
static __always_inline bool goes_by_departure_times(struct net_device *device)
{
	struct Qdisc *queue = device->qdisc;

	return queue && queue->handle == DEPARTURE_QUEUE_HANDLE;
}

/* Of a veth: the private part, which follows the common one, begins with it (drivers/net/veth.c). */
static __always_inline struct net_device *other_end(struct net_device *device)
{
	__u64 size = bpf_core_type_size(struct net_device);
	struct net_device *peer = NULL;

	size = (size + NETDEV_ALIGN - 1) & ~(__u64)(NETDEV_ALIGN - 1);
	bpf_probe_read_kernel(&peer, sizeof(peer), (void *)device + size);
	return peer;
}

/*
 * The endpoint behind whose interface this is. By the other end, which is the host's: here an interface has a
 * number that is the container's to choose, and so are its addresses.
 */
static __always_inline bool sending_endpoint(struct net_device *device, struct party *party)
{
	struct net_device *peer = other_end(device);

	/* Both ends tell so of each other: it is a veth, and laid out as we think. */
	if (!peer || other_end(peer) != device)
		return false;
	return party_of_interface((__u32)BPF_CORE_READ(peer, ifindex), party);
}

/* False: so much waits already that there is no room. */
static __always_inline bool egress_schedule(struct __sk_buff *skb, const struct net_device *device,
					    __u32 endpoint_id)
{
	struct bandwidth_key key = {.endpoint_id = endpoint_id, .direction = BANDWIDTH_DEPARTURE};
	struct bandwidth *bucket = bpf_map_lookup_elem(&qn_bandwidth, &key);
	struct Qdisc *queue = device->qdisc;
	__u64 due_ns;

	if (!bucket || !queue)
		return true;
	if (queue->q.qlen >= bucket->queue_packets)
		return false;
	/* What it is cut into the kernel has counted before this hook, from headers that it has made. */
	due_ns = bucket_take(bucket, skb->len > skb->wire_len ? skb->len : skb->wire_len);
	if (!due_ns)
		return false;
	depart_at(skb, due_ns);
	return true;
}

SEC("tc")
int leave_container(struct __sk_buff *skb)
{
	struct metric_key key = {.reason = DROP_UNJUDGED, .direction = DIRECTION_EGRESS};
	struct sk_buff *frame = bpf_cast_to_kern_ctx(skb);
	struct net_device *device = frame->dev;
	struct party party = {};

	if (BPF_CORE_READ_BITFIELD(frame, tc_skip_classify)) {
		/* Interfaces have their numbers for each network namespace: whose this is cannot be told by
		 * it. */
		count(key, skb->len);
		return ACTION_DROP;
	}
	if (!device || !goes_by_departure_times(device))
		return ACTION_PASS;
	/* Anything else than IP is outside of the limit. */
	if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6))
		return ACTION_PASS;
	if (!sending_endpoint(device, &party) || egress_schedule(skb, device, party.endpoint_id))
		return ACTION_PASS;
	key.endpoint_id = party.endpoint_id;
	key.reason = DROP_BANDWIDTH_EGRESS;
	count(key, skb->len);
	return ACTION_DROP;
}

char _license[] SEC("license") = "Dual MIT/GPL";
