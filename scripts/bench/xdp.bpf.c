/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * uplink_xdp beside a driver that hands every frame to the stack, and a container that has no more use for
 * what it gets. In a test run frames come back as they were left, so each is first made again what it was.
 */
#include "../../bpf/uplink_xdp.bpf.c"

#define HEADERS_BYTES 62 /* Ethernet, IPv6 and UDP */

/* The frame's first bytes; set before the load. */
const volatile __u8 headers[HEADERS_BYTES] __attribute__((aligned(8))) = {};

/*
 * Written as they are read: a card's writes are in the cache when the program begins, but these are under way
 * still, and what is read across two of them waits.
 */
static __always_inline bool restore(struct xdp_md *xdp)
{
	void *data = (void *)(long)xdp->data, *end = (void *)(long)xdp->data_end;

	if (data + HEADERS_BYTES > end)
		return false;
	for (__u32 at = 0; at < ETH_HLEN; at += sizeof(__u16))
		*(__u16 *)(data + at) = *(const volatile __u16 *)(headers + at);
	for (__u32 at = ETH_HLEN; at < HEADERS_BYTES; at += sizeof(__u32))
		*(__u32 *)(data + at) = *(const volatile __u32 *)(headers + at);
	return true;
}

SEC("xdp.frags")
int bench_forward(struct xdp_md *xdp)
{
	struct passage *passage = passage_of_length((__u32)bpf_xdp_get_buff_len(xdp));
	int reason;

	if (!passage || !restore(xdp))
		return XDP_ABORTED;
	reason = handle_frame(xdp, passage);
	if (reason == NOT_OURS)
		return XDP_PASS;
	account_at(xdp->ingress_ifindex, passage, DIRECTION_INGRESS, (enum drop_reason)reason);
	return reason ? XDP_DROP : passage->action;
}

SEC("xdp.frags")
int bench_pass(struct xdp_md *xdp)
{
	return restore(xdp) ? XDP_PASS : XDP_ABORTED;
}

/* Two ends of the way: the interface in the container, and the stack behind it. */
SEC("xdp.frags")
int bench_drop(struct xdp_md *xdp)
{
	(void)xdp;
	return XDP_DROP;
}

SEC("tc")
int bench_drop_packet(struct __sk_buff *skb)
{
	(void)skb;
	return TC_ACT_SHOT;
}
