/** Whom and what a rule of Kubernetes means: selectors, ranges of addresses, ports. */
import { isIPv6 } from 'node:net';
import type {
  OracleAdminPort,
  OracleClusterPeer,
  OracleDestinationPort,
  OracleNamespacedPod,
  OracleNetworkPolicy,
  OraclePacket,
  OraclePeer,
  OraclePort,
  OracleProtocol,
  OracleSelector,
  OracleWorld,
} from './policy-oracle-types.js';

const NUMBERS = { TCP: 6, UDP: 17, SCTP: 132 };

/** All of matchLabels and all of matchExpressions must hold; an empty selector selects everything. */
export function selects(selector: OracleSelector, labels: Record<string, string>): boolean {
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

/** Each namespace carries its name as a label (kubernetes.io/metadata.name), also one that nobody has described. */
export function selectsNamespace(world: OracleWorld, selector: OracleSelector, name: string): boolean {
  const given = world.namespaces.find((namespace) => namespace.name === name)?.labels ?? {};
  return selects(selector, { ...given, 'kubernetes.io/metadata.name': name });
}

export function selectsPod(
  world: OracleWorld,
  { namespaceSelector, podSelector }: OracleNamespacedPod,
  pod: { namespace: string; labels: Record<string, string> },
): boolean {
  return selectsNamespace(world, namespaceSelector, pod.namespace) && selects(podSelector, pod.labels);
}

const known = new Map<string, string>();

/** The bits of an address, most significant first: 32 or 128 digits. Kept, because it is asked so often. */
function bitsOf(address: string): string {
  const bits = known.get(address) ?? readBits(address);
  known.set(address, bits);
  return bits;
}

function readBits(address: string): string {
  if (!isIPv6(address)) {
    return address
      .split('.')
      .map((part) => Number(part).toString(2).padStart(8, '0'))
      .join('');
  }
  const [head = '', tail] = address.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? [] : Array(8 - before.length - after.length).fill('0');
  return [...before, ...zeros, ...after]
    .map((part) => Number.parseInt(part, 16).toString(2).padStart(16, '0'))
    .join('');
}

/** An address of one family is in no range of the other: ::/0 does not hold IPv4. */
export function isInCidr(address: string, cidr: string): boolean {
  const [base = '', length = ''] = cidr.split('/');
  if (isIPv6(base) !== isIPv6(address)) return false;
  return bitsOf(address).startsWith(bitsOf(base).slice(0, Number(length)));
}

/** Whether a peer of NetworkPolicy means the other end of the packet. */
export function networkPolicyPeerMatches(
  world: OracleWorld,
  policy: OracleNetworkPolicy,
  { podSelector, namespaceSelector, ipBlock }: OraclePeer,
  { peer, peerAddress }: OraclePacket,
): boolean {
  // Kubernetes leaves it to the implementation whether an ipBlock holds pods and nodes. Here it does: an address is
  // an address.
  if (ipBlock !== undefined) {
    const isExcepted = (ipBlock.except ?? []).some((except) => isInCidr(peerAddress, except));
    return isInCidr(peerAddress, ipBlock.cidr) && !isExcepted;
  }
  // Selectors select pods; the node and the outside are none.
  if (typeof peer === 'string') return false;
  const { namespace, labels } = peer.identity;
  const isInNamespace =
    namespaceSelector === undefined
      ? namespace === (policy.metadata.namespace ?? 'default')
      : selectsNamespace(world, namespaceSelector, namespace);
  return isInNamespace && (podSelector === undefined || selects(podSelector, labels));
}

/** Whether a peer of ClusterNetworkPolicy means the other end of the packet. */
export function clusterPeerMatches(
  world: OracleWorld,
  { namespaces, pods, nodes, networks }: OracleClusterPeer,
  { peer, peerAddress }: OraclePacket,
): boolean {
  if (networks !== undefined) return networks.some((cidr) => isInCidr(peerAddress, cidr));
  // The one node that there is: the one that the container runs on.
  if (nodes !== undefined) return peer === 'host' && selects(nodes, world.node.labels);
  if (typeof peer === 'string') return false;
  if (namespaces !== undefined) return selectsNamespace(world, namespaces, peer.identity.namespace);
  return pods !== undefined && selectsPod(world, pods, peer.identity);
}

/** What the container that the packet goes to calls its port; the node and the outside have no names. */
function destinationIsCalled(
  name: string,
  { subject, direction, peer, protocol, port }: OraclePacket,
): boolean {
  const destination = direction === 'ingress' ? subject : peer;
  if (typeof destination === 'string') return false;
  return destination.ports.some(
    (declared) => declared.name === name && NUMBERS[declared.protocol] === protocol && declared.port === port,
  );
}

export function networkPolicyPortMatches(
  { protocol = 'TCP', port, endPort }: OraclePort,
  packet: OraclePacket,
): boolean {
  if (NUMBERS[protocol] !== packet.protocol) return false;
  if (port === undefined) return true;
  if (typeof port === 'string') return destinationIsCalled(port, packet);
  return packet.port >= port && packet.port <= (endPort ?? port);
}

export function clusterProtocolMatches(
  { tcp, udp, sctp, destinationNamedPort }: OracleProtocol,
  packet: OraclePacket,
): boolean {
  // A name is looked for among the ports of every protocol.
  if (destinationNamedPort !== undefined) return destinationIsCalled(destinationNamedPort, packet);
  const matches = (protocol: number, wanted: OracleDestinationPort | undefined): boolean => {
    if (wanted === undefined || packet.protocol !== protocol) return false;
    const { number, range } = wanted.destinationPort ?? {};
    if (number !== undefined) return packet.port === number;
    return range === undefined || (packet.port >= range.start && packet.port <= range.end);
  };
  return matches(NUMBERS.TCP, tcp) || matches(NUMBERS.UDP, udp) || matches(NUMBERS.SCTP, sctp);
}

export function adminPortMatches(
  { portNumber, portRange, namedPort }: OracleAdminPort,
  packet: OraclePacket,
): boolean {
  const { protocol, port } = packet;
  if (portNumber !== undefined) {
    return NUMBERS[portNumber.protocol ?? 'TCP'] === protocol && portNumber.port === port;
  }
  if (portRange !== undefined) {
    const { start, end } = portRange;
    return NUMBERS[portRange.protocol ?? 'TCP'] === protocol && start <= port && port <= end;
  }
  // Here too a name is looked for among the ports of every protocol.
  return namedPort !== undefined && destinationIsCalled(namedPort, packet);
}
