import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { PolicyEngine } from '../../src/firewall/engine.js';
import type { PolicyRef } from '../../src/firewall/types.js';
import { AppError } from '../../src/model/errors.js';
import { type Policy, parsePolicy, policyRef } from '../../src/model/policy.js';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { policies as table } from '../../src/store/tables.js';
import { Policies } from '../../src/vnet/policy/policies.js';
import type { PolicySync } from '../../src/vnet/policy/policy-sync.js';
import { Serial } from '../../src/vnet/serial.js';
import { finish, type Steps, stepping } from '../../src/work/steps.js';
import { policyWith } from '../support/bad-policy.js';

/** An engine that holds so many rules, and the change that a kernel takes or refuses. */
class Recorder {
  readonly inForce = new Map<string, Policy>();
  /** What was in force after each change, and the most rules that there were on the way. */
  readonly changes: string[][] = [];
  most = 0;
  rulesMax = Number.POSITIVE_INFINITY;
  /** Thrown by the kernel at the next change. */
  failure: Error | undefined;

  readonly engine = {
    upsertingPolicy: (policy: Policy) => stepping([policy], (one) => this.#upsert(one)),
    removingPolicy: (ref: PolicyRef) =>
      stepping([ref], ({ namespace, name }) => this.inForce.delete(`${namespace}/${name}`)),
  } as unknown as PolicyEngine;

  readonly sync = {
    change: async (
      apply: (engine: PolicyEngine) => Steps,
      undo: (engine: PolicyEngine) => Steps,
      record: () => Promise<unknown>,
    ) => {
      try {
        finish(apply(this.engine));
      } catch (error) {
        finish(undo(this.engine));
        throw error;
      }
      await record();
      const { failure } = this;
      this.failure = undefined;
      if (failure !== undefined) {
        finish(undo(this.engine));
        throw failure;
      }
      this.changes.push(this.names());
    },
  } as unknown as PolicySync;

  names(): string[] {
    return [...this.inForce.keys()].sort();
  }

  #upsert(policy: Policy): void {
    const { namespace, name } = policyRef(policy);
    const before = this.inForce.get(`${namespace}/${name}`);
    this.inForce.set(`${namespace}/${name}`, policy);
    this.most = Math.max(this.most, this.#rules());
    if (this.#rules() <= this.rulesMax) return;
    this.inForce.delete(`${namespace}/${name}`);
    if (before !== undefined) this.inForce.set(`${namespace}/${name}`, before);
    throw new AppError('INSUFFICIENT_CAPACITY');
  }

  #rules(): number {
    return [...this.inForce.values()].reduce((sum, { spec }) => sum + (spec.ingress?.length ?? 0), 0);
  }
}

const notAsked = () => Promise.reject(new Error('nobody asked for a preview'));

let directory: string;
let store: EmbeddedStore;
let recorder: Recorder;
let policies: Policies;
/** What could not be taken back, and why. */
let left: [string, unknown][];
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'quantum-policies-'));
  store = await EmbeddedStore.open(directory);
  recorder = new Recorder();
  left = [];
  policies = new Policies({
    ...{ store, serial: new Serial(), policy: recorder.sync, preview: notAsked },
    onLeft: (error, what) => left.push([what, error]),
  });
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

const named = (name: string, rules = 0) =>
  parsePolicy(policyWith({ ingress: Array.from({ length: rules }, () => ({})) }, { name }));
const guard = parsePolicy({
  apiVersion: 'policy.networking.k8s.io/v1alpha2',
  kind: 'ClusterNetworkPolicy',
  metadata: { name: 'guard' },
  spec: { tier: 'Admin', priority: 1, subject: { namespaces: {} } },
});
const stored = () => policies.list().map((policy) => Object.values(policyRef(policy)).join('/'));

describe('several policies', () => {
  it('are in force by one change, and stored', async () => {
    const applied = await policies.apply([named('a'), guard, named('b')]);
    expect(applied.map(({ created }) => created)).toEqual([true, true, true]);
    expect(recorder.changes).toEqual([['-/guard', 'default/a', 'default/b']]);
    expect(stored().sort()).toEqual(['-/guard', 'default/a', 'default/b']);
    expect(policies.get('-', 'guard')).toEqual(guard);
    expect(store.get(table, ['-', 'guard'])?.kind).toBe('ClusterNetworkPolicy');
    expect((await policies.apply([named('a'), named('c')])).map(({ created }) => created)).toEqual([
      false,
      true,
    ]);
  });

  it('come in the order of their names, whatever that of the request: each after those before it', async () => {
    await policies.apply([named('c'), guard, named('a'), named('b')]);
    const inOrder = ['-/guard', 'default/a', 'default/b', 'default/c'];
    expect([...recorder.inForce.keys()]).toEqual(inOrder);
  });

  it('of which one does not fit change nothing', async () => {
    await policies.apply([named('a', 2)]);
    recorder.rulesMax = 5;
    await expect(policies.apply([named('b', 1), named('a', 1), named('c', 5)])).rejects.toMatchObject({
      code: 'INSUFFICIENT_CAPACITY',
    });
    expect(recorder.changes).toHaveLength(1);
    expect([...recorder.inForce.values()]).toEqual([named('a', 2)]);
    expect(policies.list()).toEqual([named('a', 2)]);
  });

  it('that the kernel refuses are taken back, in the engine and in the store', async () => {
    await policies.apply([named('a', 2), guard]);
    recorder.failure = new Error('no');
    await expect(policies.apply([named('b'), named('a', 1)])).rejects.toThrow('no');
    expect(recorder.names()).toEqual(['-/guard', 'default/a']);
    expect(recorder.inForce.get('default/a')).toEqual(named('a', 2));
    expect(policies.list()).toContainEqual(named('a', 2));
    expect(stored().sort()).toEqual(['-/guard', 'default/a']);
    expect(left).toEqual([]);
  });

  it('that the kernel refuses, and the store does not give up, are told of; the caller is told why at first', async () => {
    recorder.failure = new Error('no');
    const full = new Error('the disk is full');
    const write = store.transaction.bind(store);
    vi.spyOn(store, 'transaction').mockImplementationOnce(write).mockRejectedValueOnce(full);
    await expect(policies.apply([named('a')])).rejects.toThrow('no');
    expect(left).toEqual([['policies are recorded that are not in force', full]]);
  });

  it('that replace others need room for the larger of the two sets alone', async () => {
    await policies.apply([named('a', 3), named('b', 1)]);
    recorder.rulesMax = 4;
    recorder.most = 0;
    await policies.apply([named('b', 3), named('a', 1)]);
    expect(recorder.most).toBe(4);
    expect(policies.list().map(({ spec }) => spec.ingress?.length)).toEqual([1, 3]);
  });
});

it('a policy is removed by its namespace and name', async () => {
  await policies.apply([named('guard'), guard]);
  await policies.delete('-', 'guard');
  expect(stored()).toEqual(['default/guard']);
  await expect(policies.delete('-', 'guard')).rejects.toMatchObject({ code: 'POLICY_NOT_FOUND' });
  expect(recorder.names()).toEqual(['default/guard']);
});
