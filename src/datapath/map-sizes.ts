/** How large the maps are to be made. */
import { totalmem } from 'node:os';
import type { Settings } from '../model/settings.js';
import { type MAPS, UplinkFragments } from './abi/generated.js';

export type MapName = keyof typeof MAPS;

const GIB = 2 ** 30;

/** What the machine has, or what this process may have of it, in bytes. */
export function nodeMemory(): number {
  // Later versions of Node.js say 0.
  const limit: number | undefined = process.constrainedMemory();
  return limit ? Math.min(limit, totalmem()) : totalmem();
}

/** Each connection that there is room for takes 430 bytes from the start on: see qn_conntrack in bpf/maps/maps.h. */
function connectionsFor(memory: number): number {
  if (memory >= 4 * GIB) return 262144;
  return memory >= GIB ? 65536 : 16384;
}

/**
 * The settings, with a table of connections that suits the node if they leave that to us. Then neither those from outside
 * nor one endpoint's can fill a table that is smaller than their limits were made for.
 * @param memory of the node, bytes
 * @param existing entries of the table that is there already
 */
export function sizedFor(settings: Settings, memory: number, existing?: number): Settings {
  if (settings.conntrack_max > 0) return settings;
  const connections = existing ?? connectionsFor(memory);
  const within = (limit: number, share: number) =>
    limit === 0 ? 0 : Math.min(limit, Math.floor(connections / share));
  return {
    ...settings,
    conntrack_max: connections,
    inbound_flows: within(settings.inbound_flows, 2),
    flows_per_endpoint: within(settings.flows_per_endpoint, 8),
  };
}

/** Entries of each map whose size is a setting. */
export function wantedSizes(settings: Settings): Map<MapName, number> {
  return new Map<MapName, number>([
    ['qn_endpoints', settings.endpoints_max],
    ['qn_addresses', settings.endpoints_max * 2], // an IPv4 and an IPv6 address each
    ['qn_bandwidth', settings.endpoints_max * 3], // both directions of each, and departures
    ['qn_flow_counts', settings.endpoints_max + 1], // everybody outside
    ['qn_fragments', settings.endpoints_max + 2 * UplinkFragments.PARTS],
    ['qn_prefixes', settings.prefixes_max],
    ['qn_policy', settings.policy_max],
    ['qn_policy_cidrs', settings.policy_cidrs_max],
    ['qn_named_ports', settings.port_names_max],
    ['qn_policy_subjects', settings.subjects_max],
    ['qn_conntrack', settings.conntrack_max],
    ['qn_nat', settings.conntrack_max],
    ['qn_frontends', settings.frontends_max],
    ['qn_slots', settings.service_slots_max],
    ['qn_backends', settings.backends_max],
    ['qn_affinity', settings.affinity_max],
    ['qn_events', settings.events_buffer_bytes],
  ]);
}
