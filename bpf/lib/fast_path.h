/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Packets of established, translated flows on their way in, from the uplink's driver straight into the
 * container's veth: no packet of the kernel's is made before the container's own. It takes what needs no
 * thought, and leaves to from_uplink whatever is new, ends a connection, is to be judged again, fragmented,
 * or too large. State is kept by the same code in both, so that a flow may change between them at any packet.
 */
#pragma once

#include "connection.h"
#include "headers.h"

/* Of the network header, as far as it is asked for here. */
#define IP4_MAY_BE_FRAGMENT 0x3fff

/* Every network carries as much (RFC 791 §3.2): what is no larger need not be compared with what it carries.
 */
#define MTU_MIN 576

/* What stands in the frame; pointers into it are made anew from these where they are used. */
struct fast_frame {
	__u32 l3, l4;	 /* offsets of the headers */
	__u32 l4_length; /* of the transport, header included */
	__be16 checksum; /* of the transport */
};

/*
 * Is the checksum still to be made? Senders on this machine leave that to the card, which no XDP program is
 * told of; what is there then is the sum of the pseudo header. Of the packets that have a checksum one in
 * 65536 looks the same, and takes the longer way. What a tunnel carries is not looked at.
 */
static __always_inline bool checksum_seems_partial(const struct packet *packet,
						   const struct fast_frame *frame)
{
	__u16 pseudo = sum_fold(sum_address(&packet->source) + sum_address(&packet->destination) +
				bpf_htons(packet->protocol) + bpf_htons((__u16)frame->l4_length));

	return pseudo == frame->checksum || (pseudo == 0xffff && !frame->checksum);
}

/* Ports, and whether the packet may go this way as far as its transport tells. */
static __always_inline bool fast_transport(void *data, void *end, struct packet *packet,
					   struct fast_frame *frame)
{
	void *l4 = data + frame->l4;

	if (packet->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = l4;
		__u8 flags;

		if ((void *)(tcp + 1) > end || frame->l4_length < sizeof(*tcp) || tcp->doff < 5 ||
		    tcp->doff * 4U > frame->l4_length)
			return false;
		flags = ((__u8 *)tcp)[13];
		packet->tcp_flags = flags;
		packet->source_port = tcp->source;
		packet->destination_port = tcp->dest;
		tcp_numbers(tcp, frame->l4_length, packet);
		frame->checksum = tcp->check;
		return (flags & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK)) == TCP_ACK;
	}
	if (packet->protocol == IPPROTO_UDP) {
		struct udphdr *udp = l4;

		if ((void *)(udp + 1) > end || bpf_ntohs(udp->len) < sizeof(*udp) ||
		    bpf_ntohs(udp->len) > frame->l4_length)
			return false;
		packet->source_port = udp->source;
		packet->destination_port = udp->dest;
		frame->checksum = udp->check;
		/* RFC 8200 §8.1: of IPv6 there is always one. */
		return packet->family == 4 || udp->check;
	}
	return false;
}

/* Completes the packet behind its network header; false: it is for the other way. */
static __always_inline bool fast_parse(void *data, void *end, struct packet *packet, struct fast_frame *frame)
{
	frame->l3 = packet->network_offset;
	if (packet->family == 4) {
		struct iphdr *ip = data + sizeof(struct ethhdr);

		if ((void *)(ip + 1) > end || ip->ihl != 5 || (ip->frag_off & bpf_htons(IP4_MAY_BE_FRAGMENT)))
			return false;
		frame->l4 = frame->l3 + sizeof(*ip);
		frame->l4_length = bpf_ntohs(ip->tot_len) - sizeof(*ip);
		packet->hop_limit = ip->ttl;
	} else {
		struct ipv6hdr *ip = data + sizeof(struct ethhdr);

		if ((void *)(ip + 1) > end)
			return false;
		frame->l4 = frame->l3 + sizeof(*ip);
		frame->l4_length = bpf_ntohs(ip->payload_len);
		packet->hop_limit = ip->hop_limit;
	}
	packet->transport_offset = frame->l4;
	/* No packet is as long, but the verifier must see it. */
	if (frame->l4 > 128 || frame->l4_length > 0xffff)
		return false;
	return fast_transport(data, end, packet, frame) && packet->hop_limit > 1;
}

/*
 * The live record of the packet's flow, if it is one between a container that takes frames and the outside,
 * needs no judgement, and says after this packet no more than before; its place. The container becomes self.
 */
static __always_inline struct conntrack_entry *fast_find(struct passage *passage, enum flow_end *sender)
{
	const struct conntrack_entry *record = &passage->record;
	struct packet *packet = &passage->packet;
	struct conntrack_entry *place;
	enum flow_end named;
	__u32 settled;

	nat_key_of_packet(packet, &passage->alias.key);
	place = connection_named(passage);
	if (!place)
		return NULL;
	named = named_end(record);
	*sender = other_end(named);
	if (conntrack_endpoint(record, *sender) || conntrack_closing(record) ||
	    !epoch_is_judged(record->epoch, policy_epoch()))
		return NULL;
	if (*sender == FLOW_OPENER && (record->flags & CONNTRACK_OPENER_IS_HOST))
		return NULL;
	settled =
	    packet->protocol == IPPROTO_TCP ? CONNTRACK_REPLIED | CONNTRACK_ESTABLISHED : CONNTRACK_REPLIED;
	if ((record->flags & settled) != settled)
		return NULL;
	if (!endpoint_of_interface(conntrack_ifindex(record, named), &passage->self) ||
	    passage->self.id != conntrack_endpoint(record, named) ||
	    /* A limit is kept by a queue that this way does not pass. */
	    (passage->self.flags & (ENDPOINT_TAKES_FRAMES | ENDPOINT_LIMITED_INGRESS)) !=
		ENDPOINT_TAKES_FRAMES)
		return NULL;
	return place;
}

/* True: the packet is on its way, and xdp's verdict is passage->action. */
static __always_inline bool fast_path(struct xdp_md *xdp, struct passage *passage)
{
	void *data = (void *)(long)xdp->data, *end = (void *)(long)xdp->data_end;
	struct packet *packet = &passage->packet;
	struct fast_frame frame = {};
	struct conntrack_entry *place;
	struct ip_address to;
	struct header_change change = {.to = &to, .may_be_none = true};
	enum flow_end sender;
	__u32 mtu = 0;

	/* What is sent to several hosts is for the stack to refuse. */
	if (data + sizeof(struct ethhdr) > end || (*(__u8 *)data & 1))
		return false;
	/* Of a frame in several parts this is the first. */
	if (passage->length != (__u32)(end - data) || !fast_parse(data, end, packet, &frame) ||
	    (frame.checksum && checksum_seems_partial(packet, &frame)))
		return false;
	/* To a tick: seconds are what counts here. */
	passage->now = bpf_ktime_get_coarse_ns();
	place = fast_find(passage, &sender);
	if (!place)
		return false;
	if (passage->length > MTU_MIN + sizeof(struct ethhdr) &&
	    bpf_check_mtu(xdp, passage->self.ifindex, &mtu, 0, 0))
		return false;
	flow_end_of(&passage->flow.key, &passage->record, named_end(&passage->record), &to, &change.to_port);
	if (!headers_rewrite(data, end, packet, PACKET_DESTINATION, &change))
		return false;
	__builtin_memcpy(data, passage->self.mac, ETH_ALEN);
	__builtin_memcpy(data + ETH_ALEN, passage->self.gateway_mac, ETH_ALEN);
	conntrack_refresh(place, passage, sender);
	passage->action = (int)bpf_redirect(passage->self.ifindex, 0);
	return true;
}
