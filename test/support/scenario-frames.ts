/** Frames as those who are in a scenario send and get them. */
import { type Packet, packet } from './packet.js';
import { addressOf, type Family, type TestEndpoint } from './scenario-parties.js';

/** An IP packet as the endpoint sends it to an address. */
export function outgoing(
  from: TestEndpoint,
  destination: string,
  fields: { ttl?: number; protocol?: number } = {},
) {
  const source = addressOf(from, destination.includes(':') ? 6 : 4);
  return packet()
    .ethernet({ source: from.mac, destination: from.gatewayMac })
    .ip({ source, destination, ...fields });
}

/** An IP packet as the host hands it to the endpoint. */
export function incoming(to: TestEndpoint, source: string, fields: { ttl?: number; protocol?: number } = {}) {
  const destination = addressOf(to, source.includes(':') ? 6 : 4);
  return packet()
    .ethernet({ source: to.gatewayMac, destination: to.mac })
    .ip({ source, destination, ...fields });
}

/** An echo message of the family; a reply when asked for. */
export function echo(base: Packet, family: Family, id: number, reply = false): Packet {
  if (family === 4) return base.icmp({ type: reply ? 0 : 8, id, sequence: 1 }).payload(32);
  return base.icmpv6({ type: reply ? 129 : 128, id, sequence: 1 }).payload(32);
}
