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

static __always_inline void fragment_key_of(const struct packet *packet, __u32 ifindex,
					    struct fragment_key *key)
{
	*key = (struct fragment_key){};
	key->source = packet->source;
	key->destination = packet->destination;
	key->id = packet->fragment_id;
	key->ifindex = ifindex;
	key->protocol = packet->fragment_protocol;
}

static __always_inline __u32 transport_header_length(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return sizeof(struct tcphdr);
	case IPPROTO_SCTP:
		return SCTP_HEADER_LENGTH;
	default:
		return 8;
	}
}

/* Remembers an allowed first fragment. */
static __always_inline enum drop_reason fragment_open(const struct packet *packet, __u32 ifindex, __u64 now)
{
	struct fragment_entry entry = {};
	struct fragment_key key;

	if (config_explain)
		return DROP_NONE;
	fragment_key_of(packet, ifindex, &key);
	entry.expires_ns = now + config_fragment_s * NSEC_PER_SEC;
	entry.source_port = packet->source_port;
	entry.destination_port = packet->destination_port;
	entry.header_length = (__u16)(packet->transport_offset - packet->fragment_start +
				      transport_header_length(packet->protocol));
	entry.protocol = packet->protocol;
	return bpf_map_update_elem(&qn_fragments, &key, &entry, BPF_ANY) ? DROP_FRAGMENT_TABLE_FULL
									 : DROP_NONE;
}

/* Gives a later fragment the protocol and ports of its first one. */
static __always_inline enum drop_reason fragment_follow(struct packet *packet, __u32 ifindex, __u64 now)
{
	struct fragment_entry *entry;
	struct fragment_key key;

	fragment_key_of(packet, ifindex, &key);
	entry = bpf_map_lookup_elem(&qn_fragments, &key);
	if (!entry || entry->expires_ns <= now)
		return DROP_FRAGMENT_WITHOUT_FIRST;
	if (packet->fragment_offset < entry->header_length)
		return DROP_FRAGMENT_OVERLAP;
	packet->protocol = entry->protocol;
	packet->source_port = entry->source_port;
	packet->destination_port = entry->destination_port;
	return DROP_NONE;
}
