/** Identities of the node: a number for each set of (network, namespace, labels) that some endpoint has. */
import { sha256 } from '../../model/digest.js';
import type { Endpoint } from '../../model/endpoint.js';
import { AppError } from '../../model/errors.js';
import { FIRST_IDENTITY, type Identity, identityKey } from '../../model/identity.js';
import type { Labels } from '../../model/names.js';
import type { Reader, Transaction } from '../../store/store.js';
import { endpoints, identities, identityKeys, nextNumber } from '../../store/tables.js';

export interface IdentitySet {
  network: string;
  network_id: number;
  namespace: string;
  labels: Labels;
}

function keyOf(set: IdentitySet): [string] {
  return [sha256(identityKey(set))];
}

/** The identity of a set, made if there is none. Numbers are never used again. */
export function claimIdentity(transaction: Transaction, set: IdentitySet, now: string): Identity {
  const key = keyOf(set);
  const known = transaction.get(identityKeys, key);
  if (known !== undefined) {
    const identity = transaction.get(identities, [known.identity]);
    if (identity !== undefined) return identity;
  }
  const { network, network_id, namespace, labels } = set;
  const id = nextNumber(transaction, 'identity', FIRST_IDENTITY);
  const identity: Identity = { id, network, network_id, namespace, labels, created_at: now };
  transaction.put(identities, [id], identity);
  transaction.put(identityKeys, key, { identity: id });
  return identity;
}

/**
 * For the transaction that records who has an identity which an earlier one has claimed `soon`. Throws STORE_ERROR when
 * that one could not be written: the number would be another set's, which would have the rules of this one.
 */
export function requireIdentity(reader: Reader, id: number): void {
  if (reader.get(identities, [id]) !== undefined) return;
  throw new AppError('STORE_ERROR', `could not write the record of identity ${id}`);
}

/** Forgets an identity that no endpoint has any more. */
export function dropIdentity(transaction: Transaction, id: number): void {
  const identity = transaction.get(identities, [id]);
  if (identity === undefined) return;
  transaction.delete(identities, [id]);
  transaction.delete(identityKeys, keyOf(identity));
}

/**
 * Which endpoints have each identity. Kept in memory, so that neither a change nor a question goes through them all.
 * Adding or removing again changes nothing: steps may be repeated after one that failed.
 */
export class IdentityUse {
  private readonly users = new Map<number, Set<Endpoint['id']>>();

  constructor(reader: Reader) {
    for (const { identity, id } of reader.list(endpoints)) this.add(identity, id);
  }

  count(identity: number): number {
    return this.users.get(identity)?.size ?? 0;
  }

  /** True: this is the first endpoint that has it. */
  add(identity: number, endpoint: Endpoint['id']): boolean {
    const users = this.users.get(identity) ?? new Set();
    this.users.set(identity, users.add(endpoint));
    return users.size === 1;
  }

  /** True: no endpoint has it any more. */
  remove(identity: number, endpoint: Endpoint['id']): boolean {
    const users = this.users.get(identity);
    users?.delete(endpoint);
    if (users !== undefined && users.size > 0) return false;
    this.users.delete(identity);
    return true;
  }

  inUse(): number[] {
    return [...this.users.keys()];
  }
}
