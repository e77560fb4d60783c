/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * How a new flow gets its second name (nat_alias.h): the one that its client asked for, or a port of the
 * node's. Drops the flow when another has the name, or no port is free.
 */
#pragma once

#include "conntrack.h"
#include "secret_random.h"

/* Ports that are tried, of a range that is 90 % taken: one in two hundred flows finds none of them. */
#define NAT_TRIES_COMMON 48
/*
 * The last eighth of the range is for who finds nothing in the rest: of these ports each endpoint has a
 * share, which one in 32 others has too. So whoever takes all that there is towards a destination leaves the
 * others something. Of the default range a share is 17 ports, of which each is tried.
 */
#define NAT_KEPT_PART  8
#define NAT_SHARES     32
#define NAT_TRIES_KEPT 24
#define NAT_TRIES      (NAT_TRIES_COMMON + NAT_TRIES_KEPT)
/* After as many that were taken, one will do that only a closed connection has. */
#define NAT_TRIES_FREE 2

/*
 * Is an end of a record still the endpoint that it was recorded for? Ends outside always are. Asked twice:
 * while the daemon replaces an entry, a program may find neither the old one nor the new one.
 */
static __always_inline bool end_is_present(const struct conntrack_entry *record, enum flow_end end)
{
	__u32 id = conntrack_endpoint(record, end), ifindex = conntrack_ifindex(record, end);
	struct endpoint *endpoint;

	if (!id)
		return true;
	for (int i = 0; i < 2; i++) {
		endpoint = bpf_map_lookup_elem(&qn_endpoints, &ifindex);
		if (endpoint && endpoint->id == id)
			return true;
	}
	return false;
}

/* What still comes of a flow that has closed must not be taken for another's of the same name (RFC 9293
 * §3.4.3); the ends' own sequence numbers see to what comes later. */
#define NAME_REST_NS (NSEC_PER_SEC / 10)

/*
 * Frees the name in passage->alias.key, which a new flow is to have, if the flow that had it is over; of
 * another client, if it has rested. Not inlined, and verified once, as it is asked again and again.
 */
__attribute__((noinline)) int name_release_dead(struct passage *passage, bool is_of_another)
{
	struct conntrack_entry *place, *record;
	struct nat_alias *alias, *found;
	struct conntrack_key flow __attribute__((aligned(8)));
	struct nat_key key;
	bool is_over;
	__u64 rested;
	__u32 nonce;

	if (!passage)
		return 0;
	key = passage->alias.key;
	alias = &passage->other_alias;
	record = &passage->other_record;
	found = bpf_map_lookup_elem(&qn_nat, &key);
	if (!found || !nat_copy(found, &key, alias))
		return 0;
	flow = alias->flow;
	place = bpf_map_lookup_elem(&qn_conntrack, &flow);
	nonce = place ? *(const volatile __u32 *)&place->nonce : ~alias->nonce;
	if (nonce && nonce != alias->nonce) {
		nat_release(found, &key, alias->nonce);
	} else if (place && conntrack_copy(place, &flow, record) && record->nonce == alias->nonce) {
		rested = passage->now + conntrack_lifetime(flow.protocol, record->flags);
		is_over = record->expires_ns <= passage->now || !end_is_present(record, FLOW_OPENER) ||
			  !end_is_present(record, FLOW_RESPONDER) ||
			  (conntrack_closing(record) &&
			   (!is_of_another || record->expires_ns + NAME_REST_NS <= rested));
		if (is_over)
			conntrack_remove(place, &flow, record);
	}
	return 0;
}

/*
 * Has the node a socket that answers the remote end by this port? Then the port is the node's own. Echoes
 * have no such socket to ask for. Not inlined, for its stack.
 */
static __attribute__((noinline)) bool nat_port_is_host(struct __sk_buff *skb, const struct nat_key *key)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *socket;
	__u32 length;

	if (key->protocol != IPPROTO_TCP && key->protocol != IPPROTO_UDP)
		return false;
	length = nat_tuple_of(key, &tuple);
	if (key->protocol == IPPROTO_TCP)
		socket = bpf_skc_lookup_tcp(skb, &tuple, length, BPF_F_CURRENT_NETNS, 0);
	else
		socket = bpf_sk_lookup_udp(skb, &tuple, length, BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return false;
	bpf_sk_release(socket);
	return true;
}

