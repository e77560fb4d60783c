/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Puts other addresses and ports into a packet and sets every checksum right that covers them, whether it is
 * there already or left to the network card. A failure may leave a packet half written: drop it.
 */
#pragma once

#include "checksum.h"
#include "crc32c.h"
#include "headers.h"

/*
 * Of an IPv6 address the pseudo header's part of a complete checksum must not be taken off twice: the sum of
 * the packet stays what it is. Kernels before 6.16 do not know the flag, and do so with BPF_F_PSEUDO_HDR,
 * which only a checksum that is left to the card needs.
 */
#define F_IPV6 (1ULL << 7)

struct rewrite {
	enum packet_end end;
	struct ip_address from, to;
	__be16 from_port, to_port; /* or ICMP identifiers */
};

static __always_inline __u32 address_offset(const struct packet *packet, enum packet_end end)
{
	if (packet->family == 4)
		return packet->network_offset + (end == PACKET_SOURCE ? 12 : 16);
	return packet->network_offset + (end == PACKET_SOURCE ? 8 : 24);
}

static __always_inline __u32 port_offset(const struct packet *packet, enum packet_end end)
{
	if (packet_is_icmp(packet))
		return packet->transport_offset + 4; /* the identifier, whichever end it stands for */
	return packet->transport_offset + (end == PACKET_SOURCE ? 0 : 2);
}

/* The address, and of IPv4 the header's checksum. flags: of the write, where nothing else makes up for it. */
static __always_inline long rewrite_address(struct __sk_buff *skb, const struct packet *packet,
					    const struct rewrite *rewrite, __u64 flags)
{
	__u32 at = address_offset(packet, rewrite->end);

	if (packet->family == 6)
		return bpf_skb_store_bytes(skb, at, &rewrite->to, sizeof(rewrite->to), flags);
	if (bpf_l3_csum_replace(skb, packet->network_offset + 10, rewrite->from.word[3], rewrite->to.word[3],
				4))
		return -1;
	return bpf_skb_store_bytes(skb, at, &rewrite->to.word[3], 4, 0);
}

static __always_inline enum drop_reason rewrite_port(struct __sk_buff *skb, const struct packet *packet,
						     const struct rewrite *rewrite, __u64 flags)
{
	return bpf_skb_store_bytes(skb, port_offset(packet, rewrite->end), &rewrite->to_port,
				   sizeof(rewrite->to_port), flags)
		   ? DROP_DELIVERY_FAILED
		   : DROP_NONE;
}

/* What the change of address means for a checksum with a pseudo header. */
static __always_inline long rewrite_pseudo(struct __sk_buff *skb, const struct packet *packet, __u32 at,
					   const struct rewrite *rewrite, __u64 flags)
{
	__s64 difference;
	long error;

	flags |= BPF_F_PSEUDO_HDR;
	if (packet->family == 4)
		return bpf_l4_csum_replace(skb, at, rewrite->from.word[3], rewrite->to.word[3], flags | 4);
	difference = bpf_csum_diff((__be32 *)&rewrite->from, sizeof(rewrite->from), (__be32 *)&rewrite->to,
				   sizeof(rewrite->to), 0);
	error = bpf_l4_csum_replace(skb, at, 0, (__u32)difference, flags | F_IPV6);
	if (error != -EINVAL)
		return error;
	if (!checksum_is_partial(skb))
		flags &= ~BPF_F_PSEUDO_HDR;
	return bpf_l4_csum_replace(skb, at, 0, (__u32)difference, flags);
}

/* What becomes of the first four bytes, which are the ports. */
static __always_inline __u32 sctp_change(const struct rewrite *rewrite)
{
	__u32 change = (__u32)(rewrite->from_port ^ rewrite->to_port);

	return rewrite->end == PACKET_SOURCE ? change : change << 16;
}

/*
 * A port of SCTP, whose checksum covers the whole packet and no address (RFC 9260 §6.8). One that is left to
 * the card is made of what the packet will hold then.
 */
