/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Two copies of a program at one hook, for as long as ours moves before those of others: first the one that
 * stands in, at last the one that is there for good. What the first has let go on, the second lets go on as
 * well: judged once more, a packet would be counted and wait for its time twice, and one that was translated
 * is no packet of its flow any more.
 *
 * The first writes a number that nobody can know into the frame, and the same for its CPU, on which no other
 * packet passes that hook between the two; the second believes it once. Where the number of a CPU is not
 * asked for, since somebody between has taken the packet, no other frame has it, and the next one that has
 * any takes it away. Where it stays in the frame, since the second is gone, it is where the stack clears the
 * frame's scratch before it sends it anywhere (inet_skb_parm, inet6_skb_parm), and it counts at the same hook
 * of the same interface alone.
 */
#pragma once

#include "config.h"
#include "packet.h"
#include "secret_random.h"
#include "../maps/maps.h"

/* In place of an answer `action` of this program at `hook`. */
static __always_inline int answer_once(struct __sk_buff *skb, enum stand_in_hook hook, int action)
{
	struct stand_in *last;
	__u32 zero = 0;
	__u64 number;

	if (!config_stands_in || action != ACTION_PASS)
		return action;
	last = bpf_map_lookup_elem(&qn_stand_in, &zero);
	if (!last)
		return action;
	number = secret_random();
	last->number_low = (__u32)number;
	last->number_high = (__u32)(number >> 32);
	last->ifindex = skb->ifindex;
	last->hook = hook;
	skb->cb[2] = last->number_low;
	skb->cb[3] = last->number_high;
	return action;
}

/* Has the copy that stands in let it go on, right before? Asked once. */
static __always_inline bool is_answered(struct __sk_buff *skb, enum stand_in_hook hook)
{
	struct stand_in *last;
	__u32 zero = 0;
	bool is_known;

	if (config_stands_in || !skb->cb[2])
		return false;
	last = bpf_map_lookup_elem(&qn_stand_in, &zero);
	if (!last || last->ifindex != skb->ifindex || last->hook != hook)
		return false;
	is_known = last->number_low == skb->cb[2] && last->number_high == skb->cb[3];
	/* Also of a frame that has another one: whoever makes it up does so once. */
	__builtin_memset(last, 0, sizeof(*last));
	if (!is_known)
		return false;
	skb->cb[2] = 0;
	skb->cb[3] = 0;
	return true;
}
