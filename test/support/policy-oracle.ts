/**
 * Kubernetes NetworkPolicy and the isolation modes, read off their definitions as plainly as possible: no
 * tables, no indexes, no code of the product. It judges one packet at one of its sides, slowly, from the
 * policies as a user writes them.
 */

export interface OracleSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}
export interface OraclePeer {
  podSelector?: OracleSelector;
  namespaceSelector?: OracleSelector;
}
export interface OraclePort {
  protocol?: 'TCP' | 'UDP' | 'SCTP';
  port?: number;
  endPort?: number;
}
export interface OraclePolicy {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string };
  spec: {
    podSelector?: OracleSelector;
    policyTypes?: ('Ingress' | 'Egress')[];
    ingress?: { from?: OraclePeer[]; ports?: OraclePort[] }[];
    egress?: { to?: OraclePeer[]; ports?: OraclePort[] }[];
  };
}
export interface OracleIdentity {
  id: number;
  network_id: number;
  namespace: string;
  labels: Record<string, string>;
}
export interface OracleNetwork {
  id: number;
  name: string;
  isolation_mode: 'full' | 'peer' | 'mesh' | 'none';
  peers: string[];
}
export interface OracleWorld {
  networks: OracleNetwork[];
  namespaces: { name: string; labels: Record<string, string> }[];
  identities: OracleIdentity[];
  policies: OraclePolicy[];
}
export interface OraclePacket {
  subject: OracleIdentity;
  direction: 'egress' | 'ingress';
  peer: OracleIdentity | 'host' | 'world';
  protocol: number;
  port: number;
}

const NUMBERS = { TCP: 6, UDP: 17, SCTP: 132 };

function selects(selector: OracleSelector, labels: Record<string, string>): boolean {
  for (const key of Object.keys(selector.matchLabels ?? {})) {
    if (!Object.hasOwn(labels, key) || labels[key] !== selector.matchLabels?.[key]) return false;
  }
  for (const { key, operator, values } of selector.matchExpressions ?? []) {
    const there = Object.hasOwn(labels, key);
    const listed = there && (values ?? []).includes(labels[key] ?? '');
    if (operator === 'In' && !listed) return false;
    if (operator === 'NotIn' && listed) return false;
    if (operator === 'Exists' && !there) return false;
    if (operator === 'DoesNotExist' && there) return false;
  }
  return true;
}

function labelsOfNamespace(world: OracleWorld, name: string): Record<string, string> {
  const given = world.namespaces.find((namespace) => namespace.name === name)?.labels ?? {};
  return { ...given, 'kubernetes.io/metadata.name': name };
}

function namespaceOf(policy: OraclePolicy): string {
  return policy.metadata.namespace ?? 'default';
}

function concerns(policy: OraclePolicy, direction: 'egress' | 'ingress'): boolean {
  const types = policy.spec.policyTypes ?? [];
  if (types.length > 0) return types.includes(direction === 'egress' ? 'Egress' : 'Ingress');
  return direction === 'ingress' || (policy.spec.egress ?? []).length > 0;
}

function peerMatches(world: OracleWorld, policy: OraclePolicy, peer: OraclePeer, who: OraclePacket['peer']) {
  if (who === 'host' || who === 'world') return false;
  const inNamespace =
    peer.namespaceSelector === undefined
      ? who.namespace === namespaceOf(policy)
      : selects(peer.namespaceSelector, labelsOfNamespace(world, who.namespace));
  return inNamespace && (peer.podSelector === undefined || selects(peer.podSelector, who.labels));
}

function portMatches(port: OraclePort, packet: OraclePacket): boolean {
  if (NUMBERS[port.protocol ?? 'TCP'] !== packet.protocol) return false;
  if (port.port === undefined) return true;
  return packet.port >= port.port && packet.port <= (port.endPort ?? port.port);
}

/** The policies that isolate an identity in a direction. */
export function oracleSelectedBy(
  world: OracleWorld,
  subject: OracleIdentity,
  direction: 'egress' | 'ingress',
): OraclePolicy[] {
  return world.policies.filter(
    (policy) =>
      namespaceOf(policy) === subject.namespace &&
      selects(policy.spec.podSelector ?? {}, subject.labels) &&
      concerns(policy, direction),
  );
}

/** Whether the packet's side `subject` allows it. */
export function oracleAllows(world: OracleWorld, packet: OraclePacket): boolean {
  const { subject, direction, peer } = packet;
  const selecting = oracleSelectedBy(world, subject, direction);
  if (selecting.length > 0) {
    return selecting.some((policy) => {
      const rules =
        direction === 'ingress'
          ? (policy.spec.ingress ?? []).map(({ from, ports }) => ({ peers: from ?? [], ports: ports ?? [] }))
          : (policy.spec.egress ?? []).map(({ to, ports }) => ({ peers: to ?? [], ports: ports ?? [] }));
      return rules.some(
        (rule) =>
          (rule.peers.length === 0 || rule.peers.some((one) => peerMatches(world, policy, one, peer))) &&
          (rule.ports.length === 0 || rule.ports.some((one) => portMatches(one, packet))),
      );
    });
  }
  const network = world.networks.find(({ id }) => id === subject.network_id);
  if (network === undefined || network.isolation_mode === 'full') return false;
  if (network.isolation_mode === 'none') return true;
  if (peer === 'host' || peer === 'world') return false;
  if (peer.network_id === network.id) return true;
  if (network.isolation_mode === 'peer') return false;
  const other = world.networks.find(({ id }) => id === peer.network_id);
  return other !== undefined && network.peers.includes(other.name);
}
