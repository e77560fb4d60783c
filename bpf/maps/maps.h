/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Every map. All are pinned by name, so that programs of an older and a newer daemon share them. Sizes are
 * defaults; the daemon's settings override those that say so.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "../abi/bandwidth.h"
#include "../abi/conntrack.h"
#include "../abi/endpoint.h"
#include "../abi/event.h"
#include "../abi/inbound.h"
#include "../abi/nat.h"
#include "../abi/policy.h"
#include "../abi/service.h"
#include "../abi/stand_in.h"

/* Written by the daemon, read once per packet. No entry: DROP_UNKNOWN_ENDPOINT. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 16384);
	__type(key, __u32); /* ifindex of the host's side of the veth */
	__type(value, struct endpoint);
} qn_endpoints SEC(".maps");

/*
 * Configured by the daemon, counted on by the programs; asked once per packet of an endpoint that has a
 * limit. No entry: DROP_MAP_CORRUPT.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 32768);
	__type(key, struct bandwidth_key);
	__type(value, struct bandwidth);
} qn_bandwidth SEC(".maps");

/* Written by the daemon, read once per flow. No entry: the address is looked up in qn_prefixes. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 32768);
	__type(key, struct address_key);
	__type(value, struct address_entry);
} qn_addresses SEC(".maps");

/* Written by the daemon, read once per flow. No entry: IDENTITY_WORLD. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 16384);
	__type(key, struct prefix_key);
	__type(value, struct prefix_entry);
} qn_prefixes SEC(".maps");

/* Written by the daemon, read once per packet. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct control);
} qn_control SEC(".maps");

/* Written by the daemon, read once per flow and change. When full, the daemon refuses the change. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 1048576);
	__type(key, struct policy_key);
	__type(value, struct policy_value);
} qn_policy SEC(".maps");

/* Written by the daemon, read once per flow and change. No entry: DROP_POLICY_MISSING. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 65536);
	__type(key, struct subject_key);
	__type(value, struct subject_value);
} qn_policy_subjects SEC(".maps");

/* Written by the daemon, read once per flow and change. When full, the daemon refuses the change. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 1048576);
	__type(key, struct cidr_key);
	__type(value, struct cidr_value);
} qn_policy_cidrs SEC(".maps");

/* Written by the daemon with an endpoint, read once per flow whose rules name ports. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 65536);
	__type(key, struct named_port_key);
	__type(value, struct named_port_value);
} qn_named_ports SEC(".maps");

/*
 * Written and emptied by the programs alone. When full: DROP_CONNTRACK_FULL for new flows; known ones go on.
 * All of its elements are there from the start: to make one in the middle of a packet costs a tenth of a
 * connection more, and fails where many come at once.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 262144);
	__type(key, struct conntrack_key);
	__type(value, struct conntrack_entry);
} qn_conntrack SEC(".maps");

/*
 * Written and emptied by the programs alone, an entry with each translated flow. As large as qn_conntrack, so
 * that a record has room for its alias, and made like it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 262144);
	__type(key, struct nat_key);
	__type(value, struct nat_alias);
} qn_nat SEC(".maps");

/*
 * The node's uplinks and their addresses. Written by the daemon; the first is read once per translated
 * packet, the others where the node's routes choose.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, UPLINK_SLOTS);
	__type(key, __u32);
	__type(value, struct uplink);
} qn_uplinks SEC(".maps");

/* Written by the daemon, read once per masqueraded flow of a network that has an address of its own. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct source_addresses);
} qn_source_addresses SEC(".maps");

/*
 * Being in it is what counts. Written by the daemon, read once per packet that comes in by the uplink, if
 * INBOUND_DENIES. Twice what the list may have: a new list is added before the old one goes.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 200000);
	__type(key, struct deny_key);
	__type(value, __u32);
} qn_deny SEC(".maps");

/* Written by the daemon, read once per packet that comes in by the uplink. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct inbound);
} qn_inbound SEC(".maps");

/* Written by the daemon, read once per flow to the node or to an address of a service. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 65536);
	__type(key, struct frontend_key);
	__type(value, struct frontend);
} qn_frontends SEC(".maps");

/* Value: index in qn_backends. Written by the daemon, a part for each frontend. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 1048576);
	__type(key, __u32);
	__type(value, __u32);
} qn_slots SEC(".maps");

/* Written by the daemon, read once per flow to a frontend. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct backend);
} qn_backends SEC(".maps");

/* Written by the programs; which client goes where. The least recently used make room. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 65536);
	__type(key, struct affinity_key);
	__type(value, struct affinity);
} qn_affinity SEC(".maps");

/*
 * Written by the programs; what sockets of the node's own asked for. The least recently used make room: their
 * sockets see the backend's address.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 32768);
	__type(key, struct node_peer_key);
	__type(value, struct node_peer);
} qn_node_peers SEC(".maps");

/* Written by conntrack_sweep, read by the daemon after it ran it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct conntrack_sweep);
} qn_sweep SEC(".maps");

/*
 * Key: endpoint id, or enum uplink_fragments. Written by the programs, an entry with the first fragment of
 * one; removed by the daemon with the endpoint. When full: DROP_FRAGMENT_TABLE_FULL.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct fragment_table);
} qn_fragments SEC(".maps");

/*
 * Key: endpoint id; 0: all of them. Written by the programs, entry removed by the daemon with the endpoint.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct flow_count);
} qn_flow_counts SEC(".maps");

/* Written by the programs, read by the daemon, which removes an endpoint's entries with it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 131072);
	__type(key, struct metric_key);
	__type(value, struct metric_value);
} qn_metrics SEC(".maps");

/* Written by the programs, consumed by the daemon. What does not fit is counted in qn_event_loss. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 1048576); /* bytes */
} qn_events SEC(".maps");

/* Key: endpoint id. Written by the programs; token buckets. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct event_limit);
} qn_event_limits SEC(".maps");

/* Index: enum event_loss. Written by the programs. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, EVENT_LOSS_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} qn_event_loss SEC(".maps");

/*
 * Written by the copy of a program that stands in while ours moves at a hook, read there by the other: see
 * lib/stand_in.h.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct stand_in);
} qn_stand_in SEC(".maps");

/*
 * Written by a program that was loaded to explain, read by the daemon after it ran it. Not pinned: each such
 * program has its own.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct explanation);
} explanations SEC(".maps");