/* Two functions, and neither inlined: one load of both kinds of socket is what the verifier does not take. */
static __attribute__((noinline)) bool tcp_port_is_connected(struct __sk_buff *skb, const struct nat_key *key)
{
	struct bpf_sock_tuple tuple = {};
	__u32 length = nat_tuple_of(key, &tuple), state;
	struct bpf_sock *socket = bpf_skc_lookup_tcp(skb, &tuple, length, BPF_F_CURRENT_NETNS, 0);

	if (!socket)
		return false;
	state = socket->state;
	bpf_sk_release(socket);
	return state != BPF_TCP_LISTEN && state != BPF_TCP_CLOSE && state != BPF_TCP_TIME_WAIT;
}

static __attribute__((noinline)) bool udp_port_is_connected(struct __sk_buff *skb, const struct nat_key *key)
{
	struct bpf_sock_tuple tuple = {};
	__u32 length = nat_tuple_of(key, &tuple), state;
	struct bpf_sock *socket = bpf_sk_lookup_udp(skb, &tuple, length, BPF_F_CURRENT_NETNS, 0);

	if (!socket)
		return false;
	state = socket->state;
	bpf_sk_release(socket);
	return state == BPF_TCP_ESTABLISHED;
}

/*
 * Does a socket of the node talk to the remote end, and to nobody else, by this port? Then what comes from
 * there is for it, also what claims to open another connection: by that somebody else could take its answers.
 */
static __always_inline bool nat_port_is_connected(struct __sk_buff *skb, const struct nat_key *key)
{
	if (key->protocol == IPPROTO_TCP)
		return tcp_port_is_connected(skb, key);
	return key->protocol == IPPROTO_UDP && udp_port_is_connected(skb, key);
}

/* One of the ports that the flow of an endpoint may take: another one with each try. */
static __always_inline __be16 nat_port_of(__u32 endpoint_id, __u64 random, __u32 try)
{
	__u32 size = config_nat_port_max - config_nat_port_min + 1, kept = size / NAT_KEPT_PART / NAT_SHARES;
	__u32 common = size - kept * NAT_SHARES, first = (__u32)random, step = (__u32)(random >> 32) | 1,
	      offset;

	if (kept && try >= NAT_TRIES_COMMON)
		offset = common + (first + try) % kept * NAT_SHARES + endpoint_id % NAT_SHARES;
	else
		offset = (first + try * step) % common;
	return bpf_htons((__u16)(config_nat_port_min + offset));
}

/*
 * Takes the name of passage->record's nat_address and nat_port for the flow. Without a port (0) it takes one,
 * at random, so that nobody outside can tell it from the ports before.
 */
static __attribute__((noinline)) int nat_claim(struct __sk_buff *skb, struct passage *passage)
{
	struct conntrack_entry *record = &passage->record;
	struct nat_alias *alias = &passage->alias;
	__u64 random;
	long error;

	nat_key_of(&passage->flow.key, record, &alias->key);
	alias->flow = passage->flow.key;
	alias->nonce = record->nonce;
	if (record->nat_port) {
		error = bpf_map_update_elem(&qn_nat, &alias->key, alias, BPF_NOEXIST);
		if (error == -EEXIST)
			return DROP_NAT_CONFLICT;
		return error ? DROP_CONNTRACK_FULL : DROP_NONE;
	}
	if (config_nat_port_max < config_nat_port_min)
		return DROP_NAT_PORTS;
	random = secret_random();
	for (__u32 i = 0; i < NAT_TRIES; i++) {
		alias->key.local_port = nat_port_of(record->endpoint_id[FLOW_OPENER], random, i);
		/* Most of a busy range are taken, which is told sooner than whether a socket has the port. */
		if (bpf_map_lookup_elem(&qn_nat, &alias->key)) {
			if (i < NAT_TRIES_FREE)
				continue;
			name_release_dead(passage, true);
		}
		if (nat_port_is_host(skb, &alias->key))
			continue;
		error = bpf_map_update_elem(&qn_nat, &alias->key, alias, BPF_NOEXIST);
		if (!error) {
			record->nat_port = alias->key.local_port;
			return DROP_NONE;
		}
		if (error != -EEXIST)
			return DROP_CONNTRACK_FULL;
	}
	return DROP_NAT_PORTS;
}
