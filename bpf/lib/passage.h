/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The state of one packet on its way through a program. It is too large for the 512 bytes of a BPF stack and
 * lives in a per-CPU slot of the program's own: on these hooks bottom halves are off, so no second packet of
 * the same program runs on the CPU before the first is done.
 */
#pragma once

#include "../abi/conntrack.h"
#include "../abi/endpoint.h"
#include "../abi/nat.h"
#include "packet.h"

/* A packet's key in the connection table, and at which end of it the packet was sent. */
struct flow {
	struct conntrack_key key __attribute__((aligned(8)));
	bool from_b;
};

/* What the other end is to know one end of a flow by. */
struct naming {
	bool needed;
	enum flow_end end;
	struct ip_address address;
	__be16 port; /* 0: any of the node's that is free */
	/* Of a frontend: whom a client is kept at, once its flow is open. */
	__u32 frontend_id;
	__u32 backend;	  /* index in qn_backends */
	__u32 affinity_s; /* 0: it is not kept */
};

struct passage {
	struct packet packet __attribute__((aligned(8)));
	struct packet quoted __attribute__((aligned(8))); /* inside an ICMP error; filled only there */
	struct ethhdr ethernet; /* only in from_container, whose stack has no room for it */
	struct outcome outcome;
	struct flow flow;
	struct conntrack_entry record; /* the flow's, but for its key; filled by conntrack_find() */
	struct endpoint self __attribute__((aligned(8))); /* whose interface this is */
	struct endpoint peer __attribute__((aligned(8))); /* local receiver; filled on delivery */
	struct nat_alias
	    alias;	      /* of a translated flow; filled when it is made, its key when it is looked up */
	struct naming naming; /* of a flow that is being opened */
	struct nat_alias
	    other_alias; /* of another flow, which has a name that this one wants; and its record */
	struct conntrack_entry other_record;
	struct bpf_fib_lookup fib; /* the way out, filled by lib/route.h */
	struct bpf_redir_neigh next_hop;
	__u64 now;     /* CLOCK_MONOTONIC, ns, to a tick: seconds are what counts */
	__u32 length;  /* of the frame as it came in, bytes */
	__u32 epoch;   /* of the policy; read once, so that the packet sees one generation */
	__u32 scope;   /* see struct conntrack_key */
	int action;    /* what the program returns when nothing dropped the packet */
	bool answered; /* it was dropped, and what is in its place is an answer to the sender */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct passage);
} passages SEC(".maps");

/* The slot of this CPU, cleared of the packet before. Never NULL in practice; the verifier wants it asked. */
static __always_inline struct passage *passage_of_length(__u32 length)
{
	__u32 zero = 0;
	struct passage *passage = bpf_map_lookup_elem(&passages, &zero);

	if (!passage)
		return NULL;
	__builtin_memset(&passage->packet, 0, sizeof(passage->packet));
	__builtin_memset(&passage->outcome, 0, sizeof(passage->outcome));
	passage->self.id = 0;
	passage->self.network_id = 0;
	passage->length = length;
	passage->action = ACTION_DROP;
	passage->answered = false;
	passage->naming.needed = false;
	return passage;
}

static __always_inline struct passage *passage_begin(const struct __sk_buff *skb)
{
	return passage_of_length(skb->len);
}
