/**
 * Which address an endpoint gets. Works on the store alone, in the caller's transaction, in a number of
 * steps that depends neither on the size of the range nor on how many addresses are in use:
 * a mark divides the range into what was given before and what never was; released addresses wait in a queue,
 * linked through their records, and the one released longest ago is reused first. Reuse begins when the
 * queue is longer than QUARANTINE or nothing new is left, so that what still belongs to the last user
 * (connections, caches of neighbours) does not meet the next one.
 */
import {
  addressAt,
  type Cidr,
  cidrContains,
  cidrSize,
  type Family,
  formatAddress,
  formatCidr,
  offsetOf,
  parseAddress,
  parseCidr,
  reservedUse,
} from '../model/address.js';
import { AppError } from '../model/errors.js';
import { gatewayOf, type Network } from '../model/network.js';
import type { Reader, Transaction } from '../store/store.js';
import { addresses, type Pool, pools, released } from '../store/tables.js';

/** How many released addresses wait at least, as long as the range has others. */
export const QUARANTINE = 1024;

/** What of a network its addresses depend on. */
export type AddressedNetwork = Pick<Network, 'id' | 'name' | 'cidr' | 'gateway' | 'cidr6' | 'gateway6'>;

/** A range as the functions below work on it. */
interface Range {
  readonly network: AddressedNetwork;
  readonly cidr: Cidr;
  readonly gateway: string;
}

/**
 * Gives the endpoint an address of the network's range of that family: the wanted one, or the next. Throws
 * AppError INVALID_REQUEST (no such range; wanted is outside it or not for endpoints; `field` names it),
 * ADDRESS_IN_USE, POOL_EXHAUSTED.
 */
export function allocateAddress(
  transaction: Transaction,
  network: AddressedNetwork,
  family: Family,
  endpointId: number,
  wanted?: string,
): string {
  const range = rangeOf(network, family);
  const pool = poolOf(transaction, network.id, family);
  const result =
    wanted === undefined
      ? nextAddress(transaction, range, pool)
      : wantedAddress(transaction, range, pool, wanted);
  transaction.put(addresses, [network.id, result.address], {
    network_id: network.id,
    address: result.address,
    endpoint_id: endpointId,
  });
  transaction.put(pools, [network.id, family], { ...result.pool, used: result.pool.used + 1 });
  return result.address;
}

/** Addresses from the first to the last, both of one family. */
export interface AddressSpan {
  family: Family;
  first: string;
  last: string;
}

/**
 * Gives the endpoint an address of one of the spans, which must be within the network's range: a fresh one, or that
 * which was given back first. Throws AppError as allocateAddress() does.
 */
export function allocateWithin(
  transaction: Transaction,
  network: AddressedNetwork,
  family: Family,
  endpointId: number,
  spans: readonly AddressSpan[],
): string {
  const range = rangeOf(network, family);
  for (const { first, last } of spans) {
    for (const end of [first, last]) {
      if (cidrContains(range.cidr, parseAddress(end))) continue;
      throw refused(family, `${end} is outside ${formatCidr(range.cidr)} of network ${network.name}`);
    }
  }
  const free = freeWithin(transaction, range, spans);
  if (free === undefined) {
    throw new AppError(
      'POOL_EXHAUSTED',
      `network ${network.name} has no free address in the ranges asked for`,
    );
  }
  return allocateAddress(transaction, network, family, endpointId, free);
}

/** The first address that nobody had yet, else the one that has waited longest. */
function freeWithin(
  transaction: Transaction,
  range: Range,
  spans: readonly AddressSpan[],
): string | undefined {
  const { network, cidr } = range;
  for (const { first, last } of spans) {
    const end = offsetOf(cidr, parseAddress(last));
    for (let offset = offsetOf(cidr, parseAddress(first)); offset <= end; offset++) {
      const address = formatAddress(addressAt(cidr, offset));
      if (!isTaken(transaction, range, address)) return address;
    }
  }
  const within = (address: string) =>
    spans.some(({ first, last }) => {
      const { value } = parseAddress(address);
      return parseAddress(first).value <= value && value <= parseAddress(last).value;
    });
  let waiting = poolOf(transaction, network.id, cidr.family).oldest;
  while (waiting !== undefined && !within(waiting)) {
    waiting = transaction.get(released, [network.id, waiting])?.newer;
  }
  return waiting;
}

/** Takes the address back from the endpoint. False when the endpoint does not have it: nothing changes then. */
export function releaseAddress(
  transaction: Transaction,
  network: AddressedNetwork,
  address: string,
  endpointId: number,
): boolean {
  if (transaction.get(addresses, [network.id, address])?.endpoint_id !== endpointId) return false;
  transaction.delete(addresses, [network.id, address]);
  const { family } = parseAddress(address);
  const { cidr } = rangeOf(network, family);
  const pool = poolOf(transaction, network.id, family);
  const freed = { ...pool, used: pool.used - 1 };
  // One beyond the mark is found again by the mark; remembering them without end would fill the store.
  const isBeyondMark = offsetOf(cidr, parseAddress(address)) >= BigInt(pool.mark);
  const next = isBeyondMark && pool.waiting >= QUARANTINE ? freed : enqueue(transaction, freed, address);
  transaction.put(pools, [network.id, family], next);
  return true;
}

/** Forgets everything about the addresses of a network that is removed. Throws NETWORK_IN_USE while one is in use. */
export function forgetAddresses(transaction: Transaction, network: Pick<Network, 'id' | 'name'>): void {
  if (transaction.any(addresses, [network.id])) {
    throw new AppError('NETWORK_IN_USE', `network ${network.name} has addresses in use`);
  }
  for (const { address } of transaction.list(released, [network.id]))
    transaction.delete(released, [network.id, address]);
  for (const { family } of transaction.list(pools, [network.id]))
    transaction.delete(pools, [network.id, family]);
}

