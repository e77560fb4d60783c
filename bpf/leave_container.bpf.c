// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * tcx egress of the container's own side of its veth: lets everything go but frames that the kernel would
 * take past from_container. A container marks frames so by sending them through an ifb device of its own;
 * they come by here when they leave that device. Held by a link of the node's, which no right inside of the
 * container ends.
 */
#include <bpf/bpf_core_read.h>

#include "lib/account.h"

/* The kernel's own: as much of it as is read. */
struct sk_buff {
	__u8 tc_skip_classify : 1;
} __attribute__((preserve_access_index));

extern void *bpf_cast_to_kern_ctx(void *context) __ksym;

SEC("tc")
int leave_container(struct __sk_buff *skb)
{
	struct metric_key key = {.reason = DROP_UNJUDGED, .direction = DIRECTION_EGRESS};
	struct sk_buff *frame = bpf_cast_to_kern_ctx(skb);

	if (!BPF_CORE_READ_BITFIELD(frame, tc_skip_classify))
		return ACTION_PASS;
	/* Interfaces have their numbers for each network namespace: whose this is cannot be told by it. */
	count(key, skb->len);
	return ACTION_DROP;
}

char _license[] SEC("license") = "Dual MIT/GPL";
