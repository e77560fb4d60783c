/** Policies: stored as they were given, in force as the engine compiles them. */
import { compareText } from '../../firewall/rule-ref.js';
import { AppError } from '../../model/errors.js';
import { type Policy, parsePolicy, policyRef } from '../../model/policy.js';
import type { Reader, Store } from '../../store/store.js';
import { type PolicyRecord, policies } from '../../store/tables.js';
import type { AppliedPolicy, PolicyPreview, PolicyService } from '../contract.js';
import { type OnLeft, Rollback } from '../rollback.js';
import type { Serial } from '../serial.js';
import type { EngineChange, PolicySync } from './policy-sync.js';

/** What becomes of the policy of one name; undefined: there is none. */
interface Change {
  readonly namespace: string;
  readonly name: string;
  readonly before: PolicyRecord | undefined;
  readonly after: PolicyRecord | undefined;
}

/** What a change of the engine would change, while nothing else does; see previewPolicies(). */
type Preview = (apply: EngineChange, undo: EngineChange) => Promise<PolicyPreview>;

export class Policies implements PolicyService {
  constructor(
    private readonly parts: {
      store: Store;
      serial: Serial;
      policy: PolicySync;
      preview: Preview;
      onLeft: OnLeft;
    },
  ) {}

  list(): Policy[] {
    return storedPolicies(this.parts.store);
  }

  get(namespace: string, name: string): Policy {
    return policyOf(this.require(namespace, name));
  }

  apply(wanted: readonly Policy[]): Promise<AppliedPolicy[]> {
    return this.parts.serial.run(async () => {
      const changes = this.changesOf(wanted);
      await this.change(changes);
      return changes.map(({ policy, before }) => ({ policy, created: before === undefined }));
    });
  }

  preview(wanted: readonly Policy[]): Promise<PolicyPreview> {
    return this.parts.serial.run(async () => {
      const changes = this.changesOf(wanted);
      return this.parts.preview(applying(changes, 'after'), applying(changes, 'before'));
    });
  }

  delete(namespace: string, name: string): Promise<void> {
    return this.parts.serial.run(async () => {
      await this.change([{ namespace, name, before: this.require(namespace, name), after: undefined }]);
    });
  }

  private changesOf(wanted: readonly Policy[]): (Change & { policy: Policy })[] {
    const now = new Date().toISOString();
    return wanted.map((policy) => {
      const { namespace, name } = policyRef(policy);
      const before = this.parts.store.get(policies, [namespace, name]);
      const after = recordOf(policy, before?.created_at ?? now);
      return { policy, namespace, name, before, after };
    });
  }

  /** Stored before they are in force, and taken back when they do not fit: together in each case. */
  private async change(changes: readonly Change[]): Promise<void> {
    const { store, policy, onLeft } = this.parts;
    const write = (side: 'before' | 'after') =>
      store.transaction((transaction) => {
        for (const { namespace, name, [side]: record } of changes) {
          if (record === undefined) transaction.delete(policies, [namespace, name]);
          else transaction.put(policies, [namespace, name], record);
        }
      });
    const rollback = new Rollback(onLeft);
    try {
      await policy.change(applying(changes, 'after'), applying(changes, 'before'), async () => {
        await write('after');
        rollback.add('policies are recorded that are not in force', () => write('before'));
      });
    } catch (error) {
      await rollback.run();
      throw error;
    }
  }

  private require(namespace: string, name: string): PolicyRecord {
    const record = this.parts.store.get(policies, [namespace, name]);
    if (record === undefined)
      throw new AppError('POLICY_NOT_FOUND', `there is no policy ${namespace}/${name}`);
    return record;
  }
}

/**
 * Brings the engine to one side of the changes, wherever between both it is. What is replaced goes first: on the way
 * there is never more than on the larger of the two sides, so that what fits is not refused, and undoing never is.
 *
 * In the order in which rules of one peer stand, and back: rules come and go at the end of them.
 */
function applying(changes: readonly Change[], side: 'before' | 'after'): EngineChange {
  const ordered = [...changes].sort(
    (left, right) => compareText(left.namespace, right.namespace) || compareText(left.name, right.name),
  );
  return function* (engine) {
    for (const { namespace, name } of ordered.toReversed()) yield* engine.removingPolicy({ namespace, name });
    for (const { [side]: record } of ordered) {
      if (record !== undefined) yield* engine.upsertingPolicy(policyOf(record));
    }
  };
}

export function storedPolicies(reader: Reader): Policy[] {
  return reader.list(policies).map(policyOf);
}

/** The policies of records, each read once: records are replaced, never changed. */
const read = new WeakMap<PolicyRecord, Policy>();

function recordOf(policy: Policy, created_at: string): PolicyRecord {
  const record: PolicyRecord = { kind: policy.kind, object: { ...policy }, created_at };
  read.set(record, policy);
  return record;
}

function policyOf(record: PolicyRecord): Policy {
  const known = read.get(record);
  if (known !== undefined) return known;
  const policy = parsePolicy(record.object);
  read.set(record, policy);
  return policy;
}
