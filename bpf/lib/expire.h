/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Tells somebody outside that its packet came no farther than to this node, for its hop limit, so that traces
 * show the node before the container. At most so often (RFC 1812 §4.3.2.8, RFC 4443 §2.4): the answer goes to
 * whom the packet says to be from, and is larger than a short one.
 */
#pragma once

#include "account.h"
#include "icmp_message.h"

/* Of each CPU. */
#define EXPIRED_PER_SECOND 1000
#define EXPIRED_BURST	   50
#define EXPIRED_NS	   (NSEC_PER_SEC / EXPIRED_PER_SECOND)

/* When the answers that were given would have been, at that rate (as inbound_admit()). */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} expired_until SEC(".maps");

static __always_inline bool expire_permitted(__u64 now)
{
	__u32 zero = 0;
	__u64 *until = bpf_map_lookup_elem(&expired_until, &zero);

	if (!until)
		return false;
	if (*until < now)
		*until = now;
	if (*until + EXPIRED_NS > now + EXPIRED_BURST * EXPIRED_NS)
		return false;
	*until += EXPIRED_NS;
	return true;
}

/* Answers back by the interface that the packet came by, from the address that it was sent to. */
static __attribute__((noinline)) int expire(struct __sk_buff *skb, struct passage *passage,
					    const struct ip_address *asked)
{
	struct icmp_answer answer = {
	    .type = passage->packet.family == 4 ? ICMP4_TIME_EXCEEDED : ICMP6_TIME_EXCEEDED,
	    .ends.source = *asked,
	};

	if (!expire_permitted(passage->now) || bpf_skb_load_bytes(skb, 0, answer.ends.from_mac, ETH_ALEN) ||
	    bpf_skb_load_bytes(skb, ETH_ALEN, answer.ends.to_mac, ETH_ALEN) ||
	    !icmp_write(skb, passage, &answer))
		return DROP_HOP_LIMIT;
	passage->action = (int)bpf_redirect(skb->ifindex, 0);
	passage->answered = true;
	return DROP_HOP_LIMIT;
}
