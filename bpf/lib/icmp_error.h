/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * An ICMP error (RFC 792, RFC 4443) belongs to the flow of the packet that it quotes, and passes with it.
 * Drops errors about flows that are not known. Without them there is no path MTU discovery and no "port
 * unreachable".
 */
#pragma once

#include "connection.h"

/*
 * Reads the packet that an error quotes. It was sent by whoever the error is now sent to, so its source must
 * be the error's destination; anything else is a forgery.
 */
static __always_inline enum drop_reason parse_quoted(struct __sk_buff *skb, struct passage *passage)
{
	const struct packet *error = &passage->packet;
	struct packet *quoted = &passage->quoted;
	enum drop_reason reason;
	__be16 ports[4] = {};

	__builtin_memset(quoted, 0, sizeof(*quoted));
	quoted->network_offset = error->transport_offset + sizeof(struct icmp_header);
	if (error->family == 4)
		reason = parse_ip4(skb, quoted, PARSE_QUOTED);
	else
		reason = parse_ip6(skb, quoted, PARSE_QUOTED);
	if (reason)
		return DROP_ICMP_UNRELATED;
	if (quoted->transport_offset + sizeof(ports) > JUDGED_MAX)
		return DROP_ICMP_UNRELATED;
	if (quoted->fragment == FRAGMENT_LATER || !address_equal(&quoted->source, &error->destination))
		return DROP_ICMP_UNRELATED;
	/* RFC 792 guarantees eight bytes of the quoted transport header, in which all of ours have what we
	 * need. */
	if (bpf_skb_load_bytes(skb, quoted->transport_offset, ports, sizeof(ports)))
		return DROP_ICMP_UNRELATED;
	switch (quoted->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		quoted->source_port = ports[0];
		quoted->destination_port = ports[1];
		return DROP_NONE;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		quoted->icmp_type = ((__u8 *)ports)[0];
		if (icmp_is_echo_request(quoted))
			quoted->source_port = ports[2];
		else if (icmp_is_echo_reply(quoted))
			quoted->destination_port = ports[2];
		else
			return DROP_ICMP_UNRELATED;
		return DROP_NONE;
	default:
		return DROP_ICMP_UNRELATED;
	}
}

/*
 * Judges the flow of an error, passage->record, by the current rules, once self is known to stand at that end
 * of it: errors about flows of others change nothing, and are told of as their sender's.
 */
static __always_inline int related_judge(struct passage *passage, struct conntrack_entry *place,
					 enum flow_end receiver, enum flow_end self)
{
	if (conntrack_endpoint(&passage->record, self) != passage->self.id)
		return DROP_ICMP_UNRELATED;
	return connection_recheck(passage, place, other_end(receiver));
}

/*
 * Finds the live record of the flow that an error is about (passage->record), judged by the current rules,
 * and the end that sent the quoted packet, which is the end that gets the error; self is that end, or with
 * self_sends the other one. peer is the end of the quoted packet that self is not. Else the reason why it is
 * dropped.
 */
static __always_inline int related_find(struct passage *passage, const struct ip_address *peer,
					bool self_sends, enum flow_end *receiver)
{
	struct conntrack_entry *place;

	flow_of(&passage->quoted,
		endpoint_network_contains(&passage->self, peer) ? passage->self.network_id : 0,
		&passage->flow);
	/* Explained is the first packet of a flow, which no error is. */
	place = config_explain ? NULL : conntrack_find(passage);
	if (!place)
		return DROP_ICMP_UNRELATED;
	*receiver = flow_sender(&passage->flow, &passage->record);
	return related_judge(passage, place, *receiver, self_sends ? other_end(*receiver) : *receiver);
}

/* The same when self, who got the quoted packet, knows its sender by another name than its own. */
static __always_inline int related_find_named(struct passage *passage, enum flow_end *receiver)
{
	const struct packet *quoted = &passage->quoted;
	struct conntrack_entry *place;

	nat_key_of_reply(quoted, &passage->alias.key);
	place = connection_named(passage);
	if (!place)
		return DROP_ICMP_UNRELATED;
	*receiver = named_end(&passage->record);
	return related_judge(passage, place, *receiver, other_end(*receiver));
}

/*
 * Readies a parsed packet for its flow: a later fragment gets the ports of its first one, and of ICMP only
 * echoes and errors go on. Errors belong to another packet's flow: then *is_error.
 */
static __always_inline enum drop_reason flow_prepare(struct passage *passage, bool *is_error)
{
	struct packet *packet = &passage->packet;
	enum drop_reason reason;

	if (packet->fragment == FRAGMENT_LATER)
		return fragment_follow(packet, passage->self.id, passage->now);
	if (packet->fragment == FRAGMENT_FIRST) {
		reason = fragment_prepare(passage->self.id);
		if (reason)
			return reason;
	}
	if (!packet_is_icmp(packet))
		return DROP_NONE;
	*is_error = icmp_is_error(packet);
	return *is_error || icmp_is_echo_request(packet) || icmp_is_echo_reply(packet) ? DROP_NONE
										       : DROP_ICMP_TYPE;
}
