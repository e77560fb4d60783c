/** MAC addresses of ours: locally administered, unicast (IEEE 802, second bit of the first byte set). */
import { randomInt } from 'node:crypto';

/**
 * MAC of the gateway of a network: of its bridge and of the host's side of every veth. One address for all of
 * them, so that a container that learns it once can keep it wherever it talks to.
 */
export function gatewayMac(networkId: number): string {
  const bytes = Buffer.from([0x02, 0x71, 0, 0, 0, 0]);
  bytes.writeUInt32BE(networkId, 2);
  return format(bytes);
}

/** A MAC for a container's side. 0x06 keeps it apart from every gateway's. */
export function randomMac(): string {
  const bytes = Buffer.of(0x06, 0, 0, 0, 0, 0);
  bytes.writeUIntBE(randomInt(2 ** 40), 1, 5);
  return format(bytes);
}

function format(bytes: Buffer): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}
