/** Random first packets of flows between the containers, the node and the outside of a random world. */
import type { Populated } from './policy-arbitraries.js';
import type { OracleEndpoint, OraclePacket, OraclePolicy } from './policy-oracle.js';
import { EDGE_PORTS, type Family, HOST_ADDRESSES, WORLD_ADDRESSES } from './policy-vocabulary.js';

export type FlowEnd = OracleEndpoint | 'host' | 'world';
export interface Flow {
  family: Family;
  source: FlowEnd;
  sourceAddress: string;
  destination: FlowEnd;
  destinationAddress: string;
  protocol: number;
  /** Destination port; 0 for an echo. */
  port: number;
}

const PROTOCOLS = [6, 6, 17, 132, 1];
/** UDP ports that containers may not use at all, whatever policies say: DHCP. */
const FORBIDDEN_UDP = [67, 68, 546, 547];

/** What one end's policies are asked; undefined: that end has none, being no container. */
export function sideOf(flow: Flow, direction: 'egress' | 'ingress'): OraclePacket | undefined {
  const { source, destination, protocol, port } = flow;
  const subject = direction === 'egress' ? source : destination;
  if (typeof subject === 'string') return undefined;
  return direction === 'egress'
    ? { subject, direction, peer: destination, peerAddress: flow.destinationAddress, protocol, port }
    : { subject, direction, peer: source, peerAddress: flow.sourceAddress, protocol, port };
}

/** As many flows as asked for, the same for the same seed. At least one end is a container. */
export function drawFlows(world: Populated, seed: number, count: number): Flow[] {
  const random = generator(seed);
  const pick = <T>(from: readonly T[]): T => {
    const picked = from[Math.floor(random() * from.length)];
    if (picked === undefined) throw new RangeError('nothing to pick from');
    return picked;
  };
  const ports = interestingPorts(world);
  const endOf = (end: FlowEnd, family: Family): string => {
    if (end === 'host') return pick(HOST_ADDRESSES[family]);
    if (end === 'world') return pick(WORLD_ADDRESSES[family]);
    return end.addresses[family === 4 ? 0 : 1] ?? '';
  };
  return Array.from({ length: count }, () => {
    const family = pick([4, 6] as const);
    const container = pick(world.endpoints);
    const others = world.endpoints.filter(({ id }) => id !== container.id);
    const other = random() < 0.6 ? pick(others) : pick(['host', 'world'] as const);
    const [source, destination] = random() < 0.5 ? [container, other] : [other, container];
    const protocol = pick(PROTOCOLS);
    const drawn = random() < 0.8 ? pick(ports) : Math.floor(random() * 65536);
    const port = protocol === 1 || (protocol === 17 && FORBIDDEN_UDP.includes(drawn)) ? 0 : drawn;
    return {
      family,
      source,
      sourceAddress: endOf(source, family),
      destination,
      destinationAddress: endOf(destination, family),
      protocol: protocol === 1 && family === 6 ? 58 : protocol,
      port,
    };
  });
}

/** Ports at which rules begin and end, those beside them, those that have names, and a few others. */
export function interestingPorts(world: Populated): number[] {
  const found = new Set([0, 8080]);
  const add = (edge: number) => [edge - 1, edge, edge + 1].forEach((one) => void found.add(one));
  for (const edge of world.policies.flatMap(edgesOf)) add(edge);
  for (const { port } of world.endpoints.flatMap(({ ports }) => ports)) found.add(port);
  for (const edge of EDGE_PORTS.slice(0, 4)) found.add(edge);
  return [...found].filter((one) => one >= 0 && one <= 65535);
}

function edgesOf(policy: OraclePolicy): number[] {
  const rules: object[] = [...(policy.spec.ingress ?? []), ...(policy.spec.egress ?? [])];
  return numbersIn(rules.map((rule) => ['ports', 'protocols'].map((key) => Reflect.get(rule, key))));
}

/** In whatever words they are written. */
function numbersIn(value: unknown): number[] {
  if (typeof value === 'number') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(numbersIn) : [];
}

/** Mulberry32: 0 to 1, the same numbers for the same seed. */
function generator(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
