/** Ports of a rule as the kernel looks them up: prefixes of the 16 bits of a port, or names. */
import type { ClusterPolicyProtocol } from '../model/cluster-network-policy.js';
import type { Protocol } from '../model/names.js';
import type { PolicyPort } from '../model/network-policy.js';
import { PORT_BITS_NAMED, type PortMatch } from './types.js';

/** IPPROTO_* of <netinet/in.h>. */
export const PROTOCOL_NUMBERS: Readonly<Record<Protocol, number>> = { TCP: 6, UDP: 17, SCTP: 132 };

const PORT_WIDTH = 16;

/** Every protocol, also those without ports. */
export const ANY_PORT: PortMatch = { protocol: 0, port: 0, portBits: 0 };

/** The least number of prefixes that cover first..last exactly; at most 30. */
export function portPrefixes(first: number, last: number): { port: number; portBits: number }[] {
  const prefixes: { port: number; portBits: number }[] = [];
  for (let port = first; port <= last; ) {
    // The largest aligned block that starts at `port` and does not pass `last`.
    let size = 1;
    let portBits = PORT_WIDTH;
    while (portBits > 0 && port % (size * 2) === 0 && port + size * 2 - 1 <= last) {
      size *= 2;
      portBits -= 1;
    }
    prefixes.push({ port, portBits });
    port += size;
  }
  return prefixes;
}

/** What the `ports` of a rule match, each once. Missing or empty: everything, ICMP included, as in Kubernetes. */
export function portMatches(ports: readonly PolicyPort[] | undefined): readonly PortMatch[] {
  if (ports === undefined || ports.length === 0) return [ANY_PORT];
  return distinct(
    ports.flatMap(({ protocol, port, endPort }) => {
      const number = PROTOCOL_NUMBERS[protocol];
      if (port === undefined) return [everyPort(number)];
      return typeof port === 'string' ? [namedPort(number, port)] : portRange(number, port, endPort ?? port);
    }),
  );
}

/** The same for the `protocols` of a ClusterNetworkPolicy's rule. A name there is one in any protocol. */
export function protocolMatches(
  protocols: readonly ClusterPolicyProtocol[] | undefined,
): readonly PortMatch[] {
  if (protocols === undefined || protocols.length === 0) return [ANY_PORT];
  return distinct(
    protocols.flatMap(({ tcp, udp, sctp, destinationNamedPort: name }) => [
      ...transportMatches(PROTOCOL_NUMBERS.TCP, tcp),
      ...transportMatches(PROTOCOL_NUMBERS.UDP, udp),
      ...transportMatches(PROTOCOL_NUMBERS.SCTP, sctp),
      ...(name === undefined ? [] : Object.values(PROTOCOL_NUMBERS).map((number) => namedPort(number, name))),
    ]),
  );
}

function transportMatches(protocol: number, transport: ClusterPolicyProtocol['tcp']): PortMatch[] {
  if (transport === undefined) return [];
  const { number, range } = transport.destinationPort ?? {};
  if (number !== undefined) return portRange(protocol, number, number);
  return range === undefined ? [everyPort(protocol)] : portRange(protocol, range.start, range.end);
}

function everyPort(protocol: number): PortMatch {
  return { protocol, port: 0, portBits: 0 };
}

function portRange(protocol: number, first: number, last: number): PortMatch[] {
  return portPrefixes(first, last).map((prefix) => ({ protocol, ...prefix }));
}

function namedPort(protocol: number, name: string): PortMatch {
  return { protocol, port: 0, portBits: PORT_BITS_NAMED, name };
}

function distinct(matches: readonly PortMatch[]): PortMatch[] {
  return [...new Map(matches.map((match) => [portKey(match), match])).values()];
}

/** A match as a key of a Map, equal exactly when the matches are equal. */
export function portKey({ protocol, port, portBits, name }: PortMatch): number | string {
  return name === undefined ? (protocol << 21) | (portBits << 16) | port : `${protocol} ${name}`;
}

/** The leading `portBits` bits of a port. */
export function portPrefix(port: number, portBits: number): number {
  return portBits === 0 ? 0 : port & (0xffff << (PORT_WIDTH - portBits)) & 0xffff;
}
