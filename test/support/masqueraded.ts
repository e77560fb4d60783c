/** Flows of containers to the world: their packets as the container has them, and as they are on the uplink. */
import { expect } from 'vitest';
import { type Packet, packet, TCP } from './packet.js';
import type { Scenario } from './scenario.js';
import { outgoing } from './scenario-frames.js';
import { addressOf, type Family, NODE, type TestEndpoint, WORLD } from './scenario-parties.js';
import { aliases, OUTSIDE_MACS, translatedRecords, useTranslation } from './translated.js';

/** The container's, and the one that it connects to. */
export const PORT = 40000;
export const SERVER = 53;
export const TTL = 64;

export const KINDS = ['tcp', 'udp', 'sctp', 'echo'] as const;
export type Kind = (typeof KINDS)[number];

/** Flows to one place take one of these. */
export const PORTS = [61000, 61001] as const;

export function useMasquerade(give: (scenario: Scenario) => void): void {
  useTranslation(give, { nat_port_min: PORTS[0], nat_port_max: PORTS[1] });
}

/** The opening packet of a kind, behind whatever headers; `port` is the opener's. */
export function opening(base: Packet, family: Family, kind: Kind, port: number): Packet {
  if (kind === 'tcp') return base.tcp({ sourcePort: port, destinationPort: SERVER, options: [2, 4, 5, 180] });
  if (kind === 'udp') return base.udp({ sourcePort: port, destinationPort: SERVER }).payload(33);
  if (kind === 'sctp') return base.sctp({ sourcePort: port, destinationPort: SERVER }).payload(1234);
  return family === 4
    ? base.icmp({ type: 8, id: port, sequence: 1 }).payload(33)
    : base.icmpv6({ type: 128, id: port, sequence: 1 }).payload(33);
}

export function answering(base: Packet, family: Family, kind: Kind, port: number): Packet {
  if (kind === 'tcp')
    return base.tcp({ sourcePort: SERVER, destinationPort: port, flags: TCP.SYN | TCP.ACK });
  if (kind === 'udp') return base.udp({ sourcePort: SERVER, destinationPort: port }).payload(47);
  if (kind === 'sctp') return base.sctp({ sourcePort: SERVER, destinationPort: port }).payload(3);
  return family === 4
    ? base.icmp({ type: 0, id: port, sequence: 1 }).payload(33)
    : base.icmpv6({ type: 129, id: port, sequence: 1 }).payload(33);
}

/** As the container sends it. */
export const sent = (from: TestEndpoint, family: Family, ttl = TTL) => outgoing(from, WORLD[family], { ttl });

/** The same under the node's address; MAC addresses are the kernel's to change when it has found the way. */
export const translated = (from: TestEndpoint, family: Family, ttl = TTL - 1) =>
  packet()
    .ethernet({ source: from.mac, destination: from.gatewayMac })
    .ip({ source: NODE[family], destination: WORLD[family], ttl });

/** To the node, as it comes in by the uplink. */
export const arriving = (family: Family, source: string = WORLD[family]) =>
  packet().ethernet(OUTSIDE_MACS).ip({ source, destination: NODE[family], ttl: TTL });

/** As the container gets it. */
export const handed = (to: TestEndpoint, family: Family, source: string = WORLD[family], ttl = TTL - 1) =>
  packet()
    .ethernet({ source: to.gatewayMac, destination: to.mac })
    .ip({ source, destination: addressOf(to, family), ttl });

/** The port that the one flow has on the uplink. */
export function portTaken(s: Scenario): number {
  const [only, more] = aliases(s);
  if (!only || more) throw new Error(`${aliases(s).length} flows are translated`);
  return only.key.localPort;
}

/** Opens a flow and tells its port on the uplink. */
export function open(s: Scenario, from: TestEndpoint, family: Family, kind: Kind, port = PORT): number {
  const before = new Set(aliases(s).map(({ nonce }) => nonce));
  expect(s.send(from, opening(sent(from, family), family, kind, port))).toMatchObject({ reason: 'NONE' });
  const added = aliases(s).find(({ nonce }) => !before.has(nonce));
  if (!added) throw new Error('no port was taken');
  return added.key.localPort;
}

/** Every record that is translated has its alias, and there is no other. */
export function expectWhole(s: Scenario): void {
  const pairs = aliases(s).map(({ key, nonce }) => `${key.localPort} ${nonce}`);
  const records = translatedRecords(s).map(({ natPort, nonce }) => `${natPort} ${nonce}`);
  expect(records.sort()).toEqual(pairs.sort());
}
