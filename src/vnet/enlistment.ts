/** Which identities are in use: the policy of one comes with its first endpoint, and goes with its last. */
import type { Endpoint } from '../model/endpoint.js';
import { AppError } from '../model/errors.js';
import { KernelError } from '../native/errors.js';
import type { Reader, Store, Transaction } from '../store/store.js';
import { identities } from '../store/tables.js';
import { dropIdentity, type IdentityUse } from './identities.js';
import type { PolicySync } from './policy-sync.js';

/** Only under the serial. */
export class Enlistment {
  constructor(
    private readonly store: Store,
    private readonly policy: PolicySync,
    private readonly identityUse: IdentityUse,
  ) {}

  /** Throws INSUFFICIENT_CAPACITY when there is no room for the rules of an identity that nobody has yet. */
  requireRoom(reader: Reader, { identity: id }: Endpoint): void {
    const { policy, identityUse } = this;
    const identity = identityUse.count(id) > 0 ? undefined : reader.get(identities, [id]);
    if (identity === undefined) return;
    policy.rehearse(
      (engine) => engine.upsertingIdentity(identity),
      (engine) => engine.removingIdentity(id),
    );
  }

  /** One endpoint more has the identity; the first one's policy is in the maps when this resolves. */
  async enlist({ id: endpointId, identity: id }: Endpoint): Promise<void> {
    const { store, policy, identityUse } = this;
    if (!identityUse.add(id, endpointId)) return;
    const identity = store.get(identities, [id]);
    try {
      if (identity === undefined) throw new AppError('INTERNAL', `identity ${id} has no record`);
      await policy.changeUnobserved(
        (engine) => engine.upsertingIdentity(identity),
        (engine) => engine.removingIdentity(id),
      );
    } catch (error) {
      identityUse.remove(id, endpointId);
      throw error;
    }
  }

  /** One endpoint less has the identity; with the last one its policy goes, and its record is for the caller to drop. */
  async dismiss({ id: endpointId, identity: id }: Endpoint): Promise<void> {
    const { store, policy, identityUse } = this;
    if (!identityUse.remove(id, endpointId)) return;
    const identity = store.get(identities, [id]);
    await policy.changeUnobserved(
      (engine) => engine.removingIdentity(id),
      function* (engine) {
        if (identity !== undefined) yield* engine.upsertingIdentity(identity);
      },
    );
  }

  isInUse(identity: number): boolean {
    return this.identityUse.count(identity) > 0;
  }

  /** Drops the record of an identity that nobody has any more. */
  drop(transaction: Transaction, identity: number): void {
    if (!this.isInUse(identity)) dropIdentity(transaction, identity);
  }
}

/** What a full map of the kernel means to the caller. */
export function capacityError(error: unknown): unknown {
  if (!(error instanceof KernelError)) return error;
  if (error.code !== 'E2BIG' && error.code !== 'ENOSPC' && error.code !== 'ENOMEM') {
    return new AppError('KERNEL_ERROR', error.message, { cause: error });
  }
  return new AppError(
    'INSUFFICIENT_CAPACITY',
    `the node has no room for another endpoint: ${error.message}`,
    {
      cause: error,
      hint: 'raise endpoints_max or port_names_max, and restart the node',
    },
  );
}
