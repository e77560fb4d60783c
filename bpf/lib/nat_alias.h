/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The second name of a translated flow: what its other end calls it. A record that is translated has its
 * alias from when it can be found until it is gone, so there is never half a translation:
 *  - It is claimed while the record has no nonce yet (conntrack_create()), and let go after the record is
 *    deleted (conntrack_remove()).
 *  - Of all who want to remove it one does so: whoever takes its nonce away. Nobody replaces one.
 * What could not be removed, because its table was locked by what a program interrupted, is dead: no record
 * has its nonce. conntrack_sweep collects it.
 */
#pragma once

#include <linux/errno.h>

#include "../maps/maps.h"
#include "config.h"
#include "packet.h"
#include "passage.h"

static __always_inline bool nat_key_equal(const struct nat_key *a, const struct nat_key *b)
{
	return words_equal(a, b, sizeof(*a));
}

static __always_inline enum flow_end other_end(enum flow_end end)
{
	return end == FLOW_OPENER ? FLOW_RESPONDER : FLOW_OPENER;
}

/* The end that the other one knows by another name. */
static __always_inline enum flow_end named_end(const struct conntrack_entry *record)
{
	return record->flags & CONNTRACK_NAMED_RESPONDER ? FLOW_RESPONDER : FLOW_OPENER;
}

static __always_inline bool record_is_translated(const struct conntrack_entry *record)
{
	return !address_is_zero(&record->nat_address);
}

/* Address and port of an end, as the key has them. */
static __always_inline void flow_end_of(const struct conntrack_key *key, const struct conntrack_entry *record,
					enum flow_end end, struct ip_address *address, __be16 *port)
{
	bool is_b = !!(record->flags & CONNTRACK_OPENER_IS_B) == (end == FLOW_OPENER);

	*address = is_b ? key->address_b : key->address_a;
	*port = is_b ? key->port_b : key->port_a;
}

/* What the flow of a packet is called by its sender, if that knows its other end by a name. */
static __always_inline void nat_key_of_packet(const struct packet *packet, struct nat_key *key)
{
	words_copy(key, packet, PACKET_ENDS);
	key->protocol = packet->protocol;
	__builtin_memset(key->pad, 0, sizeof(key->pad));
}

/* The same by its receiver. */
static __always_inline void nat_key_of_reply(const struct packet *packet, struct nat_key *key)
{
	key->remote = packet->destination;
	key->local = packet->source;
	key->remote_port = packet->destination_port;
	key->local_port = packet->source_port;
	key->protocol = packet->protocol;
	__builtin_memset(key->pad, 0, sizeof(key->pad));
}

/* What the other end calls a flow. */
static __always_inline void nat_key_of(const struct conntrack_key *flow, const struct conntrack_entry *record,
				       struct nat_key *key)
{
	enum flow_end named = named_end(record);
	__be16 port;

	flow_end_of(flow, record, other_end(named), &key->remote, &key->remote_port);
	if (record->flags & CONNTRACK_SELF)
		flow_end_of(flow, record, named, &key->remote, &port);
	key->local = record->nat_address;
	key->local_port = record->nat_port;
	key->protocol = flow->protocol;
	__builtin_memset(key->pad, 0, sizeof(key->pad));
}

/* Copies an alias out of its place, as conntrack_copy() does a record. False: it is no alias of this key. */
static __always_inline bool nat_copy(const struct nat_alias *place, const struct nat_key *key,
				     struct nat_alias *alias)
{
	const volatile __u32 *nonce = &place->nonce;
	__u32 before = *nonce;
	bool own;

	barrier();
	*alias = *place;
	own = nat_key_equal(&alias->key, key);
	barrier();
	return own && before && *nonce == before && alias->nonce == before;
}

/* The same of what leads to the record alone: of every packet that is found by its alias. */
static __always_inline bool nat_copy_flow(const struct nat_alias *place, const struct nat_key *key,
					  struct conntrack_key *flow, __u32 *nonce)
{
	const volatile __u32 *current = &place->nonce;
	bool own;

	*nonce = *current;
	barrier();
	words_copy(flow, &place->flow, sizeof(*flow));
	own = nat_key_equal(&place->key, key);
	barrier();
	return own && *nonce && *current == *nonce;
}

/* Removes the alias that has this nonce, unless somebody else does. */
static __always_inline void nat_release(struct nat_alias *place, const struct nat_key *key, __u32 nonce)
{
	long error;

	if (__sync_val_compare_and_swap(&place->nonce, nonce, 0) != nonce)
		return;
	error = bpf_map_delete_elem(&qn_nat, key);
	if (error && error != -ENOENT)
		__sync_val_compare_and_swap(&place->nonce, 0, nonce);
}

/* Removes the alias of a record that is gone. A function of its own, for its stack. */
static __attribute__((noinline)) int nat_release_of(const struct conntrack_key *flow,
						    const struct conntrack_entry *record)
{
	struct nat_alias *place;
	struct nat_key key;

	nat_key_of(flow, record, &key);
	place = bpf_map_lookup_elem(&qn_nat, &key);
	if (place && nat_key_equal(&place->key, &key))
		nat_release(place, &key, record->nonce);
	return 0;
}

/* What a socket of the node that talks under a name is looked up by; the length for its family. */
static __always_inline __u32 nat_tuple_of(const struct nat_key *key, struct bpf_sock_tuple *tuple)
{
	if (address_is_ip4_mapped(&key->local)) {
		tuple->ipv4.saddr = key->remote.word[3];
		tuple->ipv4.daddr = key->local.word[3];
		tuple->ipv4.sport = key->remote_port;
		tuple->ipv4.dport = key->local_port;
		return sizeof(tuple->ipv4);
	}
	__builtin_memcpy(tuple->ipv6.saddr, &key->remote, sizeof(key->remote));
	__builtin_memcpy(tuple->ipv6.daddr, &key->local, sizeof(key->local));
	tuple->ipv6.sport = key->remote_port;
	tuple->ipv6.dport = key->local_port;
	return sizeof(tuple->ipv6);
}
