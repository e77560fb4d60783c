/** Which address a service gets. Pure. */
import { createHash } from 'node:crypto';
import { type Address, addressAt, type Cidr, cidrSize, reservedUse } from '../model/address.js';

/** How many addresses are looked at before the range counts as full. */
const TRIES_MAX = 65536;

/**
 * A free address of the range; undefined: there is none. The search begins where the name leads, so that an address that
 * was given up is not the next one to be given.
 */
export function freeServiceAddress(
  cidr: Cidr,
  name: string,
  isFree: (address: Address) => boolean,
): Address | undefined {
  const size = cidrSize(cidr);
  const start = createHash('sha256').update(name).digest().readBigUInt64LE(0) % size;
  const tries = size < TRIES_MAX ? Number(size) : TRIES_MAX;
  for (let step = 0; step < tries; step++) {
    const address = addressAt(cidr, (start + BigInt(step)) % size);
    if (reservedUse(cidr, address) === undefined && isFree(address)) return address;
  }
  return undefined;
}
