// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * tcx/clsact egress of the host's side of a container's veth: what reaches a container through the host's
 * stack, that is from the host itself, from outside, and copies of multicast. What one container sends
 * another on this node is judged by from_container, on both sides, and comes here only if the receiver has a
 * limit of bandwidth, as does what from_uplink hands over: by the queue behind this hook.
 */
#include "lib/account.h"
#include "lib/connection.h"
#include "lib/deliver.h"
#include "lib/destination.h"
#include "lib/icmp_error.h"
#include "lib/parse.h"
#include "lib/queue.h"
#include "lib/stand_in.h"

/*
 * Who sent it, told by where it entered the node, not by what it says. ingress_ifindex is 0 for what the
 * node's own sockets send; a container's interface proves that container; anything else is the outside, which
 * cannot have an address of ours.
 */
static __always_inline enum drop_reason source_party(struct __sk_buff *skb, const struct packet *packet,
						     struct party *source)
{
	struct endpoint sender __attribute__((aligned(8)));
	struct party owner;

	if (!skb->ingress_ifindex) {
		*source = (struct party){.identity = IDENTITY_HOST};
		return DROP_NONE;
	}
	if (endpoint_of_interface(skb->ingress_ifindex, &sender)) {
		party_from_endpoint(source, &sender);
		/* Its own address, or the node's, if somebody else's masquerading has put that in its place.
		 */
		if (endpoint_has_address(&sender, &packet->source))
			return DROP_NONE;
		if (party_of_address(&packet->source, &owner) || owner.identity != IDENTITY_HOST)
			return DROP_BAD_SOURCE;
		return DROP_NONE;
	}
	if (address_classify(&packet->source) != ADDRESS_UNICAST)
		return DROP_BAD_SOURCE;
	if (party_of_address(&packet->source, source) || source->identity != IDENTITY_WORLD)
		return DROP_BAD_SOURCE;
	return DROP_NONE;
}

/* A copy that from_container made for this receiver: no connection, so each one is judged. */
static __always_inline enum drop_reason handle_copy(struct passage *passage)
{
	const struct party *source = &passage->outcome.source;

	if (!source->endpoint_id || source->network_id != passage->self.network_id)
		return DROP_NOT_FOR_ENDPOINT;
	if (passage->packet.fragment != FRAGMENT_NONE)
		return DROP_FRAGMENT_WITHOUT_FIRST;
	if (icmp_is_error(&passage->packet))
		return DROP_ICMP_UNRELATED;
	return policy_judge_packet(passage);
}

static __always_inline enum drop_reason handle_icmp_error(struct __sk_buff *skb, struct passage *passage)
{
	const struct conntrack_entry *record = &passage->record;
	__u32 sender_id = passage->outcome.source.endpoint_id;
	enum flow_end receiver;
	int reason;

	reason = parse_quoted(skb, passage);
	if (reason)
		return reason;
	reason = related_find(passage, &passage->quoted.destination, false, &receiver);
	if (reason)
		return reason;
	/* Any router on the way may complain of a flow to the outside, but nobody of one to another endpoint.
	 */
	if (conntrack_endpoint(record, other_end(receiver)) != sender_id || record_is_translated(record))
		return DROP_ICMP_UNRELATED;
	return DROP_NONE;
}

static __always_inline enum drop_reason handle_flow(struct __sk_buff *skb, struct passage *passage)
{
	struct outcome *outcome = &passage->outcome;
	struct party source = outcome->source;
	struct conntrack_entry *place = NULL;
	enum flow_end sender;
	int reason;

	reason = connection_find(passage, false, &sender, &place);
	if (reason == CONNECTION_KNOWN && place) {
		/* A flow belongs to who opened it: nobody else may send under its addresses. */
		if (conntrack_endpoint(&passage->record, sender) != source.endpoint_id)
			return DROP_BAD_SOURCE;
		/* Whoever it is, it knows this end by another name, and is translated on another way. */
		if (record_is_translated(&passage->record))
			return DROP_NAT_CONFLICT;
		conntrack_refresh(place, passage, sender);
		return DROP_NONE;
	}
	if (reason != CONNECTION_NEW)
		return reason;
	outcome->source = source;
	party_from_endpoint(&outcome->destination, &passage->self);
	return connection_open(skb, passage);
}

