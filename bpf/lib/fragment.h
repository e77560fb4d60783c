/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Fragments after the first carry no ports: they follow the first one, which was judged. Drops what comes
 * before its first fragment (its sender will repeat it) and what would overwrite the header that was judged
 * (RFC 1858, RFC 3128, RFC 5722).
 */
#pragma once

#include "../maps/maps.h"
#include "account.h"
#include "config.h"
#include "packet.h"
#include "parse.h"

/* Nothing yet, to make a table of; bytes, since the kernel lets no lock lie in constants. */
static const volatile __u8 fragment_no_table[sizeof(struct fragment_table)];

/* First slot of the set that the packet's datagram has its place in. */
static __always_inline __u32 fragment_set(const struct packet *packet)
{
	__u32 mixed = packet->fragment_id ^ packet->fragment_protocol;

	mixed = mixed * 0x9e3779b1 ^ packet->source.word[3];
	mixed = mixed * 0x9e3779b1 ^ packet->destination.word[3];
	mixed *= 0x9e3779b1; /* 2^32 by the golden ratio: the highest bits depend on all of the others */
	return (mixed >> (32 - FRAGMENT_SET_BITS)) * FRAGMENT_WAYS;
}

/*
 * Whose table those have that come in by the uplink, of a flow that somebody outside has opened or of one of
 * a container's. Of IPv6 a site counts as one source: it has more addresses than it needs (RFC 6177).
 */
static __always_inline __u32 uplink_fragments(const struct packet *packet, bool opened_outside)
{
	const struct ip_address *source = &packet->source;
	__u32 mixed = packet->family == 4 ? source->word[3] : source->word[0] ^ source->word[1];

	mixed *= 0x9e3779b1; /* as in fragment_set() */
	return UPLINK_FRAGMENTS_FIRST + (opened_outside ? UPLINK_FRAGMENTS_PARTS : 0) +
	       (mixed >> (32 - UPLINK_FRAGMENTS_BITS));
}

static __always_inline bool fragment_is_of(const struct fragment_slot *slot, const struct packet *packet)
{
	return slot->id == packet->fragment_id && slot->fragment_protocol == packet->fragment_protocol &&
	       address_equal(&slot->source, &packet->source) &&
	       address_equal(&slot->destination, &packet->destination);
}

/* Sees to it that the endpoint has a table, before anything is done with its first fragment. */
static __always_inline enum drop_reason fragment_prepare(__u32 endpoint_id)
{
	if (config_explain || bpf_map_lookup_elem(&qn_fragments, &endpoint_id))
		return DROP_NONE;
	bpf_map_update_elem(&qn_fragments, &endpoint_id, (const void *)fragment_no_table, BPF_NOEXIST);
	return bpf_map_lookup_elem(&qn_fragments, &endpoint_id) ? DROP_NONE : DROP_FRAGMENT_TABLE_FULL;
}

/* Remembers an allowed first fragment, in the place of its like or of the oldest. */
static __always_inline enum drop_reason fragment_open(const struct packet *packet, __u32 endpoint_id,
						      __u64 now)
{
	struct fragment_table *table = bpf_map_lookup_elem(&qn_fragments, &endpoint_id);
	__u32 first = fragment_set(packet);
	struct fragment_slot *chosen, *slot;

	if (config_explain)
		return DROP_NONE;
	if (!table)
		return DROP_FRAGMENT_TABLE_FULL;
	bpf_spin_lock(&table->lock);
	table->endpoint_id = endpoint_id;
	chosen = &table->slot[first];
#pragma clang loop unroll(full)
	for (int way = 0; way < FRAGMENT_WAYS; way++) {
		slot = &table->slot[first + way];
		if (fragment_is_of(slot, packet)) {
			chosen = slot;
			break;
		}
		if (slot->expires_ns < chosen->expires_ns)
			chosen = slot;
	}
	chosen->expires_ns = now + config_fragment_s * NSEC_PER_SEC;
	chosen->source = packet->source;
	chosen->destination = packet->destination;
	chosen->id = packet->fragment_id;
	chosen->source_port = packet->source_port;
	chosen->destination_port = packet->destination_port;
	chosen->header_length = (__u16)(packet->transport_offset - packet->fragment_start +
					transport_header_length(packet->protocol));
	chosen->protocol = packet->protocol;
	chosen->fragment_protocol = packet->fragment_protocol;
	bpf_spin_unlock(&table->lock);
	return DROP_NONE;
}

/* Gives a later fragment the protocol and ports of its first one. */
static __always_inline enum drop_reason fragment_follow(struct packet *packet, __u32 endpoint_id, __u64 now)
{
	struct fragment_table *table = bpf_map_lookup_elem(&qn_fragments, &endpoint_id);
	enum drop_reason reason = DROP_FRAGMENT_WITHOUT_FIRST;
	__u32 first = fragment_set(packet);
	struct fragment_slot *slot;

	if (!table)
		return reason;
	bpf_spin_lock(&table->lock);
#pragma clang loop unroll(full)
	for (int way = 0; way < FRAGMENT_WAYS; way++) {
		slot = &table->slot[first + way];
		if (table->endpoint_id != endpoint_id || slot->expires_ns <= now ||
		    !fragment_is_of(slot, packet))
			continue;
		if (packet->fragment_offset < slot->header_length) {
			reason = DROP_FRAGMENT_OVERLAP;
			break;
		}
		packet->protocol = slot->protocol;
		packet->source_port = slot->source_port;
		packet->destination_port = slot->destination_port;
		reason = DROP_NONE;
		break;
	}
	bpf_spin_unlock(&table->lock);
	return reason;
}
