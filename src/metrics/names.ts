/** Every metric of the product. Names never change their meaning; docs/metrics.md and the dashboard are held to them. */

export interface MetricInfo {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly labels: readonly string[];
  readonly help: string;
}

const TRAFFIC_LABELS = ['network', 'direction', 'reason', 'container_id', 'interface'];

export const METRICS = {
  packets: {
    name: 'quantum_packets_total',
    type: 'counter',
    labels: TRAFFIC_LABELS,
    help: 'Packets by what became of them; reason NONE: forwarded',
  },
  bytes: {
    name: 'quantum_bytes_total',
    type: 'counter',
    labels: TRAFFIC_LABELS,
    help: 'Bytes of packets by what became of them; reason NONE: forwarded',
  },
  auditDeniedPackets: {
    name: 'quantum_audit_denied_packets_total',
    type: 'counter',
    labels: TRAFFIC_LABELS,
    help: 'Packets that were forwarded and would have been dropped, were the audited policies enforced',
  },
  auditDeniedBytes: {
    name: 'quantum_audit_denied_bytes_total',
    type: 'counter',
    labels: TRAFFIC_LABELS,
    help: 'Bytes of packets that were forwarded and would have been dropped, were the audited policies enforced',
  },
  endpoints: {
    name: 'quantum_endpoints',
    type: 'gauge',
    labels: ['network', 'state'],
    help: 'Endpoints on this node',
  },
  networks: { name: 'quantum_networks', type: 'gauge', labels: [], help: 'Networks' },
  identities: { name: 'quantum_identities', type: 'gauge', labels: [], help: 'Identities' },
  denyList: {
    name: 'quantum_deny_list_ranges',
    type: 'gauge',
    labels: [],
    help: 'Ranges from which nothing is taken that comes in by the uplink',
  },
  namespaces: { name: 'quantum_namespaces', type: 'gauge', labels: [], help: 'Namespaces' },
  policies: { name: 'quantum_policies', type: 'gauge', labels: [], help: 'Policies' },
  connections: {
    name: 'quantum_conntrack_entries',
    type: 'gauge',
    labels: [],
    help: 'Connections that the node remembers',
  },
  connectionsMax: {
    name: 'quantum_conntrack_entries_limit',
    type: 'gauge',
    labels: [],
    help: 'Connections that the node can remember',
  },
  translations: {
    name: 'quantum_nat_entries',
    type: 'gauge',
    labels: [],
    help: 'Connections that the node remembers under a translated address',
  },
  translationsMax: {
    name: 'quantum_nat_entries_limit',
    type: 'gauge',
    labels: [],
    help: 'Translated connections that the node can remember',
  },
  portMappings: {
    name: 'quantum_port_mappings',
    type: 'gauge',
    labels: ['network'],
    help: 'Ports of the node that lead to containers',
  },
  services: { name: 'quantum_services', type: 'gauge', labels: [], help: 'Services' },
  serviceBackends: {
    name: 'quantum_service_backends',
    type: 'gauge',
    labels: ['namespace', 'service'],
    help: 'Containers that serve a service',
  },
  eventsLost: {
    name: 'quantum_events_lost_total',
    type: 'counter',
    labels: ['cause'],
    help: 'Flow events that did not reach the daemon, by cause; cause api_reader: that a reader of the API was too slow for',
  },
  repairs: {
    name: 'quantum_link_repairs_total',
    type: 'counter',
    labels: ['program', 'lost'],
    help: 'Links of programs that were put in order while the daemon ran, by what was lost; lost pin or position: the program went on',
  },
  preceded: {
    name: 'quantum_links_preceded',
    type: 'gauge',
    labels: ['program'],
    help: 'Places where programs of others run before ours, and can pass what ours would drop',
  },
  ready: {
    name: 'quantum_ready',
    type: 'gauge',
    labels: ['check'],
    help: 'Whether a condition of readiness holds (1) or not (0)',
  },
  requests: {
    name: 'quantum_api_request_duration_seconds',
    type: 'histogram',
    labels: ['method', 'route', 'status'],
    help: 'Time from the head of a request of the API to the end of its answer',
  },
  collectErrors: {
    name: 'quantum_metrics_collect_errors_total',
    type: 'counter',
    labels: ['collector'],
    help: 'Times that a group of metrics could not be read and is missing from an answer',
  },
  build: {
    name: 'quantum_build_info',
    type: 'gauge',
    labels: ['version', 'node_version'],
    help: 'Version of the daemon and of its runtime; the value is 1',
  },
} as const satisfies Record<string, MetricInfo>;

/** Names of every metric of ours. */
export const METRIC_NAMES: readonly string[] = Object.values(METRICS).map(({ name }) => name);
