/** The pinned maps, typed by what the programs say of them. */
import { BpfMap } from '../native/bpf.js';
import { type Codec, u32, u64 } from './abi/codec.js';
import {
  AddressEntry,
  AddressKey,
  Affinity,
  AffinityKey,
  Backend,
  Bandwidth,
  BandwidthKey,
  CidrKey,
  CidrValue,
  ConntrackEntry,
  ConntrackKey,
  ConntrackSweep,
  Control,
  DenyKey,
  Endpoint,
  FlowCount,
  FragmentTable,
  Frontend,
  FrontendKey,
  Inbound,
  type MAPS,
  MetricKey,
  MetricValue,
  NamedPortKey,
  NamedPortValue,
  NatAlias,
  NatKey,
  PolicyKey,
  PolicyValue,
  PrefixEntry,
  PrefixKey,
  SourceAddresses,
  SubjectKey,
  SubjectValue,
  Uplink,
} from './abi/generated.js';
import { TypedMap } from './typed-map.js';

export interface DatapathMaps extends Disposable {
  readonly endpoints: TypedMap<number, Endpoint>;
  readonly bandwidth: TypedMap<BandwidthKey, Bandwidth>;
  readonly addresses: TypedMap<AddressKey, AddressEntry>;
  readonly prefixes: TypedMap<PrefixKey, PrefixEntry>;
  readonly control: TypedMap<number, Control>;
  readonly policy: TypedMap<PolicyKey, PolicyValue>;
  readonly subjects: TypedMap<SubjectKey, SubjectValue>;
  readonly cidrs: TypedMap<CidrKey, CidrValue>;
  readonly namedPorts: TypedMap<NamedPortKey, NamedPortValue>;
  readonly conntrack: TypedMap<ConntrackKey, ConntrackEntry>;
  readonly flowCounts: TypedMap<number, FlowCount>;
  readonly fragments: TypedMap<number, FragmentTable>;
  readonly metrics: TypedMap<MetricKey, MetricValue>;
  readonly sweep: TypedMap<number, ConntrackSweep>;
  readonly uplinks: TypedMap<number, Uplink>;
  readonly nat: TypedMap<NatKey, NatAlias>;
  readonly frontends: TypedMap<FrontendKey, Frontend>;
  readonly slots: TypedMap<number, number>;
  readonly backends: TypedMap<number, Backend>;
  readonly affinity: TypedMap<AffinityKey, Affinity>;
  readonly sourceAddresses: TypedMap<number, SourceAddresses>;
  readonly deny: TypedMap<DenyKey, number>;
  readonly inbound: TypedMap<number, Inbound>;
  readonly eventLoss: TypedMap<number, bigint>;
  /** The ring buffer; it has no entries. */
  readonly events: BpfMap;
}

export function openMaps(directory: string): DatapathMaps {
  const opened: BpfMap[] = [];
  const open = (name: keyof typeof MAPS): BpfMap => {
    const map = BpfMap.fromPin(`${directory}/${name}`);
    opened.push(map);
    return map;
  };
  const typed = <K, V>(name: keyof typeof MAPS, key: Codec<K>, value: Codec<V>) =>
    new TypedMap(open(name), key, value);
  const close = () => {
    for (const map of opened) map.close();
  };
  try {
    return {
      endpoints: typed('qn_endpoints', u32, Endpoint),
      bandwidth: typed('qn_bandwidth', BandwidthKey, Bandwidth),
      addresses: typed('qn_addresses', AddressKey, AddressEntry),
      prefixes: typed('qn_prefixes', PrefixKey, PrefixEntry),
      control: typed('qn_control', u32, Control),
      policy: typed('qn_policy', PolicyKey, PolicyValue),
      subjects: typed('qn_policy_subjects', SubjectKey, SubjectValue),
      cidrs: typed('qn_policy_cidrs', CidrKey, CidrValue),
      namedPorts: typed('qn_named_ports', NamedPortKey, NamedPortValue),
      conntrack: typed('qn_conntrack', ConntrackKey, ConntrackEntry),
      flowCounts: typed('qn_flow_counts', u32, FlowCount),
      fragments: typed('qn_fragments', u32, FragmentTable),
      metrics: typed('qn_metrics', MetricKey, MetricValue),
      sweep: typed('qn_sweep', u32, ConntrackSweep),
      uplinks: typed('qn_uplinks', u32, Uplink),
      nat: typed('qn_nat', NatKey, NatAlias),
      frontends: typed('qn_frontends', FrontendKey, Frontend),
      slots: typed('qn_slots', u32, u32),
      backends: typed('qn_backends', u32, Backend),
      affinity: typed('qn_affinity', AffinityKey, Affinity),
      sourceAddresses: typed('qn_source_addresses', u32, SourceAddresses),
      deny: typed('qn_deny', DenyKey, u32),
      inbound: typed('qn_inbound', u32, Inbound),
      eventLoss: typed('qn_event_loss', u32, u64),
      events: open('qn_events'),
      [Symbol.dispose]: close,
    };
  } catch (error) {
    close();
    throw error;
  }
}
