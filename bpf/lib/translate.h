/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Between the names that a container has for itself and those that the other end of a flow knows it by: one
 * record says both (struct conntrack_entry).
 */
#pragma once

#include "nat_alias.h"
#include "rewrite.h"

/* Both names of an end: what it calls itself, and what the other end calls it. */
static __always_inline void names_of(const struct passage *passage, enum flow_end end,
				     struct rewrite *outward)
{
	const struct conntrack_entry *record = &passage->record;
	enum flow_end named = named_end(record);
	__be16 port;

	flow_end_of(&passage->flow.key, record, end, &outward->from, &outward->from_port);
	if (end == named) {
		outward->to = record->nat_address;
		outward->to_port = record->nat_port;
		return;
	}
	/* CONNTRACK_SELF: the key has the other end's name for it. */
	outward->to = outward->from;
	outward->to_port = outward->from_port;
	flow_end_of(&passage->flow.key, record, named, &outward->from, &port);
}

/*
 * Puts one name in the other's place, in a packet from sender, or in the error that it sends and what that
 * quotes. Not inlined: an end of the same container is two of these.
 */
static __attribute__((noinline)) int translate_end(struct __sk_buff *skb, struct passage *passage,
						   enum flow_end end, bool outward, bool is_error)
{
	struct rewrite names, rewrite;
	enum drop_reason reason;

	names_of(passage, end, &names);
	rewrite.from = outward ? names.from : names.to;
	rewrite.from_port = outward ? names.from_port : names.to_port;
	rewrite.to = outward ? names.to : names.from;
	rewrite.to_port = outward ? names.to_port : names.from_port;
	if (is_error) {
		rewrite.end = outward ? PACKET_DESTINATION : PACKET_SOURCE;
		reason = rewrite_quoted(skb, &passage->packet, &passage->quoted, &rewrite);
		if (reason)
			return reason;
	}
	rewrite.end = outward ? PACKET_SOURCE : PACKET_DESTINATION;
	return rewrite_packet(skb, &passage->packet, &rewrite);
}

/* Gives a packet of a translated flow, or an error about one, the names that its receiver knows. */
static __always_inline enum drop_reason translate(struct __sk_buff *skb, struct passage *passage,
						  enum flow_end sender, bool is_error)
{
	enum flow_end named = named_end(&passage->record);
	int reason = translate_end(skb, passage, named, sender == named, is_error);

	if (!reason && (passage->record.flags & CONNTRACK_SELF))
		reason = translate_end(skb, passage, FLOW_OPENER, sender == FLOW_OPENER, is_error);
	return (enum drop_reason)reason;
}

/*
 * The same of what most packets are: no error, TCP or UDP, and whole, with headers that lie together. It also
 * takes off a hop. False: it is none of those, and as it was.
 */
static __attribute__((noinline)) bool translate_headers(struct __sk_buff *skb, struct passage *passage,
							enum flow_end sender)
{
	const struct conntrack_entry *record = &passage->record;
	const struct packet *packet = &passage->packet;
	enum flow_end named = named_end(record);
	enum packet_end which = sender == named ? PACKET_SOURCE : PACKET_DESTINATION;
	__u32 header = packet->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	struct ip_address to = record->nat_address;
	struct header_change change = {.to = &to, .to_port = record->nat_port};

	if ((record->flags & CONNTRACK_SELF) || packet->fragment != FRAGMENT_NONE ||
	    packet->transport_offset != sizeof(struct ethhdr) + header ||
	    (packet->protocol != IPPROTO_TCP && packet->protocol != IPPROTO_UDP))
		return false;
	if (which == PACKET_DESTINATION)
		flow_end_of(&passage->flow.key, record, named, &to, &change.to_port);
	change.is_partial = checksum_is_left(skb, packet);
	if (!headers_rewrite((void *)(long)skb->data, (void *)(long)skb->data_end, packet, which, &change))
		return false;
	/* Some cards tell the sum of the whole packet. */
	bpf_csum_update(skb, headers_rewrite_sum(packet, &change));
	return true;
}

/* translate(), and a hop less, as a router does. */
static __always_inline enum drop_reason translate_on(struct __sk_buff *skb, struct passage *passage,
						     enum flow_end sender, bool is_error)
{
	enum drop_reason reason;

	if (!is_error && translate_headers(skb, passage, sender))
		return DROP_NONE;
	reason = translate(skb, passage, sender, is_error);
	return reason ? reason : rewrite_hop_limit(skb, &passage->packet);
}
