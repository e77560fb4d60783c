/** Ports of a rule as the kernel looks them up: prefixes of the 16 bits of a port. */
import type { Protocol } from '../model/names.js';
import type { PolicyPort } from '../model/policy.js';
import type { PortMatch } from './types.js';

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
  const matches = new Map<number, PortMatch>();
  for (const { protocol, port, endPort } of ports) {
    const number = PROTOCOL_NUMBERS[protocol];
    const prefixes = port === undefined ? [{ port: 0, portBits: 0 }] : portPrefixes(port, endPort ?? port);
    for (const prefix of prefixes) {
      const match = { protocol: number, ...prefix };
      matches.set(portKey(match), match);
    }
  }
  return [...matches.values()];
}

/** A match as one number, equal exactly when the matches are equal. */
export function portKey({ protocol, port, portBits }: PortMatch): number {
  return (protocol << 21) | (portBits << 16) | port;
}

/** The leading `portBits` bits of a port. */
export function portPrefix(port: number, portBits: number): number {
  return portBits === 0 ? 0 : port & (0xffff << (PORT_WIDTH - portBits)) & 0xffff;
}
