/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Who stands behind an interface or an address. Decides identities; drops nothing by itself. */
#pragma once

#include "../maps/maps.h"
#include "packet.h"
#include "sealed.h"

/* Copies out the endpoint behind an interface, aligned to 8 bytes; false: there is none. */
static __always_inline bool endpoint_of_interface(__u32 ifindex, struct endpoint *endpoint)
{
	struct endpoint *found = bpf_map_lookup_elem(&qn_endpoints, &ifindex);

	return found && sealed_copy(endpoint, found, sizeof(*endpoint)) && endpoint->ifindex == ifindex;
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

/* How struct endpoint begins, where there is no room for the rest of it. */
struct endpoint_head {
	__u32 ifindex;
	__u32 id;
	__u32 network_id;
	__u32 identity;
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct endpoint_head) == offsetof(struct endpoint, ip4) &&
		   offsetof(struct endpoint_head, identity) == offsetof(struct endpoint, identity) &&
		   offsetof(struct endpoint_head, network_id) == offsetof(struct endpoint, network_id),
	       "the same beginning");

static __always_inline void party_from_head(struct party *party, const struct endpoint_head *head)
{
	party->identity = head->identity;
	party->network_id = head->network_id;
	party->endpoint_id = head->id;
	party->ifindex = head->ifindex;
}

/* Who stands behind an interface, without the rest about the endpoint; false: nobody. Not inlined, for its
 * stack. */
static __attribute__((noinline, unused)) bool party_of_interface(__u32 ifindex, struct party *party)
{
	struct endpoint *found = bpf_map_lookup_elem(&qn_endpoints, &ifindex);
	struct endpoint_head head;

	if (!found || !sealed_read(&head, sizeof(head), found, sizeof(*found)) || head.ifindex != ifindex)
		return false;
	party_from_head(party, &head);
	return true;
}

static __always_inline struct prefix_entry *prefix_of(const struct ip_address *address)
{
	struct prefix_key key = {.prefix_length = 128, .address = *address};

	return bpf_map_lookup_elem(&qn_prefixes, &key);
}

static __always_inline struct address_entry *entry_of_address(__u32 network_id,
							      const struct ip_address *address)
{
	struct address_key key = {.network_id = network_id, .address = *address};

	return bpf_map_lookup_elem(&qn_addresses, &key);
}

/*
 * Finds out whose address this is. DROP_NO_SUCH_ENDPOINT: it lies in a network and nobody has it.
 * DROP_NO_SERVICE: a service's, which is nobody by itself. What is neither of that nor the node's own is the
 * world's. Not inlined: asked once per flow, from several places.
 */
__attribute__((noinline)) int party_of_address(const struct ip_address *address, struct party *party)
{
	struct address_entry *entry;
	struct prefix_entry *in;
	struct endpoint *found;
	__u32 network_id;
	struct {
		struct endpoint_head head;
		struct ip_address ip4, ip6;
	} endpoint; /* as far as it is asked for here */

	if (!address || !party)
		return DROP_MAP_CORRUPT;
	*party = (struct party){.identity = IDENTITY_WORLD};
	in = prefix_of(address);
	if (!in)
		return DROP_NONE;
	if (in->kind == PREFIX_HOST) {
		party->identity = IDENTITY_HOST;
		return DROP_NONE;
	}
	party->identity = IDENTITY_NONE;
	if (in->kind == PREFIX_SERVICE)
		return DROP_NO_SERVICE;
	network_id = in->network_id;
	entry = entry_of_address(network_id, address);
	found = entry ? bpf_map_lookup_elem(&qn_endpoints, &entry->ifindex) : NULL;
	if (!found || !sealed_read(&endpoint, sizeof(endpoint), found, sizeof(*found)))
		return DROP_NO_SUCH_ENDPOINT;
	/* Both may have been recycled: then what was found has another id, or is in another network. */
	if (endpoint.head.id != entry->endpoint_id || endpoint.head.network_id != network_id ||
	    (!address_equal(&endpoint.ip4, address) && !address_equal(&endpoint.ip6, address)))
		return DROP_NO_SUCH_ENDPOINT;
	party_from_head(party, &endpoint.head);
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
