/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The catalogue of everything shared with user space. Never loaded: the compiler keeps in BTF only what
 * something refers to, and the generator (npm run gen) reads BTF. A new struct or enum of abi/ is added here;
 * maps and settings are found by themselves.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/bandwidth.h"
#include "abi/conntrack.h"
#include "abi/endpoint.h"
#include "abi/event.h"
#include "abi/inbound.h"
#include "abi/nat.h"
#include "abi/policy.h"
#include "abi/queue.h"
#include "abi/seal.h"
#include "abi/service.h"
#include "abi/stand_in.h"
#include "abi/types.h"
#include "maps/maps.h"
#include "lib/config.h"

#define EXPORT(kind, name) const kind name *export_##kind##_##name __attribute__((used))

EXPORT(struct, ip_address);
EXPORT(enum, direction);
EXPORT(enum, identity);
EXPORT(enum, seal);

EXPORT(struct, endpoint);
EXPORT(struct, address_key);
EXPORT(struct, address_entry);
EXPORT(struct, prefix_key);
EXPORT(struct, prefix_entry);
EXPORT(enum, endpoint_flags);
EXPORT(enum, prefix_kind);

EXPORT(struct, bandwidth_key);
EXPORT(struct, bandwidth);
EXPORT(enum, bandwidth_departure);
EXPORT(enum, bandwidth_scale);

EXPORT(struct, policy_key);
EXPORT(struct, policy_decision);
EXPORT(struct, policy_value);
EXPORT(struct, subject_key);
EXPORT(struct, subject_rules);
EXPORT(struct, range_lengths);
EXPORT(struct, subject_slot);
EXPORT(struct, subject_value);
EXPORT(struct, cidr_key);
EXPORT(struct, cidr_value);
EXPORT(struct, named_port_key);
EXPORT(struct, named_port_value);
EXPORT(struct, control);
EXPORT(enum, verdict);
EXPORT(enum, policy_peer);
EXPORT(enum, policy_tier);
EXPORT(enum, port_bits);
EXPORT(enum, named_port_limit);

EXPORT(struct, conntrack_key);
EXPORT(struct, conntrack_entry);
EXPORT(struct, fragment_slot);
EXPORT(struct, fragment_table);
EXPORT(struct, flow_count);
EXPORT(struct, conntrack_sweep);
EXPORT(enum, conntrack_flags);
EXPORT(enum, fragment_table_shape);
EXPORT(enum, uplink_fragments);
EXPORT(enum, flow_end);

EXPORT(struct, nat_key);
EXPORT(struct, nat_alias);
EXPORT(struct, source_addresses);
EXPORT(struct, uplink);
EXPORT(enum, uplink_limit);
EXPORT(enum, uplink_flags);

EXPORT(struct, deny_key);
EXPORT(struct, inbound);
EXPORT(enum, deny_key_bits);
EXPORT(enum, inbound_flags);

EXPORT(struct, stand_in);
EXPORT(enum, stand_in_hook);

EXPORT(struct, frontend_key);
EXPORT(struct, frontend);
EXPORT(enum, frontend_flags);
EXPORT(struct, backend);
EXPORT(struct, affinity_key);
EXPORT(struct, affinity);
EXPORT(struct, node_peer_key);
EXPORT(struct, node_peer);

EXPORT(struct, drop_reason_texts);
EXPORT(struct, metric_key);
EXPORT(struct, metric_value);
EXPORT(struct, event);
EXPORT(struct, explanation);
EXPORT(struct, event_limit);
EXPORT(enum, drop_reason);
EXPORT(enum, event_kind);
EXPORT(enum, event_loss);

/* The kernel's own: gives the types of the maps their names. */
EXPORT(enum, bpf_map_type);
