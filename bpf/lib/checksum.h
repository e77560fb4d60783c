/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A sender may leave the checksum to the network card, and says where it is to be written (CHECKSUM_PARTIAL,
 * include/linux/skbuff.h). A container can say anything (AF_PACKET's PACKET_VNET_HDR), and have the kernel
 * overwrite the port that was judged after it was judged. Drops what does not point at the checksum of its
 * own transport header, or behind it.
 */
#pragma once

#include "fragment.h"
#include "kernel.h"
#include "parse.h"

#define CHECKSUM_PARTIAL 3

/* Where the checksum stands in a transport header. */
static __always_inline __u32 checksum_offset(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
		return 6;
	case IPPROTO_SCTP:
		return 8;
	default:
		return 2; /* ICMP, ICMPv6 */
	}
}

/* Is the checksum left to the card? */
static __always_inline bool checksum_is_partial(struct __sk_buff *skb)
{
	struct sk_buff *kernel = kernel_packet(skb);

	if (kernel)
		return BPF_CORE_READ_BITFIELD(kernel, ip_summed) == CHECKSUM_PARTIAL;
	kernel = (struct sk_buff *)skb;
	return BPF_CORE_READ_BITFIELD_PROBED(kernel, ip_summed) == CHECKSUM_PARTIAL;
}

/* Where the checksum stands that is left to the card, from the frame's start. */
static __always_inline __u32 checksum_left_at(struct __sk_buff *skb)
{
	struct sk_buff *kernel = kernel_packet(skb);

	if (kernel)
		return (__u32)(kernel->csum_start - (__u32)(kernel->data - kernel->head) +
			       kernel->csum_offset);
	kernel = (struct sk_buff *)skb;
	return (__u32)(BPF_CORE_READ(kernel, csum_start) -
		       (__u32)(BPF_CORE_READ(kernel, data) - BPF_CORE_READ(kernel, head)) +
		       BPF_CORE_READ(kernel, csum_offset));
}

/*
 * Is the packet's own checksum left to the card? That of a datagram may be there already, while the one of a
 * packet inside of it is not (local checksum offload, Documentation/networking/checksum-offloads.rst). Of
 * what is to be cut into pieces all are left, as the kernel's own tunnels have it; whoever makes up another
 * kind hurts himself.
 */
static __always_inline bool checksum_is_left(struct __sk_buff *skb, const struct packet *packet)
{
	if (!checksum_is_partial(skb))
		return false;
	return packet->protocol != IPPROTO_UDP || skb->gso_size ||
	       checksum_left_at(skb) == packet->transport_offset + checksum_offset(IPPROTO_UDP);
}

/*
 * For every packet on its way to somebody else. On the way into a container of this node nobody completes a
 * checksum, unless it waits in the queue of an interface that somebody has told to (ethtool -K tx off); but
 * that container may send it on, after rules of its own have judged it.
 */
static __always_inline enum drop_reason checksum_check(struct __sk_buff *skb, const struct packet *packet)
{
	__u32 at, transport = packet->transport_offset;

	if (!checksum_is_partial(skb))
		return DROP_NONE;
	at = checksum_left_at(skb);
	if (at > skb->len)
		return DROP_CHECKSUM_OFFSET;
	if (packet->fragment == FRAGMENT_LATER)
		return at >= transport ? DROP_NONE : DROP_CHECKSUM_OFFSET;
	if (at == transport + checksum_offset(packet->protocol) ||
	    (!icmp_is_error(packet) && at >= transport + transport_header_length(packet->protocol)))
		return DROP_NONE;
	return DROP_CHECKSUM_OFFSET;
}
