/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What a container is told of a packet that it sent, by the gateway of its network (icmp_message.h). */
#pragma once

#include "deliver.h"
#include "icmp_message.h"

/* The node's address in the network of an endpoint's address. */
static __always_inline bool gateway_of(const struct ip_address *address, struct ip_address *gateway)
{
	struct prefix_key key = {.prefix_length = 127};
	struct prefix_entry *in;

	/* 127 bits: the network's range, not an address of the node. */
	key.address = *address;
	in = bpf_map_lookup_elem(&qn_prefixes, &key);
	if (!in || in->kind != PREFIX_NETWORK || address_is_zero(&in->gateway))
		return false;
	*gateway = in->gateway;
	return true;
}

/*
 * Answers a container from the gateway of its network; mtu 0: it is not about size. The reason why the packet
 * is dropped is the caller's; if nothing is answered, that is all that becomes of it. Not inlined, for its
 * stack.
 */
static __attribute__((noinline)) int icmp_answer(struct __sk_buff *skb, struct passage *passage, __u8 type,
						 __u8 code, __u16 mtu)
{
	struct icmp_answer answer = {.type = type, .code = code, .mtu = mtu};

	if (!gateway_of(&passage->packet.source, &answer.ends.source))
		return 0;
	answer_ends_of(&passage->self, &answer.ends);
	if (!icmp_write(skb, passage, &answer))
		return 0;
	deliver_back(skb, passage);
	passage->answered = true;
	return 1;
}
