/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The node's interfaces to the outside and their addresses, as the daemon says. */
#pragma once

#include "../maps/maps.h"
#include "packet.h"
#include "sealed.h"

/* The one by which all leaves that the node's routes are not asked for. NULL: never in practice. */
static __always_inline struct uplink *uplink_first(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&qn_uplinks, &zero);
}

/* What is asked of each slot of an interface, until one says yes. */
enum uplink_question {
	UPLINK_IS,	 /* the first slot of the interface */
	UPLINK_HAS,	 /* it has the address */
	UPLINK_REACHES6, /* the IPv6 address is in a subnet of it */
};

/*
 * The slot that says yes; negative: none. Not static: so the verifier walks through the slots once, whoever
 * asks.
 */
__attribute__((noinline)) int uplink_find(__u32 ifindex, __u32 question, const struct ip_address *address)
{
	/* Of the family that it lacks a slot has zero. */
	if (!address || (question == UPLINK_HAS && address_is_zero(address)))
		return -1;
	for (__u32 slot = 0; slot < UPLINK_SLOTS; slot++) {
		__u32 key = slot, found;
		struct uplink *uplink = bpf_map_lookup_elem(&qn_uplinks, &key);

		if (!uplink)
			return -1;
		found = *(const volatile __u32 *)&uplink->ifindex;
		if (!found)
			return -1;
		if (found != ifindex)
			continue;
		if (question == UPLINK_IS ||
		    (question == UPLINK_HAS &&
		     (address_equal(address, &uplink->ip4) || address_equal(address, &uplink->ip6))) ||
		    (question == UPLINK_REACHES6 && !address_is_zero(&uplink->ip6) &&
		     address_in_prefix(address, &uplink->ip6, uplink->ip6_prefix_length)))
			return (int)slot;
	}
	return -1;
}

/* NULL: the interface is no uplink. */
static __always_inline struct uplink *uplink_of(__u32 ifindex, const struct packet *packet)
{
	int slot = uplink_find(ifindex, UPLINK_IS, &packet->destination);

	return slot < 0 ? NULL : bpf_map_lookup_elem(&qn_uplinks, &slot);
}

static __always_inline bool uplink_has(__u32 ifindex, const struct ip_address *address)
{
	return uplink_find(ifindex, UPLINK_HAS, address) >= 0;
}

static __always_inline bool uplink_reaches6(__u32 ifindex, const struct ip_address *address)
{
	return uplink_find(ifindex, UPLINK_REACHES6, address) >= 0;
}

/* The address of its own that a network's flows of the packet's family leave under; false: it has none. */
static __always_inline bool source_address(const struct packet *packet, __u32 network_id,
					   struct ip_address *address)
{
	struct source_addresses *found = bpf_map_lookup_elem(&qn_source_addresses, &network_id);
	struct source_addresses own __attribute__((aligned(8)));

	if (!found || !sealed_copy(&own, found, sizeof(own)) || own.network_id != network_id)
		return false;
	*address = packet->family == 4 ? own.ip4 : own.ip6;
	return !address_is_zero(address);
}

/* The uplink's address of the packet's family, and its interface. */
static __always_inline enum drop_reason uplink_address(const struct uplink *uplink,
						       const struct packet *packet,
						       struct ip_address *address, __u32 *ifindex)
{
	struct uplink own __attribute__((aligned(8)));

	/* Being changed at this moment: there is none yet. */
	if (!sealed_copy(&own, uplink, sizeof(own)))
		return DROP_NO_UPLINK_ADDRESS;
	*address = packet->family == 4 ? own.ip4 : own.ip6;
	*ifindex = own.ifindex;
	if (!*ifindex)
		return DROP_NO_UPLINK;
	return address_is_zero(address) ? DROP_NO_UPLINK_ADDRESS : DROP_NONE;
}
