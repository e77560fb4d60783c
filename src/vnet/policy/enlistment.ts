/** Which identities are in use: the policy of one comes before its first endpoint, and goes with its last. */
import type { Endpoint } from '../../model/endpoint.js';
import { AppError } from '../../model/errors.js';
import type { Identity } from '../../model/identity.js';
import { isFull, KernelError } from '../../native/errors.js';
import type { Store, Transaction } from '../../store/store.js';
import { endpoints, identities } from '../../store/tables.js';
import { type OnLeft, Rollback } from '../rollback.js';
import { claimIdentity, dropIdentity, type IdentitySet, type IdentityUse } from './identities.js';
import type { PolicySync } from './policy-sync.js';

/** Only under the serial. */
export class Enlistment {
  constructor(
    private readonly store: Store,
    private readonly policy: PolicySync,
    private readonly identityUse: IdentityUse,
    private readonly onLeft: OnLeft,
  ) {}

  /**
   * The identity that an endpoint is about to have; its policy is in the maps when this resolves. Before any record says
   * that somebody has it: what does not fit is refused here (INSUFFICIENT_CAPACITY, or what the kernel says), and nothing
   * has changed. A daemon that starts after one that ended here finds an identity that nobody has, and drops it.
   * It is not known to be on disk: who records that somebody has it asks for it there (requireIdentity()).
   */
  async enlist(endpointId: Endpoint['id'], set: IdentitySet): Promise<Identity> {
    const { store, policy, identityUse } = this;
    const now = new Date().toISOString();
    const { result: identity } = await store.stage(
      (transaction) => claimIdentity(transaction, set, now),
      'soon',
    );
    if (!this.isInUse(identity.id)) {
      const rollback = new Rollback(this.onLeft);
      rollback.add(`the record of identity ${identity.id}, which nobody has`, () =>
        this.forgetUnused(identity.id),
      );
      try {
        await policy.changeUnobserved(
          (engine) => engine.upsertingIdentity(identity),
          (engine) => engine.removingIdentity(identity.id),
        );
      } catch (error) {
        await rollback.run();
        throw error;
      }
    }
    identityUse.add(identity.id, endpointId);
    return identity;
  }

  /** One endpoint less has the identity; with the last one its policy goes, and its record is for the caller to drop. */
  async dismiss(
    { id: endpointId, identity: id }: Pick<Endpoint, 'id' | 'identity'>,
    identity = this.store.get(identities, [id]),
  ): Promise<void> {
    const { policy, identityUse } = this;
    if (!identityUse.remove(id, endpointId)) return;
    await policy.changeUnobserved(
      (engine) => engine.removingIdentity(id),
      function* (engine) {
        if (identity !== undefined) yield* engine.upsertingIdentity(identity);
      },
    );
  }

  /** Takes back enlist(), also of an identity whose record is lost, and the record when nobody has the identity then. */
  async giveUp(endpointId: Endpoint['id'], identity: Identity): Promise<void> {
    await this.dismiss({ id: endpointId, identity: identity.id }, identity);
    // An endpoint that could not be taken off is recorded as who it is.
    if (this.store.get(endpoints, [endpointId])?.identity === identity.id) return;
    await this.forgetUnused(identity.id);
  }

  /** dismiss() of who an endpoint was, and the record. It is somebody else, whatever becomes of this: never throws. */
  async retire(former: Pick<Endpoint, 'id' | 'identity'>): Promise<void> {
    try {
      await this.dismiss(former);
      await this.forgetUnused(former.identity);
    } catch (error) {
      this.onLeft(error, `identity ${former.identity}, which endpoint ${former.id} had`);
    }
  }

  isInUse(identity: number): boolean {
    return this.identityUse.count(identity) > 0;
  }

  /** Drops the record of an identity that nobody has any more. */
  drop(transaction: Transaction, identity: number): void {
    if (!this.isInUse(identity)) dropIdentity(transaction, identity);
  }

  /** Not waited for: the next daemon drops what is left of it. */
  private async forgetUnused(identity: number): Promise<void> {
    await this.store.stage((transaction) => this.drop(transaction, identity), 'soon');
  }
}

/** The process, or the system, may have no more files open. */
export function noDescriptors(cause?: KernelError): AppError {
  return new AppError('INSUFFICIENT_CAPACITY', 'the daemon has no files left that it may open', {
    ...(cause === undefined ? {} : { cause }),
    hint: 'raise LimitNOFILE of the service (ulimit -n), and restart the daemon',
  });
}

/** What a full map of the kernel, or no file that is left, means to the caller. */
export function capacityError(error: unknown): unknown {
  if (!(error instanceof KernelError)) return error;
  if (error.code === 'EMFILE' || error.code === 'ENFILE') return noDescriptors(error);
  if (!isFull(error)) {
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
