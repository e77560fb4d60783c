/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Which container serves a port of the node's or of a service. Decides nothing about policy: who may connect
 * to that container is judged as if the client had named it.
 */
#pragma once

#include "../maps/maps.h"
#include "config.h"
#include "packet.h"
#include "sealed.h"

static __always_inline bool frontend_key_equal(const struct frontend_key *a, const struct frontend_key *b)
{
	return address_equal(&a->address, &b->address) && a->port == b->port && a->protocol == b->protocol;
}

/* Copies out what stands at the key, aligned to 8 bytes; false: nothing. */
static __always_inline bool frontend_at(const struct frontend_key *key, struct frontend *frontend)
{
	struct frontend *found;

	/* Who meets one that is just replaced finds its successor. */
#pragma unroll
	for (int i = 0; i < 2; i++) {
		found = bpf_map_lookup_elem(&qn_frontends, key);
		if (!found)
			return false;
		if (sealed_copy(frontend, found, sizeof(*frontend)) &&
		    frontend_key_equal(&frontend->key, key))
			return true;
	}
	return false;
}

/*
 * Finds the frontend of an address and port. is_node: the address is one of the node's. False: nobody serves
 * there.
 */
static __always_inline bool frontend_find(const struct ip_address *address, __be16 port, __u8 protocol,
					  bool is_node, struct frontend *frontend)
{
	struct frontend_key key = {.address = *address, .port = port, .protocol = protocol};

	if (frontend_at(&key, frontend))
		return true;
	if (!is_node)
		return false;
	if (address_is_ip4_mapped(address))
		key.address.word[3] = 0;
	else
		key.address = (struct ip_address){};
	return frontend_at(&key, frontend);
}

/* The backend at an index of qn_backends, if it is that frontend's. */
static __always_inline bool backend_at(__u32 index, __u32 frontend_id, struct backend *backend)
{
	struct backend *found = bpf_map_lookup_elem(&qn_backends, &index);

	if (!found)
		return false;
	*backend = *found;
	return frontend_id && backend->frontend_id == frontend_id;
}

/* What backend_choose() has found. */
struct choice {
	struct backend backend;
	__u32 index; /* of the backend in qn_backends */
};

/*
 * Chooses the backend for a new flow of a client; hash is the flow's, and the same flow comes to the same
 * backend as long as it is one. False: there is none.
 */
static __always_inline bool backend_choose(const struct frontend *frontend, const struct ip_address *client,
					   __u32 hash, __u64 now, struct choice *choice)
{
	struct affinity_key key = {.frontend_id = frontend->id, .client = *client};
	struct affinity *kept;
	__u32 slot, *index;

	if (!frontend->slots)
		return false;
	if (frontend->affinity_s) {
		kept = bpf_map_lookup_elem(&qn_affinity, &key);
		if (kept && kept->expires_ns > now) {
			choice->index = kept->backend;
			if (backend_at(choice->index, frontend->id, &choice->backend))
				return true;
		}
	}
	slot = frontend->first + hash % frontend->slots;
	index = bpf_map_lookup_elem(&qn_slots, &slot);
	if (!index)
		return false;
	choice->index = *index;
	return backend_at(choice->index, frontend->id, &choice->backend);
}

/*
 * Keeps a client at the backend that it has got. Not before its flow is open: whom no policy lets in, or who
 * says to be somebody else, must not make others lose their places.
 */
static __always_inline void affinity_keep(__u32 frontend_id, const struct ip_address *client, __u32 backend,
					  __u32 seconds, __u64 now)
{
	struct affinity_key key = {.frontend_id = frontend_id, .client = *client};
	struct affinity fresh = {.expires_ns = now + seconds * 1000000000ULL, .backend = backend};

	if (seconds)
		bpf_map_update_elem(&qn_affinity, &key, &fresh, BPF_ANY);
}

/* Of a flow, for who chooses by it: the same on every node (after MurmurHash3's mixing steps). */
static __always_inline __u32 hash_mix(__u32 hash, __u32 word)
{
	word *= 0xcc9e2d51;
	word = (word << 15) | (word >> 17);
	hash ^= word * 0x1b873593;
	return ((hash << 13) | (hash >> 19)) * 5 + 0xe6546b64;
}

static __always_inline __u32 client_hash(const struct ip_address *client, __be16 port, __u32 frontend_id)
{
	__u32 hash = frontend_id;

#pragma unroll
	for (int i = 0; i < 4; i++)
		hash = hash_mix(hash, client->word[i]);
	hash = hash_mix(hash, port);
	hash ^= hash >> 16;
	hash *= 0x85ebca6b;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae35;
	return hash ^ hash >> 16;
}
