/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What kind of address a packet is sent to or claims to come from, before anyone is asked about policy. */
#pragma once

#include "endpoint.h"
#include "packet.h"

enum address_class {
	ADDRESS_UNICAST,
	ADDRESS_MULTICAST,
	ADDRESS_BROADCAST,
	ADDRESS_INVALID, /* can be nobody's on a wire */
};

/* RFC 6890, RFC 4291 §2.5-2.7. */
static __always_inline enum address_class address_classify(const struct ip_address *address)
{
	__u32 first;

	if (address_is_ip4_mapped(address)) {
		first = bpf_ntohl(address->word[3]);
		if (first == 0xffffffff)
			return ADDRESS_BROADCAST;
		if (first >> 28 == 0xe)
			return ADDRESS_MULTICAST;
		if (first >> 24 == 0 || first >> 24 == 127 || first >> 28 == 0xf)
			return ADDRESS_INVALID;
		return ADDRESS_UNICAST;
	}
	first = bpf_ntohl(address->word[0]);
	if (first >> 24 == 0xff)
		return ADDRESS_MULTICAST;
	/* Link-local peers do not exist here; ::/96 holds the unspecified and the loopback address. */
	if (first >> 22 == 0xfe80 >> 6 || (!address->word[0] && !address->word[1] && !address->word[2]))
		return ADDRESS_INVALID;
	return ADDRESS_UNICAST;
}

/* The first and the last address of the endpoint's IPv4 network reach everyone in it (RFC 919, RFC 1122
 * §3.3.6). */
static __always_inline bool address_is_subnet_broadcast(const struct ip_address *address,
							const struct endpoint *self)
{
	__u32 host_mask, host;

	if (!address_is_ip4_mapped(address) || self->ip4_prefix_length >= 31 ||
	    !endpoint_network_contains(self, address))
		return false;
	host_mask = 0xffffffffU >> self->ip4_prefix_length;
	host = bpf_ntohl(address->word[3]) & host_mask;
	return host == 0 || host == host_mask;
}

/* DROP_NONE: unicast, or a kind of broadcast that the endpoint's network allows (then *flood is set). */
static __always_inline enum drop_reason destination_check(const struct ip_address *address,
							  const struct endpoint *self, bool *flood)
{
	enum address_class class = address_classify(address);

	if (class == ADDRESS_INVALID)
		return DROP_BAD_DESTINATION;
	if (class == ADDRESS_MULTICAST) {
		if (!(self->flags & ENDPOINT_ALLOW_MULTICAST))
			return DROP_MULTICAST;
		*flood = true;
	} else if (class == ADDRESS_BROADCAST || address_is_subnet_broadcast(address, self)) {
		if (!(self->flags & ENDPOINT_ALLOW_BROADCAST))
			return DROP_BROADCAST;
		*flood = true;
	}
	return DROP_NONE;
}
