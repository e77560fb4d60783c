/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * One record per flow. Whoever opened it was judged by the policy; what belongs to it passes in both
 * directions while it lives and while the policy epoch it was judged under is the current one. Drops what
 * belongs to no flow and can open none, and new flows when there is no room.
 */
#pragma once

#include <linux/errno.h>

#include "../maps/maps.h"
#include "account.h"
#include "config.h"
#include "nat_alias.h"
#include "parse.h"
#include "passage.h"

/* The flow that a packet belongs to. */
static __always_inline void flow_of(const struct packet *packet, __u32 scope, struct flow *flow)
{
	const struct ip_address *source = &packet->source, *destination = &packet->destination;
	bool swap = address_equal(source, destination) ? packet->source_port > packet->destination_port
						       : address_less(destination, source);

	flow->from_b = swap;
	if (swap) {
		words_copy(&flow->key.address_a, destination, sizeof(*destination));
		words_copy(&flow->key.address_b, source, sizeof(*source));
		flow->key.port_a = packet->destination_port;
		flow->key.port_b = packet->source_port;
	} else {
		words_copy(&flow->key, packet, PACKET_ENDS);
	}
	flow->key.scope = scope;
	flow->key.protocol = packet->protocol;
	__builtin_memset(flow->key.pad, 0, sizeof(flow->key.pad));
}

/* Which end of the record sent a packet of this flow. */
static __always_inline enum flow_end flow_sender(const struct flow *flow, const struct conntrack_entry *entry)
{
	return flow->from_b == !!(entry->flags & CONNTRACK_OPENER_IS_B) ? FLOW_OPENER : FLOW_RESPONDER;
}

/* Without a variable index, which the verifier of older kernels cannot bound in a map's value. */
static __always_inline __u32 conntrack_endpoint(const struct conntrack_entry *entry, enum flow_end end)
{
	return end == FLOW_OPENER ? entry->endpoint_id[FLOW_OPENER] : entry->endpoint_id[FLOW_RESPONDER];
}

static __always_inline __u32 conntrack_ifindex(const struct conntrack_entry *entry, enum flow_end end)
{
	return end == FLOW_OPENER ? entry->ifindex[FLOW_OPENER] : entry->ifindex[FLOW_RESPONDER];
}

static __always_inline __u64 conntrack_lifetime(__u8 protocol, __u32 flags)
{
	__u64 seconds;

	if (protocol == IPPROTO_TCP) {
		if ((flags & CONNTRACK_RESET) || (flags & (CONNTRACK_FIN_OPENER | CONNTRACK_FIN_RESPONDER)) ==
						     (CONNTRACK_FIN_OPENER | CONNTRACK_FIN_RESPONDER))
			seconds = config_tcp_closing_s;
		else if (flags & CONNTRACK_ESTABLISHED)
			seconds = config_tcp_established_s;
		else
			seconds = config_tcp_opening_s;
	} else if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
		seconds = config_icmp_s;
	} else {
		seconds = flags & CONNTRACK_REPLIED ? config_udp_replied_s : config_udp_s;
	}
	return seconds * NSEC_PER_SEC;
}

static __always_inline bool conntrack_closing(const struct conntrack_entry *entry)
{
	const __u32 fins = CONNTRACK_FIN_OPENER | CONNTRACK_FIN_RESPONDER;

	return (entry->flags & CONNTRACK_RESET) || (entry->flags & fins) == fins;
}

static __always_inline bool conntrack_key_equal(const struct conntrack_key *a, const struct conntrack_key *b)
{
	return words_equal(a, b, sizeof(*a));
}

/* epoch and nonce, as one word. */
typedef __u64 __attribute__((may_alias)) conntrack_stamp;

/*
 * Copies a record out of its place in the table, all but the key. False: it is no record of this key.
 *
 * The kernel may hand a removed element to another flow while a program still reads it. A place has a nonce
 * only from when its record stands in the table, whole (conntrack_create()), until somebody sets out to
 * remove it (conntrack_remove()). So one nonce before and after the copy is one record, and the key says
 * whose.
 *
 * What is written afterwards may still meet another flow's record. So a write is either one that does no harm
 * there, or one that the place takes only while it holds what was copied:
 *  - Flags of progress are added or taken off, and the time of expiry and the sequence number are moved
 *    (conntrack_refresh()). A stranger's record gets marks of progress, a lifetime that its own next packet
 *    sets right, and a number by which a RST does not count until its own packets have set it right. None of
 *    them says who may talk, and the sweep removes what no policy allows whatever its time.
 *  - Epoch and nonce say that the policy allows the flow and who removes its record. They change together,
 *    and only from what was copied (conntrack_exchange()); a stranger has another nonce. Otherwise a flow
 *    could be taken for judged by rules that never saw it, and an account be credited twice.
 */
