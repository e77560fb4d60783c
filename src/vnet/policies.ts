/** Policies: stored as they were given, in force as the engine compiles them. */
import type { PolicyEngine } from '../firewall/engine.js';
import { AppError } from '../model/errors.js';
import { type NetworkPolicy, networkPolicy } from '../model/policy.js';
import type { Reader, Store } from '../store/store.js';
import { type PolicyRecord, policies } from '../store/tables.js';
import type { PolicySync } from './policy-sync.js';
import type { Serial } from './serial.js';
import type { PolicyService } from './services.js';

export class Policies implements PolicyService {
  constructor(private readonly parts: { store: Store; serial: Serial; policy: PolicySync }) {}

  list(): NetworkPolicy[] {
    return storedPolicies(this.parts.store);
  }

  get(namespace: string, name: string): NetworkPolicy {
    return policyOf(this.require(namespace, name));
  }

  apply(wanted: NetworkPolicy): Promise<{ policy: NetworkPolicy; created: boolean }> {
    return this.parts.serial.run(async () => {
      const { store } = this.parts;
      const { namespace, name } = wanted.metadata;
      const before = store.get(policies, [namespace, name]);
      await this.change(namespace, name, before, {
        kind: 'NetworkPolicy',
        object: { ...wanted },
        created_at: before?.created_at ?? new Date().toISOString(),
      });
      return { policy: wanted, created: before === undefined };
    });
  }

  delete(namespace: string, name: string): Promise<void> {
    return this.parts.serial.run(async () => {
      await this.change(namespace, name, this.require(namespace, name), undefined);
    });
  }

  /** Stored before it is in force, and taken back when it does not fit. */
  private async change(
    namespace: string,
    name: string,
    before: PolicyRecord | undefined,
    after: PolicyRecord | undefined,
  ): Promise<void> {
    const { store, policy } = this.parts;
    const write = (record: PolicyRecord | undefined) =>
      store.transaction((transaction) => {
        if (record === undefined) transaction.delete(policies, [namespace, name]);
        else transaction.put(policies, [namespace, name], record);
      });
    const apply = (record: PolicyRecord | undefined) => (engine: PolicyEngine) =>
      record ? engine.upsertPolicy(policyOf(record)) : engine.removePolicy({ namespace, name });
    policy.rehearse(apply(after), apply(before));
    await write(after);
    try {
      await policy.change(apply(after), apply(before));
    } catch (error) {
      await write(before);
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

export function storedPolicies(reader: Reader): NetworkPolicy[] {
  return reader.list(policies).map(policyOf);
}

function policyOf(record: PolicyRecord): NetworkPolicy {
  return networkPolicy.parse(record.object);
}
