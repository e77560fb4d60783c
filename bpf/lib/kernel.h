/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The kernel's own structures, as much of them as is read; offsets come from its BTF when a program is
 * loaded. */
#pragma once

#include <stdbool.h>
#include <linux/types.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "../abi/queue.h"

struct qdisc_skb_head {
	__u32 qlen;
} __attribute__((preserve_access_index));

struct Qdisc {
	__u32 handle;
	struct qdisc_skb_head q;
} __attribute__((preserve_access_index));

struct net_device {
	int ifindex;
	struct Qdisc *qdisc;
} __attribute__((preserve_access_index));

struct sk_buff {
	struct net_device *dev;
	unsigned char *head;
	unsigned char *data;
	__u8 ip_summed : 2;
	__u8 tc_skip_classify : 1;
	__u16 csum_start; /* from head */
	__u16 csum_offset;
} __attribute__((preserve_access_index));

extern void *bpf_cast_to_kern_ctx(void *context) __ksym __weak;

/* Helpers of the kernel, as much as tells how old it is. */
enum bpf_func_id___kernel {
	BPF_FUNC_cgrp_storage_get___kernel, /* since 6.2, as is bpf_cast_to_kern_ctx() */
};

/*
 * The kernel's own of a packet, whose fields are read as they stand; NULL before Linux 6.2, where they are
 * copied by a helper (BPF_CORE_READ()).
 */
static __always_inline struct sk_buff *kernel_packet(struct __sk_buff *skb)
{
	return bpf_core_enum_value_exists(enum bpf_func_id___kernel, BPF_FUNC_cgrp_storage_get___kernel)
		   ? bpf_cast_to_kern_ctx(skb)
		   : NULL;
}

/* Is it a queue of ours, that a limit of bandwidth has made? Of no other do we know how many may wait. */
static __always_inline bool queue_is_ours(__u32 handle)
{
	return handle == DEPARTURE_QUEUE_HANDLE || handle == TOKEN_BUCKET_HANDLE;
}
