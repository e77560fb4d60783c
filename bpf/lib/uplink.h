/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The node's interface to the outside, as the daemon says. Drops what needs one where there is none. */
#pragma once

#include "../maps/maps.h"
#include "packet.h"

/* 0: there is none. */
static __always_inline __u32 uplink_ifindex(void)
{
	struct uplink *uplink;
	__u32 zero = 0;

	uplink = bpf_map_lookup_elem(&qn_uplink, &zero);
	return uplink ? *(const volatile __u32 *)&uplink->ifindex : 0;
}

/* The address of its own that a network's flows of the packet's family leave under; false: it has none. */
static __always_inline bool source_address(const struct packet *packet, __u32 network_id,
					   struct ip_address *address)
{
	struct source_addresses *found = bpf_map_lookup_elem(&qn_source_addresses, &network_id);
	const volatile __u32 *key;

	if (!found)
		return false;
	*address = packet->family == 4 ? found->ip4 : found->ip6;
	barrier();
	key = &found->network_id;
	return *key == network_id && !address_is_zero(address);
}

/* The address that flows of the packet's family leave under. */
static __always_inline enum drop_reason uplink_address(const struct packet *packet,
						       struct ip_address *address)
{
	const volatile __u32 *version;
	struct uplink *uplink;
	__u32 zero = 0, end;

	uplink = bpf_map_lookup_elem(&qn_uplink, &zero);
	if (!uplink)
		return DROP_MAP_CORRUPT;
	end = *(const volatile __u32 *)&uplink->version_end;
	barrier();
	*address = packet->family == 4 ? uplink->ip4 : uplink->ip6;
	if (!uplink->ifindex)
		return DROP_NO_UPLINK;
	barrier();
	version = &uplink->version;
	/* Being changed at this moment: there is none yet. */
	return *version != end || address_is_zero(address) ? DROP_NO_UPLINK_ADDRESS : DROP_NONE;
}
