/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The transport header, from bytes to struct packet. Drops what is cut short, not valid, or of no known
 * protocol. */
#pragma once

#include <linux/tcp.h>
#include <linux/udp.h>

#include "parse_ip.h"

/* length: of header and data, as far as they are here. */
static __always_inline void tcp_numbers(const struct tcphdr *tcp, __u32 length, struct packet *packet)
{
	__u32 header = tcp->doff * 4U;

	packet->tcp_sequence = bpf_ntohl(tcp->seq);
	packet->tcp_acknowledgement = bpf_ntohl(tcp->ack_seq);
	packet->tcp_length = (length > header ? length - header : 0) + tcp->syn + tcp->fin;
}

static __always_inline enum drop_reason parse_tcp(struct __sk_buff *skb, struct packet *packet, __u32 room)
{
	struct tcphdr tcp;
	__u8 flags;

	if (room < sizeof(tcp) || bpf_skb_load_bytes(skb, packet->transport_offset, &tcp, sizeof(tcp)))
		return DROP_TRUNCATED;
	if (tcp.doff < 5 || (packet->fragment == FRAGMENT_NONE && tcp.doff * 4U > room))
		return DROP_MALFORMED_TRANSPORT;
	flags = ((__u8 *)&tcp)[13];
	/* No stack sends these combinations; scanners do (RFC 9293 §3.10.7 knows no state for them). */
	if (!(flags & (TCP_SYN | TCP_ACK | TCP_RST)) || ((flags & TCP_SYN) && (flags & (TCP_FIN | TCP_RST))))
		return DROP_MALFORMED_TRANSPORT;
	packet->tcp_flags = flags;
	packet->source_port = tcp.source;
	packet->destination_port = tcp.dest;
	tcp_numbers(&tcp, room, packet);
	return DROP_NONE;
}

static __always_inline enum drop_reason parse_udp(struct __sk_buff *skb, struct packet *packet, __u32 room)
{
	struct udphdr udp;

	if (room < sizeof(udp) || bpf_skb_load_bytes(skb, packet->transport_offset, &udp, sizeof(udp)))
		return DROP_TRUNCATED;
	if (bpf_ntohs(udp.len) < sizeof(udp) ||
	    (packet->fragment == FRAGMENT_NONE && bpf_ntohs(udp.len) > room))
		return DROP_MALFORMED_TRANSPORT;
	packet->source_port = udp.source;
	packet->destination_port = udp.dest;
	return DROP_NONE;
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

static __always_inline bool packet_is_icmp(const struct packet *packet)
{
	return packet->protocol == IPPROTO_ICMP || packet->protocol == IPPROTO_ICMPV6;
}

static __always_inline bool icmp_is_echo_request(const struct packet *packet)
{
	return packet->protocol == IPPROTO_ICMP ? packet->icmp_type == ICMP4_ECHO_REQUEST
						: packet->icmp_type == ICMP6_ECHO_REQUEST;
}

static __always_inline bool icmp_is_echo_reply(const struct packet *packet)
{
	return packet->protocol == IPPROTO_ICMP ? packet->icmp_type == ICMP4_ECHO_REPLY
						: packet->icmp_type == ICMP6_ECHO_REPLY;
}

/* Does a connection open with this packet, as far as its protocol tells? */
static __always_inline bool packet_opens(const struct packet *packet)
{
	switch (packet->protocol) {
	case IPPROTO_TCP:
		return (packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return icmp_is_echo_request(packet);
	default:
		return true;
	}
}

/* RFC 792; RFC 4443 §2.1: ICMPv6 types below 128 are errors, of which 1 to 4 are defined. */
static __always_inline bool icmp_is_error(const struct packet *packet)
{
	if (packet->protocol == IPPROTO_ICMP)
		return packet->icmp_type == ICMP4_UNREACHABLE || packet->icmp_type == ICMP4_TIME_EXCEEDED ||
		       packet->icmp_type == ICMP4_PARAMETER_PROBLEM;
	return packet->protocol == IPPROTO_ICMPV6 && packet->icmp_type >= ICMP6_UNREACHABLE &&
	       packet->icmp_type <= ICMP6_PARAMETER_PROBLEM;
}

static __always_inline enum drop_reason parse_icmp(struct __sk_buff *skb, struct packet *packet, __u32 room)
{
	struct icmp_header icmp;

	if (room < sizeof(icmp) || bpf_skb_load_bytes(skb, packet->transport_offset, &icmp, sizeof(icmp)))
		return DROP_TRUNCATED;
	packet->icmp_type = icmp.type;
	packet->icmp_code = icmp.code;
	/*
	 * The identifier takes the place of the requester's port, so that echoes in opposite directions under
	 * one identifier are two flows.
	 */
	if (icmp_is_echo_request(packet))
		packet->source_port = icmp.echo_id;
	else if (icmp_is_echo_reply(packet))
		packet->destination_port = icmp.echo_id;
	return DROP_NONE;
}

static __always_inline enum drop_reason parse_transport(struct __sk_buff *skb, struct packet *packet)
{
	__u32 end = packet->network_offset + packet->length, room;

	if (packet->fragment == FRAGMENT_LATER)
		return DROP_NONE;
	if (packet->transport_offset > end)
		return DROP_TRUNCATED;
	room = end - packet->transport_offset;
	switch (packet->protocol) {
	case IPPROTO_TCP:
		return parse_tcp(skb, packet, room);
	case IPPROTO_UDP:
		return parse_udp(skb, packet, room);
	case IPPROTO_SCTP: {
		__be16 ports[2];

		if (room < SCTP_HEADER_LENGTH ||
		    bpf_skb_load_bytes(skb, packet->transport_offset, ports, sizeof(ports)))
			return DROP_TRUNCATED;
		packet->source_port = ports[0];
		packet->destination_port = ports[1];
		return DROP_NONE;
	}
	case IPPROTO_ICMP:
		if (packet->family != 4)
			return DROP_UNKNOWN_PROTOCOL;
		return parse_icmp(skb, packet, room);
	case IPPROTO_ICMPV6:
		if (packet->family != 6)
			return DROP_UNKNOWN_PROTOCOL;
		return parse_icmp(skb, packet, room);
	default:
		return DROP_UNKNOWN_PROTOCOL;
	}
}
