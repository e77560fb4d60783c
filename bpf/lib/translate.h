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
