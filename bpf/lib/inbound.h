/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What is taken from nobody outside, whoever it is for: the same in uplink_xdp and, where that does not run,
 * in from_uplink. Drops what is on the deny list, and what no host takes: IP headers that contradict
 * themselves, and addresses that are on no wire. The node keeps all of its own, so what merely looks odd is
 * for its stack to judge: 0.0.0.0 and :: ask for an address, 240.0.0.0/4 and 0.0.0.0/8 have users.
 */
#pragma once

#include <linux/ip.h>
#include <linux/ipv6.h>

#include "../maps/maps.h"
#include "packet.h"

static __always_inline __u32 inbound_flags(void)
{
	struct inbound *inbound;
	__u32 zero = 0;

	inbound = bpf_map_lookup_elem(&qn_inbound, &zero);
	return inbound ? *(const volatile __u32 *)&inbound->flags : 0;
}

/*
 * What every receiver checks (RFC 1122 §3.2.1.1, RFC 791 §3.1). room is what the frame has from here on; a
 * length of 0 is what the kernel itself gives to what it put together (BIG TCP).
 */
static __always_inline enum drop_reason inbound_ip4(const struct iphdr *ip, __u32 room, struct packet *packet)
{
	__u32 header_length = ip->ihl * 4, total = bpf_ntohs(ip->tot_len);

	packet->family = 4;
	packet->protocol = ip->protocol;
	address_from_ip4(&packet->source, ip->saddr);
	address_from_ip4(&packet->destination, ip->daddr);
	if (ip->version != 4 || header_length < sizeof(*ip) || (total && total < header_length))
		return DROP_MALFORMED_IP;
	return header_length > room || total > room ? DROP_TRUNCATED : DROP_NONE;
}

/* RFC 8200 §3. A length of 0 is a jumbogram's, or there is nothing behind the header. */
static __always_inline enum drop_reason inbound_ip6(const struct ipv6hdr *ip, __u32 room,
						    struct packet *packet)
{
	packet->family = 6;
	packet->protocol = ip->nexthdr;
	__builtin_memcpy(&packet->source, &ip->saddr, sizeof(packet->source));
	__builtin_memcpy(&packet->destination, &ip->daddr, sizeof(packet->destination));
	if (ip->version != 6)
		return DROP_MALFORMED_IP;
	return sizeof(*ip) + bpf_ntohs(ip->payload_len) > room ? DROP_TRUNCATED : DROP_NONE;
}

/* RFC 1122 §3.2.1.3: 127.0.0.0/8 never leaves a host, and the others are nobody's to send from. */
static __always_inline enum drop_reason inbound_addresses4(const struct packet *packet)
{
	__u32 source = bpf_ntohl(packet->source.word[3]);

	if (source >> 24 == 127 || source >> 28 == 0xe || source == 0xffffffff)
		return DROP_BAD_SOURCE;
	return bpf_ntohl(packet->destination.word[3]) >> 24 == 127 ? DROP_BAD_DESTINATION : DROP_NONE;
}

static __always_inline bool address_is_loopback6(const struct ip_address *address)
{
	return !(address->word[0] | address->word[1] | address->word[2]) && address->word[3] == bpf_htonl(1);
}

/*
 * RFC 4291 §2.5.3, §2.7; RFC 6890 table 20: mapped addresses are on no wire, and in our maps would pass for
 * IPv4.
 */
static __always_inline enum drop_reason inbound_addresses6(const struct packet *packet)
{
	if (bpf_ntohl(packet->source.word[0]) >> 24 == 0xff || address_is_loopback6(&packet->source) ||
	    address_is_ip4_mapped(&packet->source))
		return DROP_BAD_SOURCE;
	return address_is_loopback6(&packet->destination) || address_is_ip4_mapped(&packet->destination)
		   ? DROP_BAD_DESTINATION
		   : DROP_NONE;
}

static __always_inline bool source_is_denied(const struct packet *packet)
{
	struct deny_key key = {
	    .prefix_length = DENY_KEY_BITS + 128, .family = packet->family, .address = packet->source};

	return bpf_map_lookup_elem(&qn_deny, &key);
}

/* Of every packet, whether a flow is known or not: who is denied is denied at once. */
static __always_inline enum drop_reason inbound_check(const struct packet *packet, __u32 flags)
{
	enum drop_reason reason =
	    packet->family == 4 ? inbound_addresses4(packet) : inbound_addresses6(packet);

	if (reason)
		return reason;
	return (flags & INBOUND_DENIES) && source_is_denied(packet) ? DROP_DENIED_SOURCE : DROP_NONE;
}

/*
 * Of what belongs to no flow of a container with the outside: nobody there has an address of a network or of
 * a service. The node's own addresses are its stack's to defend.
 */
static __always_inline enum drop_reason inbound_spoof_check(const struct packet *packet)
{
	struct prefix_key key = {.prefix_length = 128, .address = packet->source};
	struct prefix_entry *in = bpf_map_lookup_elem(&qn_prefixes, &key);

	return in && in->kind != PREFIX_HOST ? DROP_BAD_SOURCE : DROP_NONE;
}