static __always_inline bool conntrack_copy(const struct conntrack_entry *place,
					   const struct conntrack_key *key, struct conntrack_entry *record)
{
	const volatile __u32 *nonce = &place->nonce;
	__u32 before = *nonce;
	bool own;

	barrier();
	record->flags = place->flags;
	words_copy(&record->expires_ns, &place->expires_ns,
		   sizeof(*record) - offsetof(struct conntrack_entry, expires_ns));
	own = conntrack_key_equal(&place->key, key);
	barrier();
	return own && before && *nonce == before;
}

/* Gives the place the stamp of another record, if it still holds the one that was copied from it. */
static __always_inline bool conntrack_exchange(struct conntrack_entry *place, conntrack_stamp copied,
					       conntrack_stamp stamp)
{
	return __sync_val_compare_and_swap((conntrack_stamp *)&place->epoch, copied, stamp) == copied;
}

static __always_inline conntrack_stamp conntrack_stamp_of(const struct conntrack_entry *record)
{
	return *(const conntrack_stamp *)&record->epoch;
}

/*
 * Copies the live record of the packet's flow and returns its place, or NULL. What has expired is as good as
 * gone, whoever collects it.
 */
static __always_inline struct conntrack_entry *conntrack_find(struct passage *passage)
{
	struct conntrack_entry *place = bpf_map_lookup_elem(&qn_conntrack, &passage->flow.key);

	if (!place || !conntrack_copy(place, &passage->flow.key, &passage->record))
		return NULL;
	return passage->record.expires_ns > passage->now ? place : NULL;
}

/*
 * The sequence number that comes next from an end that is no container of ours, after this segment: what that
 * end sends in order moves it on, and what the container acknowledges. Anybody outside can put that end's
 * address on a segment, but must know this number to move it.
 */
static __always_inline __u32 conntrack_sequence(const struct conntrack_entry *record,
						const struct packet *packet, enum flow_end sender)
{
	__u32 next = record->sequence, acknowledged = packet->tcp_acknowledgement;

	if (!conntrack_endpoint(record, sender))
		return packet->tcp_sequence == next ? next + packet->tcp_length : next;
	if (conntrack_endpoint(record, other_end(sender)) || !(packet->tcp_flags & TCP_ACK))
		return next;
	/* What answers a SYN tells of a new beginning, wherever the one before has left off. */
	if (!(record->flags & CONNTRACK_ESTABLISHED) || (packet->tcp_flags & TCP_SYN) ||
	    (__s32)(acknowledged - next) > 0)
		return acknowledged;
	return next;
}

/*
 * Does a RST count? A container's own does: nobody else can send it. One from outside has to have the very
 * number that its receiver expects (RFC 5961 §3.2); else whoever guesses the ports could end what is idle.
 * Or, after its FIN, the number of that: some stacks send such a one, and Linux takes it (tcp_reset_check()).
 */
static __always_inline bool conntrack_reset_counts(const struct conntrack_entry *record,
						   const struct packet *packet, enum flow_end sender)
{
	__u32 fin = sender == FLOW_OPENER ? CONNTRACK_FIN_OPENER : CONNTRACK_FIN_RESPONDER;

	return conntrack_endpoint(record, sender) || !(record->flags & CONNTRACK_ESTABLISHED) ||
	       packet->tcp_sequence == record->sequence ||
	       ((record->flags & fin) && packet->tcp_sequence == record->sequence - 1);
}

/*
 * What a segment says of a connection that has seen a RST. After one that its receiver took, that end falls
 * silent, and the other has at most RSTs for what is still under way to it. So when both ends have sent
 * anything else since, the connection goes on as if there had been none.
 */
static __always_inline __u32 conntrack_reset_flags(__u32 flags, const struct packet *packet,
						   enum flow_end sender)
{
	const __u32 alive = CONNTRACK_ALIVE_OPENER | CONNTRACK_ALIVE_RESPONDER;

	if (packet->tcp_flags & TCP_RST)
		return (flags & ~alive) | CONNTRACK_RESET;
	if (!(flags & CONNTRACK_RESET) || (packet->tcp_flags & TCP_SYN))
		return flags;
	flags |= sender == FLOW_OPENER ? CONNTRACK_ALIVE_OPENER : CONNTRACK_ALIVE_RESPONDER;
	return (flags & alive) == alive ? flags & ~(alive | CONNTRACK_RESET) : flags;
}

/* Takes note of a packet that passes. Writes only what changed: the line is shared between CPUs. */
static __always_inline void conntrack_refresh(struct conntrack_entry *place, const struct passage *passage,
					      enum flow_end sender)
{
	const struct conntrack_entry *record = &passage->record;
	const struct packet *packet = &passage->packet;
	const __u32 known = record->flags;
	__u32 flags = known, sequence;
	__u64 expires;