static __always_inline enum drop_reason rewrite_sctp(struct __sk_buff *skb, const struct packet *packet,
						     const struct rewrite *rewrite)
{
	__u32 length = packet->network_offset + packet->length - packet->transport_offset;
	__u32 change = sctp_change(rewrite), crc;
	__u32 at = packet->transport_offset + checksum_offset(IPPROTO_SCTP);

	if (!change)
		return DROP_NONE;
	if (packet->fragment != FRAGMENT_NONE)
		return DROP_NAT_PROTOCOL;
	if (!checksum_is_partial(skb)) {
		if (bpf_skb_load_bytes(skb, at, &crc, sizeof(crc)))
			return DROP_DELIVERY_FAILED;
		crc ^= crc32c_difference(change, length);
		if (bpf_skb_store_bytes(skb, at, &crc, sizeof(crc), BPF_F_RECOMPUTE_CSUM))
			return DROP_DELIVERY_FAILED;
	}
	return rewrite_port(skb, packet, rewrite, BPF_F_RECOMPUTE_CSUM);
}

/*
 * A datagram whose checksum is there, while the one of a packet inside of it is left to the card (local
 * checksum offload): its sum is made of what the packet inside will be, and changes as any other. The kernel
 * would take it for one that is left itself. Of such a packet it keeps no sum that would have to be set
 * right.
 */
static __always_inline enum drop_reason rewrite_offloaded(struct __sk_buff *skb, const struct packet *packet,
							  const struct rewrite *rewrite, __u16 before)
{
	struct header_change change = {.from = &rewrite->from,
				       .to = &rewrite->to,
				       .from_port = rewrite->from_port,
				       .to_port = rewrite->to_port};
	__u16 after = transport_checksum(packet, before, &change);

	if (rewrite_address(skb, packet, rewrite, 0) ||
	    bpf_skb_store_bytes(skb, packet->transport_offset + checksum_offset(IPPROTO_UDP), &after,
				sizeof(after), 0))
		return DROP_DELIVERY_FAILED;
	return rewrite_port(skb, packet, rewrite, 0);
}

/* One end of a packet; of a later fragment the address alone, of an ICMP error no port. */
static __always_inline enum drop_reason rewrite_packet(struct __sk_buff *skb, const struct packet *packet,
						       const struct rewrite *rewrite)
{
	__u32 checksum = packet->transport_offset + checksum_offset(packet->protocol);
	/* No checksum of SCTP's makes up for the address, and none in a later fragment. */
	bool alone = packet->protocol == IPPROTO_SCTP || packet->fragment == FRAGMENT_LATER;
	__u64 flags = 0;
	__u16 before;

	if (packet->protocol == IPPROTO_UDP && !alone) {
		if (bpf_skb_load_bytes(skb, checksum, &before, sizeof(before)))
			return DROP_DELIVERY_FAILED;
		/* A zero means "none", and stays (RFC 768; RFC 6935 for tunnels over IPv6). */
		alone = !before;
		flags = BPF_F_MARK_MANGLED_0;
		if (!alone && checksum_is_partial(skb) && !checksum_is_left(skb, packet))
			return rewrite_offloaded(skb, packet, rewrite, before);
	}
	if (rewrite_address(skb, packet, rewrite, alone ? BPF_F_RECOMPUTE_CSUM : 0))
		return DROP_DELIVERY_FAILED;
	if (packet->fragment == FRAGMENT_LATER)
		return DROP_NONE;
	if (packet->protocol == IPPROTO_SCTP)
		return rewrite_sctp(skb, packet, rewrite);
	if (alone)
		return rewrite_port(skb, packet, rewrite, BPF_F_RECOMPUTE_CSUM);
	if (packet->protocol != IPPROTO_ICMP && rewrite_pseudo(skb, packet, checksum, rewrite, flags))
		return DROP_DELIVERY_FAILED;
	if (icmp_is_error(packet) || rewrite->from_port == rewrite->to_port)
		return DROP_NONE;
	if (bpf_l4_csum_replace(skb, checksum, rewrite->from_port, rewrite->to_port, flags | 2))
		return DROP_DELIVERY_FAILED;
	return rewrite_port(skb, packet, rewrite, 0);
}

/* As a router does. */
static __always_inline enum drop_reason rewrite_hop_limit(struct __sk_buff *skb, const struct packet *packet)
{
	__u8 less = packet->hop_limit - 1;

	if (packet->family == 6)
		return bpf_skb_store_bytes(skb, packet->network_offset + 7, &less, 1, BPF_F_RECOMPUTE_CSUM)
			   ? DROP_DELIVERY_FAILED
			   : DROP_NONE;
	/* The checksum is of 16-bit words: this one has the protocol in its other half. */
	if (bpf_l3_csum_replace(skb, packet->network_offset + 10, bpf_htons((__u16)(packet->hop_limit << 8)),
				bpf_htons((__u16)(less << 8)), 2) ||
	    bpf_skb_store_bytes(skb, packet->network_offset + 8, &less, 1, 0))
		return DROP_DELIVERY_FAILED;
	return DROP_NONE;
}

