/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Either end of TCP connections that nobody has a socket for: each segment is turned round into the next one.
 * Which one it is stands in the urgent pointer, that no one on the way looks at. What is no such segment
 * passes.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* As in openings.c. */
#define STEP_MARK 0x5e00
#define FIRST	  1000

#define SYN 0x02
#define PSH 0x08
#define ACK 0x10
#define FIN 0x01

struct step {
	__u8 flags;
	__u8 sequence, acknowledgement; /* from FIRST on */
};

/* Opened, a question, an answer, closed by the opener; without data, so that the numbers stay few. */
static const struct step steps[] = {
    {SYN, 0, 0},       {SYN | ACK, 0, 1}, {ACK | PSH, 1, 1}, {ACK | PSH, 1, 1},
    {FIN | ACK, 1, 1}, {FIN | ACK, 1, 2}, {ACK, 2, 2},
};
#define STEPS (sizeof(steps) / sizeof(*steps))

static __always_inline long swap(struct __sk_buff *skb, __u32 offset, __u32 length)
{
	__u8 bytes[2 * sizeof(struct in6_addr)], turned[sizeof(bytes)];

	if (bpf_skb_load_bytes(skb, offset, bytes, 2 * length))
		return -1;
	__builtin_memcpy(turned, bytes + length, length);
	__builtin_memcpy(turned + length, bytes, length);
	return bpf_skb_store_bytes(skb, offset, turned, 2 * length, 0);
}

/* The segment that follows, in place; false: there is none. */
static __always_inline bool turn(struct tcphdr *tcp)
{
	__u32 next = bpf_ntohs(tcp->urg_ptr) - STEP_MARK + 1;
	struct tcphdr before = *tcp;
	__s64 sum;

	if (next >= STEPS)
		return false;
	before.check = 0;
	tcp->source = before.dest;
	tcp->dest = before.source;
	tcp->seq = bpf_htonl(FIRST + steps[next].sequence);
	tcp->ack_seq = bpf_htonl(FIRST + steps[next].acknowledgement);
	((__u8 *)tcp)[13] = steps[next].flags;
	tcp->urg_ptr = bpf_htons((__u16)(STEP_MARK + next));
	sum = (__u16)~tcp->check;
	tcp->check = 0;
	sum = bpf_csum_diff((__be32 *)&before, sizeof(before), (__be32 *)tcp, sizeof(*tcp), (__u32)sum);
	sum = (sum & 0xffff) + ((sum >> 16) & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	tcp->check = (__u16)~sum;
	return true;
}

SEC("tc")
int bench_turn(struct __sk_buff *skb)
{
	bool ip4 = skb->protocol == bpf_htons(ETH_P_IP);
	__u32 l4 = ETH_HLEN + (ip4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	struct tcphdr tcp;

	if ((!ip4 && skb->protocol != bpf_htons(ETH_P_IPV6)) ||
	    bpf_skb_load_bytes(skb, l4, &tcp, sizeof(tcp)) || (bpf_ntohs(tcp.urg_ptr) & 0xff00) != STEP_MARK)
		return TC_ACT_OK;
	if (!turn(&tcp) || bpf_skb_store_bytes(skb, l4, &tcp, sizeof(tcp), 0) || swap(skb, 0, ETH_ALEN) ||
	    (ip4 ? swap(skb, ETH_HLEN + 12, 4) : swap(skb, ETH_HLEN + 8, 16)))
		return TC_ACT_SHOT;
	return (int)bpf_redirect(skb->ifindex, 0);
}

char _license[] SEC("license") = "Dual MIT/GPL";