	if (sender == FLOW_RESPONDER)
		flags |= CONNTRACK_REPLIED;
	if (packet->protocol == IPPROTO_TCP && packet->fragment != FRAGMENT_LATER) {
		/* It passes, for its receiver to judge, and is no sign of life. */
		if ((packet->tcp_flags & TCP_RST) && !conntrack_reset_counts(record, packet, sender))
			return;
		sequence = conntrack_sequence(record, packet, sender);
		if (sequence != record->sequence)
			place->sequence = sequence;
		flags = conntrack_reset_flags(flags, packet, sender);
		if (packet->tcp_flags & TCP_FIN)
			flags |= sender == FLOW_OPENER ? CONNTRACK_FIN_OPENER : CONNTRACK_FIN_RESPONDER;
		if (sender == FLOW_OPENER && (flags & CONNTRACK_REPLIED) && (packet->tcp_flags & TCP_ACK))
			flags |= CONNTRACK_ESTABLISHED;
		/* It begins anew, of what its other end has forgotten: by the numbers that come now. */
		if (conntrack_endpoint(record, sender) && !conntrack_endpoint(record, other_end(sender)) &&
		    packet_opens(packet))
			flags &= ~CONNTRACK_ESTABLISHED;
	}
	if (flags & ~known)
		__sync_fetch_and_or(&place->flags, flags & ~known);
	if (known & ~flags)
		__sync_fetch_and_and(&place->flags, ~(known & ~flags));
	expires = passage->now + conntrack_lifetime(packet->protocol, flags);
	/* A lifetime may shrink (FIN, RST); growth by less than a second is not worth the write. */
	if (expires < record->expires_ns || expires - record->expires_ns > NSEC_PER_SEC)
		place->expires_ns = expires;
}

/* Whose account a record is on: the opener's, or for one from outside the responder's, kept apart from its
 * own. */
struct payer {
	__u32 endpoint_id;
	bool inbound;
};

static __always_inline struct payer conntrack_payer(const struct conntrack_entry *entry)
{
	__u32 opener = entry->endpoint_id[FLOW_OPENER];

	return opener ? (struct payer){.endpoint_id = opener}
		      : (struct payer){.endpoint_id = entry->endpoint_id[FLOW_RESPONDER], .inbound = true};
}

/* The counter that a payer's flows are in. The verifier must see a bound that the compiler knows and leaves
 * out. */
static __always_inline __u32 *flow_counter(struct flow_count *count, struct payer payer)
{
	__u32 index = payer.inbound;

	asm volatile("%0 &= 1" : "+r"(index));
	return &count->flows + index;
}

/* The account of an endpoint; NULL: there is no room for one. */
static __always_inline struct flow_count *flow_account(__u32 endpoint_id)
{
	struct flow_count *count = bpf_map_lookup_elem(&qn_flow_counts, &endpoint_id);
	struct flow_count none = {};

	if (count)
		return count;
	bpf_map_update_elem(&qn_flow_counts, &endpoint_id, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&qn_flow_counts, &endpoint_id);
}

/* Adds to what the outside has open. False: it has as much as it may. */
static __attribute__((noinline)) int inbound_total_add(__s32 change)
{
	struct flow_count *total = flow_account(0);

	if (!total)
		return 0;
	if (change > 0 && config_inbound_flows && (__s32)total->inbound >= (__s32)config_inbound_flows)
		return 0;
	__sync_fetch_and_add(&total->inbound, (__u32)change);
	return 1;
}

/*
 * Removes the record that was copied from the place, and takes it off its account. Of all who try at once one
 * does so: whoever takes its nonce away. Until that one has deleted it nobody can put another in its place,
 * so what the key leads to is this record.
 */
static __always_inline void conntrack_remove(struct conntrack_entry *place, const struct conntrack_key *key,
					     const struct conntrack_entry *record)
{
	struct payer payer = conntrack_payer(record);
	struct flow_count *count;
	long error;

	if (!conntrack_exchange(place, conntrack_stamp_of(record), 0))
		return;
	error = bpf_map_delete_elem(&qn_conntrack, key);
	if (error) {
		/* The table is locked by what this program interrupted: the sweep will do it. */
		if (error != -ENOENT)
			conntrack_exchange(place, 0, conntrack_stamp_of(record));
		return;
	}
	/* After the record: no record is ever without its alias. */
	if (record_is_translated(record))
		nat_release_of(key, record);
	count = bpf_map_lookup_elem(&qn_flow_counts, &payer.endpoint_id);
	if (count)
		__sync_fetch_and_add(flow_counter(count, payer), (__u32)-1);
	if (payer.inbound)
		inbound_total_add(-1);
}