/* Changes 16 bits inside of an ICMP error, and its checksum with them. */
static __always_inline long rewrite_quoted_word(struct __sk_buff *skb, __u32 at, __u32 checksum, __be16 from,
						__be16 to)
{
	if (from == to)
		return 0;
	if (bpf_l4_csum_replace(skb, checksum, from, to, 2))
		return -1;
	return bpf_skb_store_bytes(skb, at, &to, sizeof(to), 0);
}

/* The same of SCTP's, which is of the whole packet that the quote is the start of. */
static __always_inline long rewrite_quoted_sctp(struct __sk_buff *skb, const struct packet *quoted,
						__u32 error_checksum, const struct rewrite *rewrite)
{
	__u32 at = quoted->transport_offset + checksum_offset(IPPROTO_SCTP), before, after;
	__u32 length = quoted->network_offset + quoted->length - quoted->transport_offset;

	if (quoted->fragment != FRAGMENT_NONE || bpf_skb_load_bytes(skb, at, &before, sizeof(before)))
		return 0;
	after = before ^ crc32c_difference(sctp_change(rewrite), length);
	if (bpf_l4_csum_replace(skb, error_checksum, before, after, 4))
		return -1;
	return bpf_skb_store_bytes(skb, at, &after, sizeof(after), 0);
}

/*
 * What a checksum becomes when address and port change under it, if it is in the quote at all: of TCP only
 * the ports need be there (RFC 792).
 */
static __always_inline long rewrite_quoted_checksum(struct __sk_buff *skb, const struct packet *quoted,
						    __u32 error_checksum, const struct rewrite *rewrite)
{
	__u32 at = quoted->transport_offset + checksum_offset(quoted->protocol);
	struct {
		struct ip_address address;
		__be32 port;
	} from = {.port = rewrite->from_port}, to = {.port = rewrite->to_port};
	__be16 before, after;
	__s64 sum;

	if (quoted->protocol == IPPROTO_SCTP)
		return rewrite_quoted_sctp(skb, quoted, error_checksum, rewrite);
	if (bpf_skb_load_bytes(skb, at, &before, sizeof(before)))
		return 0;
	if (quoted->protocol == IPPROTO_UDP && !before)
		return 0;
	if (quoted->protocol != IPPROTO_ICMP) {
		from.address = rewrite->from;
		to.address = rewrite->to;
	}
	sum = bpf_csum_diff((__be32 *)&from, sizeof(from), (__be32 *)&to, sizeof(to), (__u16)~before);
	after = (__be16)~sum_fold((__u64)sum);
	if (quoted->protocol == IPPROTO_UDP && !after)
		after = 0xffff;
	return rewrite_quoted_word(skb, at, error_checksum, before, after);
}

/* One end of the packet that an ICMP error quotes. */
static __always_inline enum drop_reason rewrite_quoted(struct __sk_buff *skb, const struct packet *error,
						       const struct packet *quoted,
						       const struct rewrite *rewrite)
{
	__u32 checksum = error->transport_offset + checksum_offset(error->protocol);
	__s64 difference;

	if (rewrite_address(skb, quoted, rewrite, 0))
		return DROP_DELIVERY_FAILED;
	/* In IPv4 the quoted header's own checksum makes up for the address. */
	if (quoted->family == 6) {
		difference = bpf_csum_diff((__be32 *)&rewrite->from, sizeof(rewrite->from),
					   (__be32 *)&rewrite->to, sizeof(rewrite->to), 0);
		if (bpf_l4_csum_replace(skb, checksum, 0, (__u32)difference, 0))
			return DROP_DELIVERY_FAILED;
	}
	if (rewrite_quoted_checksum(skb, quoted, checksum, rewrite) ||
	    rewrite_quoted_word(skb, port_offset(quoted, rewrite->end), checksum, rewrite->from_port,
				rewrite->to_port))
		return DROP_DELIVERY_FAILED;
	return DROP_NONE;
}
