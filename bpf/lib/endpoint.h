/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Who stands behind an interface or an address. Decides identities; drops nothing by itself. */
#pragma once

#include "../maps/maps.h"
#include "packet.h"

/*
 * Copies out the endpoint behind an interface; false: there is none.
 *
 * The kernel may hand a replaced element of a hash map to another key while a program still reads it. It is
 * then written front to back, and ifindex stands first: found unchanged after the copy, everything copied is
 * ours.
 */
static __always_inline bool endpoint_of_interface(__u32 ifindex, struct endpoint *endpoint)
{
	const volatile __u32 *head;
	struct endpoint *found = bpf_map_lookup_elem(&qn_endpoints, &ifindex);

	if (!found)
		return false;
	words_copy(endpoint, found, sizeof(*endpoint));
	barrier();
	head = &found->ifindex;
	return *head == ifindex;
}

/* The same without its addresses, which nobody asks of whom a packet is handed to. */
static __always_inline bool receiver_of_interface(__u32 ifindex, struct endpoint *endpoint)
{
	const volatile __u32 *head;
	struct endpoint *found = bpf_map_lookup_elem(&qn_endpoints, &ifindex);

	if (!found)
		return false;
	words_copy(endpoint, found, offsetof(struct endpoint, ip4));
	words_copy(&endpoint->mac, &found->mac, sizeof(struct endpoint) - offsetof(struct endpoint, mac));
	barrier();
	head = &found->ifindex;
	return *head == ifindex;
}

/* "None" is no address, though a packet may carry it: an endpoint without IPv6 does not own ::. */
static __always_inline bool endpoint_has_address(const struct endpoint *endpoint,
						 const struct ip_address *address)
{
	return !address_is_zero(address) &&
	       (address_equal(&endpoint->ip4, address) || address_equal(&endpoint->ip6, address));
}

static __always_inline void party_from_endpoint(struct party *party, const struct endpoint *endpoint)
{
	party->identity = endpoint->identity;
	party->network_id = endpoint->network_id;
	party->endpoint_id = endpoint->id;
	party->ifindex = endpoint->ifindex;
}

/* Who stands behind an interface, without the rest about the endpoint; false: nobody. */
static __always_inline bool party_of_interface(__u32 ifindex, struct party *party)
{
	const volatile __u32 *head;
	struct endpoint *found = bpf_map_lookup_elem(&qn_endpoints, &ifindex);

	if (!found)
		return false;
	party_from_endpoint(party, found);
	barrier();
	head = &found->ifindex; /* as in endpoint_of_interface() */
	return *head == ifindex && party->ifindex == ifindex;
}

/*
 * Finds out whose address this is. DROP_NO_SUCH_ENDPOINT: it lies in a network and nobody has it.
 * DROP_NO_SERVICE: a service's, which is nobody by itself. What is neither of that nor the node's own is the
 * world's. Not inlined: asked once per flow, from several
 * places.
 */
__attribute__((noinline)) int party_of_address(const struct ip_address *address, struct party *party)
{
	struct prefix_key prefix = {.prefix_length = 128};
	struct address_key key = {};
	struct address_entry *entry;
	struct endpoint endpoint __attribute__((aligned(8)));
	struct prefix_entry *in;

	if (!address || !party)
		return DROP_MAP_CORRUPT;
	*party = (struct party){.identity = IDENTITY_WORLD};
	prefix.address = *address;
	in = bpf_map_lookup_elem(&qn_prefixes, &prefix);
	if (!in)
		return DROP_NONE;
	if (in->kind == PREFIX_HOST) {
		party->identity = IDENTITY_HOST;
		return DROP_NONE;
	}
	party->identity = IDENTITY_NONE;
	if (in->kind == PREFIX_SERVICE)
		return DROP_NO_SERVICE;
	key.network_id = in->network_id;
	key.address = *address;
	entry = bpf_map_lookup_elem(&qn_addresses, &key);
	if (!entry || !endpoint_of_interface(entry->ifindex, &endpoint))
		return DROP_NO_SUCH_ENDPOINT;
	if (endpoint.id != entry->endpoint_id || !endpoint_has_address(&endpoint, address))
		return DROP_NO_SUCH_ENDPOINT;
	party_from_endpoint(party, &endpoint);
	return DROP_NONE;
}

/* Is the address in the endpoint's own network, gateway and unassigned ones included? */
static __always_inline bool endpoint_network_contains(const struct endpoint *endpoint,
						      const struct ip_address *address)
{
	if (address_is_ip4_mapped(address))
		return !address_is_zero(&endpoint->ip4) &&
		       address_in_prefix(address, &endpoint->ip4, 96 + endpoint->ip4_prefix_length);
	return !address_is_zero(&endpoint->ip6) &&
	       address_in_prefix(address, &endpoint->ip6, endpoint->ip6_prefix_length);
}
