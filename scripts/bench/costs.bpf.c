/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Parts of what from_container does with each packet of an established flow, each by itself and so many times
 * in one run, and the same number of turns without any: what a part costs is the difference, divided.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "../../bpf/lib/account.h"

#define TURNS 64

/* Of a flow that there is; set before the load. */
const volatile struct conntrack_key flow = {};
const volatile __u32 endpoint_id = 0;
__u64 found;

SEC("tc")
int bench_nothing(struct __sk_buff *skb)
{
	for (int i = 0; i < TURNS; i++)
		*(volatile __u64 *)&found += skb->len;
	return TC_ACT_OK;
}

SEC("tc")
int bench_conntrack(struct __sk_buff *skb)
{
	for (int i = 0; i < TURNS; i++) {
		struct conntrack_key key = flow;
		struct conntrack_entry *entry;

		entry = bpf_map_lookup_elem(&qn_conntrack, &key);
		if (!entry)
			return TC_ACT_SHOT;
		*(volatile __u64 *)&found += entry->flags + skb->len;
	}
	return TC_ACT_OK;
}

SEC("tc")
int bench_counter(struct __sk_buff *skb)
{
	for (int i = 0; i < TURNS; i++) {
		struct metric_key key = {.endpoint_id = endpoint_id};

		count(key, skb->len);
		*(volatile __u64 *)&found += skb->len;
	}
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual MIT/GPL";