/** How many addresses of a range endpoints have, and how many they could have. */
export function addressUsage(
  reader: Reader,
  network: AddressedNetwork,
  family: Family,
): { used: number; capacity: bigint } {
  const { cidr } = rangeOf(network, family);
  // Reserved are the gateway, the base, and in IPv4 the broadcast address.
  const capacity = cidrSize(cidr) - (family === 4 ? 3n : 2n);
  return { used: reader.get(pools, [network.id, family])?.used ?? 0, capacity };
}

function rangeOf(network: AddressedNetwork, family: Family): Range {
  const [text, gateway] = family === 4 ? [network.cidr, network.gateway] : [network.cidr6, network.gateway6];
  if (text === undefined) throw refused(family, `network ${network.name} has no IPv${family} range`);
  return { network, cidr: parseCidr(text), gateway: gatewayOf(text, gateway) };
}

function poolOf(reader: Reader, networkId: number, family: Family): Pool {
  return (
    reader.get(pools, [networkId, family]) ?? {
      network_id: networkId,
      family,
      mark: '1',
      used: 0,
      waiting: 0,
    }
  );
}

function refused(family: Family, message: string): AppError {
  const path = family === 4 ? 'ip_address' : 'ip6_address';
  return new AppError('INVALID_REQUEST', message, { details: [{ path, message }] });
}

/** Why endpoints cannot have the address of the range, or undefined. */
function reservedFor({ cidr, gateway }: Range, address: string): string | undefined {
  return address === gateway ? 'the gateway' : reservedUse(cidr, parseAddress(address));
}

function wantedAddress(
  transaction: Transaction,
  range: Range,
  pool: Pool,
  wanted: string,
): { address: string; pool: Pool } {
  const parsed = parseAddress(wanted);
  const address = formatAddress(parsed);
  const { cidr, network } = range;
  if (!cidrContains(cidr, parsed)) {
    throw refused(cidr.family, `${address} is outside ${formatCidr(cidr)} of network ${network.name}`);
  }
  const use = reservedFor(range, address);
  if (use !== undefined) throw refused(cidr.family, `${address} is ${use} of network ${network.name}`);
  if (transaction.get(addresses, [network.id, address]) !== undefined) {
    throw new AppError('ADDRESS_IN_USE', `${address} is in use on network ${network.name}`);
  }
  return { address, pool: dequeue(transaction, pool, address) };
}

function nextAddress(transaction: Transaction, range: Range, pool: Pool): { address: string; pool: Pool } {
  const { network } = range;
  if (pool.waiting <= QUARANTINE) {
    const fresh = freshAddress(transaction, range, BigInt(pool.mark));
    if (fresh.address !== undefined) return { address: fresh.address, pool: { ...pool, mark: fresh.mark } };
    if (pool.oldest !== undefined) {
      return { address: pool.oldest, pool: dequeue(transaction, { ...pool, mark: fresh.mark }, pool.oldest) };
    }
  } else if (pool.oldest !== undefined) {
    return { address: pool.oldest, pool: dequeue(transaction, pool, pool.oldest) };
  }
  throw new AppError('POOL_EXHAUSTED', `network ${network.name} has no free IPv${pool.family} address left`);
}

/**
 * The first address from the mark on that nobody has or waits to give away, and the mark behind it. Each one
 * that is passed over was asked for by name before, and is passed over once.
 */
function freshAddress(
  transaction: Transaction,
  range: Range,
  mark: bigint,
): { address?: string; mark: string } {
  const { cidr } = range;
  const size = cidrSize(cidr);
  for (let offset = mark; offset < size; offset++) {
    const address = formatAddress(addressAt(cidr, offset));
    if (!isTaken(transaction, range, address)) return { address, mark: String(offset + 1n) };
  }
  return { mark: String(size) };
}

/** Somebody has it, or it waits to be given away again, or nobody can have it. */
function isTaken(transaction: Transaction, range: Range, address: string): boolean {
  const { id } = range.network;
  return (
    reservedFor(range, address) !== undefined ||
    transaction.get(addresses, [id, address]) !== undefined ||
    transaction.get(released, [id, address]) !== undefined
  );
}

/** Appends to the queue. */
function enqueue(transaction: Transaction, pool: Pool, address: string): Pool {
  const { network_id: id, newest } = pool;
  transaction.put(released, [id, address], { network_id: id, address, older: newest });
  const before = newest === undefined ? undefined : transaction.get(released, [id, newest]);
  if (before !== undefined) transaction.put(released, [id, before.address], { ...before, newer: address });
  return { ...pool, waiting: pool.waiting + 1, oldest: pool.oldest ?? address, newest: address };
}

/** Removes from the queue, wherever in it the address is; nothing happens when it is not. */
function dequeue(transaction: Transaction, pool: Pool, address: string): Pool {
  const id = pool.network_id;
  const record = transaction.get(released, [id, address]);
  if (record === undefined) return pool;
  transaction.delete(released, [id, address]);
  const older = record.older === undefined ? undefined : transaction.get(released, [id, record.older]);
  const newer = record.newer === undefined ? undefined : transaction.get(released, [id, record.newer]);
  if (older !== undefined) transaction.put(released, [id, older.address], { ...older, newer: record.newer });
  if (newer !== undefined) transaction.put(released, [id, newer.address], { ...newer, older: record.older });
  return {
    ...pool,
    waiting: pool.waiting - 1,
    oldest: pool.oldest === address ? record.newer : pool.oldest,
    newest: pool.newest === address ? record.older : pool.newest,
  };
}