static __always_inline enum drop_reason handle_ip(struct __sk_buff *skb, struct passage *passage)
{
	const struct endpoint *self = &passage->self;
	struct packet *packet = &passage->packet;
	enum drop_reason reason;
	bool flood = false, is_error = false;

	reason = parse_ip_fixed(skb, packet);
	if (reason)
		return reason;
	reason = source_party(skb, packet, &passage->outcome.source);
	if (reason)
		return reason;
	passage->epoch = policy_epoch();
	if (!endpoint_has_address(self, &packet->destination)) {
		reason = destination_check(&packet->destination, self, &flood);
		if (reason)
			return reason;
		return flood ? handle_copy(passage) : DROP_NOT_FOR_ENDPOINT;
	}

	passage->now = bpf_ktime_get_coarse_ns();
	passage->scope = endpoint_network_contains(self, &packet->source) ? self->network_id : 0;
	reason = flow_prepare(passage, &is_error);
	if (reason)
		return reason;
	if (is_error)
		return handle_icmp_error(skb, passage);
	reason = handle_flow(skb, passage);
	if (!reason && packet->fragment == FRAGMENT_FIRST)
		reason = fragment_open(packet, self->id, passage->now);
	return reason;
}

/* What was judged, and counted, before it came here: told of once more only if it is dropped. */
static __always_inline enum drop_reason handle_judged(struct __sk_buff *skb, struct passage *passage)
{
	enum drop_reason reason = parse_ip(skb, &passage->packet);

	if (reason)
		return reason;
	source_party(skb, &passage->packet, &passage->outcome.source);
	return DROP_NONE;
}

/* *judged: the frame was, before it came here. */
static __always_inline enum drop_reason handle_frame(struct __sk_buff *skb, struct passage *passage,
						     bool *judged)
{
	enum drop_reason reason;
	struct ethhdr eth;

	if (!endpoint_of_interface(skb->ifindex, &passage->self)) {
		passage->self.id = 0;
		passage->self.network_id = 0;
		return DROP_UNKNOWN_ENDPOINT;
	}
	if ((passage->self.flags & ENDPOINT_LIMITED_INGRESS) && is_copy_of_admitted(skb)) {
		*judged = true;
		return DROP_NONE;
	}
	party_from_endpoint(&passage->outcome.destination, &passage->self);
	reason = parse_ethernet(skb, &passage->packet, &eth);
	if (reason)
		return reason;
	*judged = handed_over(skb, &eth, &passage->self);
	reason = *judged ? handle_judged(skb, passage) : handle_ip(skb, passage);
	if (!reason && (passage->self.flags & ENDPOINT_LIMITED_INGRESS))
		reason = ingress_schedule(skb, &passage->packet, passage->self.id);
	return reason;
}

SEC("tc")
int to_container(struct __sk_buff *skb)
{
	struct passage *passage;
	enum drop_reason reason;
	bool judged = false;

	if (is_answered(skb, STAND_IN_TO_CONTAINER))
		return ACTION_PASS;
	passage = passage_begin(skb);
	if (!passage)
		return ACTION_DROP;
	reason = handle_frame(skb, passage, &judged);
	if (reason || !judged) {
		/* The MAC of this interface is for nobody to know: see createPair() in src/bridge. */
		if (!reason && bpf_skb_store_bytes(skb, ETH_ALEN, passage->self.gateway_mac, ETH_ALEN, 0))
			reason = DROP_DELIVERY_FAILED;
		account(skb, passage, DIRECTION_INGRESS, reason);
	}
	if (reason)
		return ACTION_DROP;
	return answer_once(skb, STAND_IN_TO_CONTAINER,
			   passage->self.flags & ENDPOINT_LIMITED_INGRESS ? enqueue(skb) : ACTION_PASS);
}

char _license[] SEC("license") = "Dual MIT/GPL";
