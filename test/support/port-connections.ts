/** Connections to ports that lead to containers: their ends, and each frame as it is sent and as it is handed over. */
import { expect } from 'vitest';
import { SERVICE } from './frontends.js';
import type { Outcome } from './outcome.js';
import { type Packet, PROTOCOL, packet, TCP } from './packet.js';
import type { Scenario } from './scenario.js';
import { addressOf, type Family, type TestEndpoint, WORLD } from './scenario-parties.js';
import { aliases, OUTSIDE_MACS, translatedRecords } from './translated.js';

export const CLIENT_PORT = 40000;
/** What a client connects to, and where the container listens. */
export const PORT = 80;
export const TARGET = 8080;
export const TTL = 64;
/** Every address of the node. */
export const EVERY = { 4: '0.0.0.0', 6: '::' } as const;

export const KINDS = ['tcp', 'udp', 'sctp'] as const;
export type Kind = (typeof KINDS)[number];

export const protocolOf = (kind: Kind) =>
  ({ tcp: PROTOCOL.TCP, udp: PROTOCOL.UDP, sctp: PROTOCOL.SCTP })[kind];

/** One end of a connection: a container, or somebody outside. */
export type End = TestEndpoint | 'outside';

export const isOutside = (end: End): end is 'outside' => end === 'outside';

export const ownAddress = (end: End, family: Family) =>
  isOutside(end) ? WORLD[family] : addressOf(end, family);

export type AddressAndPort = [string, number];

export interface Segment {
  kind: Kind;
  source: AddressAndPort;
  destination: AddressAndPort;
  /** Of TCP. Default: SYN. */
  flags?: number;
}

/** The segment behind whatever headers. */
export function transport(base: Packet, { kind, source, destination, flags = TCP.SYN }: Segment): Packet {
  const ports = { sourcePort: source[1], destinationPort: destination[1] };
  if (kind === 'tcp') return base.tcp({ ...ports, flags }).payload(9);
  return kind === 'udp' ? base.udp(ports).payload(21) : base.sctp(ports).payload(701);
}

/** As it leaves an end, or as it comes in by the uplink. */
export function sentBy(end: End, segment: Segment, ttl = TTL): Packet {
  const macs = isOutside(end) ? OUTSIDE_MACS : { source: end.mac, destination: end.gatewayMac };
  const ip = { source: segment.source[0], destination: segment.destination[0], ttl };
  return transport(packet().ethernet(macs).ip(ip), segment);
}

/** As a container gets it. */
export function handedTo(end: TestEndpoint, segment: Segment, ttl = TTL): Packet {
  const ip = { source: segment.source[0], destination: segment.destination[0], ttl };
  return transport(packet().ethernet({ source: end.gatewayMac, destination: end.mac }).ip(ip), segment);
}

/** Runs what an end sends, through the program that stands in its way. */
export function pass(s: Scenario, end: End, frame: Packet): Outcome {
  return isOutside(end) ? s.answer(frame) : s.send(end, frame);
}

/** Lets a port lead to one container. */
export function serve(
  s: Scenario,
  server: TestEndpoint,
  family: Family,
  kind: Kind,
  address: string = SERVICE[family],
): void {
  const backends = [{ address: addressOf(server, family), port: TARGET }];
  s.frontend({ address, port: PORT, protocol: protocolOf(kind), backends });
}

/** Every record that is translated has its alias, and there is no other. */
export function expectWhole(s: Scenario, flows: number): void {
  const records = translatedRecords(s);
  expect(records.map(({ nonce }) => nonce).sort()).toEqual(
    aliases(s)
      .map(({ nonce }) => nonce)
      .sort(),
  );
  expect(records).toHaveLength(flows);
}
