/** The maps that the programs share, with keys and values as they are in TypeScript. */
import { MAPS } from '../../src/datapath/abi/generated.js';
import type { BpfMap } from '../../src/native/bpf.js';
import { TypedMap } from './typed-map.js';

export type MapName = keyof typeof MAPS;

export class ProgramMaps {
  readonly endpoints;
  readonly addresses;
  readonly bandwidth;
  readonly prefixes;
  readonly control;
  readonly policy;
  readonly subjects;
  /** qn_policy_cidrs */
  readonly ranges;
  /** qn_named_ports */
  readonly portNames;
  readonly conntrack;
  readonly fragments;
  readonly flowCounts;
  readonly eventLimits;
  readonly nat;
  readonly uplinks;
  readonly frontends;
  readonly slots;
  readonly backends;
  readonly affinity;
  readonly sourceAddresses;
  readonly deny;
  readonly inbound;

  constructor(private readonly raw: ReadonlyMap<string, BpfMap>) {
    this.endpoints = new TypedMap(this.map('qn_endpoints'), MAPS.qn_endpoints);
    this.addresses = new TypedMap(this.map('qn_addresses'), MAPS.qn_addresses);
    this.bandwidth = new TypedMap(this.map('qn_bandwidth'), MAPS.qn_bandwidth);
    this.prefixes = new TypedMap(this.map('qn_prefixes'), MAPS.qn_prefixes);
    this.control = new TypedMap(this.map('qn_control'), MAPS.qn_control);
    this.policy = new TypedMap(this.map('qn_policy'), MAPS.qn_policy);
    this.subjects = new TypedMap(this.map('qn_policy_subjects'), MAPS.qn_policy_subjects);
    this.ranges = new TypedMap(this.map('qn_policy_cidrs'), MAPS.qn_policy_cidrs);
    this.portNames = new TypedMap(this.map('qn_named_ports'), MAPS.qn_named_ports);
    this.conntrack = new TypedMap(this.map('qn_conntrack'), MAPS.qn_conntrack);
    this.fragments = new TypedMap(this.map('qn_fragments'), MAPS.qn_fragments);
    this.flowCounts = new TypedMap(this.map('qn_flow_counts'), MAPS.qn_flow_counts);
    this.eventLimits = new TypedMap(this.map('qn_event_limits'), MAPS.qn_event_limits);
    this.nat = new TypedMap(this.map('qn_nat'), MAPS.qn_nat);
    this.uplinks = new TypedMap(this.map('qn_uplinks'), MAPS.qn_uplinks);
    this.frontends = new TypedMap(this.map('qn_frontends'), MAPS.qn_frontends);
    this.slots = new TypedMap(this.map('qn_slots'), MAPS.qn_slots);
    this.backends = new TypedMap(this.map('qn_backends'), MAPS.qn_backends);
    this.sourceAddresses = new TypedMap(this.map('qn_source_addresses'), MAPS.qn_source_addresses);
    this.affinity = new TypedMap(this.map('qn_affinity'), MAPS.qn_affinity);
    this.deny = new TypedMap(this.map('qn_deny'), MAPS.qn_deny);
    this.inbound = new TypedMap(this.map('qn_inbound'), MAPS.qn_inbound);
  }

  map(name: MapName): BpfMap {
    const map = this.raw.get(name);
    if (!map) throw new Error(`no program uses the map ${name}`);
    return map;
  }
}
