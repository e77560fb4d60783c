import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ConntrackSweeper } from '../../src/datapath/conntrack-sweeper.js';
import type { PolicyChange, PolicyContents, PolicyTable } from '../../src/datapath/policy-table.js';
import { PolicyEngine } from '../../src/firewall/engine.js';
import { type Policy, parsePolicy, policyRef } from '../../src/model/policy.js';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { cidrNumbers, portNames, rules } from '../../src/store/tables.js';
import { PolicySync } from '../../src/vnet/policy/policy-sync.js';
import { WIDE } from '../support/admission-world.js';
import { nothingLeft } from '../support/nothing-left.js';

/** A kernel that takes every change, or refuses the next one. */
class Kernel {
  refuses = false;
  /** Numbers of rules that were ever written. */
  readonly seen = new Set<number>();

  readonly table = {
    commit: async (change: PolicyChange) => {
      if (this.refuses) throw new Error('no');
      for (const { decision } of change.set) this.seen.add(decision.rule);
    },
    advance: async () => {},
    room: async () => WIDE,
    load: async (): Promise<PolicyContents> => ({ entries: [], subjects: [], cidrs: [] }),
  } as unknown as PolicyTable;
}

let directory: string;
let store: EmbeddedStore;
let kernel: Kernel;
let sync: PolicySync;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'quantum-numbers-'));
  store = await EmbeddedStore.open(directory);
  kernel = new Kernel();
  sync = openSync();
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

function openSync(): PolicySync {
  const engine = new PolicyEngine();
  engine.upsertNetwork({ id: 1, name: 'n', isolation_mode: 'full', peers: [] });
  engine.upsertIdentity({ id: 256, network_id: 1, namespace: 'default', labels: {} });
  const sweeper = { sweep: async () => undefined } as unknown as ConntrackSweeper;
  return new PolicySync(engine, kernel.table, store, sweeper, {
    error: (error) => {
      throw error;
    },
    left: nothingLeft,
    uncertain: () => undefined,
  });
}

const named = (name: string, cidr: string, port: string) =>
  parsePolicy({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name },
    spec: {
      podSelector: {},
      ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/8', except: [cidr] } }], ports: [{ port }] }],
    },
  });

const add = (policy: Policy) => (engine: PolicyEngine) => engine.upsertingPolicy(policy);
const remove = (policy: Policy) => (engine: PolicyEngine) => engine.removingPolicy(policyRef(policy));
const put = (policy: Policy) => sync.change(add(policy), remove(policy));
const take = (policy: Policy) => sync.change(remove(policy), add(policy));
const policyNames = () => store.list(rules).flatMap(({ ref }) => (ref.kind === 'policy' ? ref.name : []));
const stored = () => ({
  rules: store.list(rules),
  names: store.list(portNames),
  cidrs: store.list(cidrNumbers),
});
const texts = (table: typeof portNames) => store.list(table).map(({ text }) => text);

describe('numbers of rules, ranges and names of ports', () => {
  it('go with what named them, at the next change, and are not given again', async () => {
    for (let round = 0; round < 20; round++) {
      const policy = named(`p${round}`, `10.${round}.0.0/16`, `port-${round}`);
      await put(policy);
      expect(policyNames()).toEqual([`p${round}`]);
      await take(policy);
    }
    const last = named('last', '10.1.0.0/16', 'web');
    await put(last);
    expect(policyNames()).toEqual(['last']);
    expect(texts(portNames)).toEqual(['web']);
    expect(texts(cidrNumbers)).toEqual(['10.0.0.0/8', '10.1.0.0/16']);
    expect(kernel.seen.size).toBe(21);
  });

  it('go with what named them, however many they are, a part at a time', async () => {
    const many = parsePolicy({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'many' },
      spec: {
        podSelector: {},
        ingress: Array.from({ length: 40 }, (_, rule) => ({
          from: Array.from({ length: 64 }, (_, part) => ({ ipBlock: { cidr: `10.${rule}.${part}.0/24` } })),
        })),
      },
    });
    await put(many);
    expect(texts(cidrNumbers)).toHaveLength(40 * 64);
    await take(many);
    const parts = vi.spyOn(store, 'stage');
    await put(named('last', '10.1.0.0/16', 'web'));
    expect(policyNames()).toEqual(['last']);
    expect(texts(cidrNumbers)).toEqual(['10.0.0.0/8', '10.1.0.0/16']);
    expect(parts.mock.calls.filter(([, urgency]) => urgency === 'soon').length).toBeGreaterThan(2);
    vi.restoreAllMocks();
  });

  it('stay while another policy names the same', async () => {
    const [one, other] = [named('one', '10.1.0.0/16', 'web'), named('other', '10.1.0.0/16', 'web')];
    await put(one);
    await put(other);
    const before = stored();
    await take(one);
    await put(named('third', '10.2.0.0/16', 'metrics'));
    expect(policyNames().sort()).toEqual(['other', 'third']);
    expect(store.list(portNames)).toEqual(expect.arrayContaining(before.names));
    expect(store.list(cidrNumbers)).toEqual(expect.arrayContaining(before.cidrs));
  });

  it('stay when the change that would have taken them is refused', async () => {
    const policy = named('kept', '10.1.0.0/16', 'web');
    await put(policy);
    const before = stored();
    kernel.refuses = true;
    await expect(take(policy)).rejects.toThrow('no');
    kernel.refuses = false;
    await sync.preview(remove(policy), add(policy));
    const passing = named('passing', '10.2.0.0/16', 'other');
    await put(passing);
    await take(passing);
    await put(named('later', '10.3.0.0/16', 'third'));
    expect(store.list(rules)).toEqual(expect.arrayContaining(before.rules));
    expect(store.list(portNames)).toEqual(expect.arrayContaining(before.names));
    expect(store.list(cidrNumbers)).toEqual(expect.arrayContaining(before.cidrs));
  });

  it('that a daemon left behind go at the start of the next one', async () => {
    const policy = named('gone', '10.1.0.0/16', 'web');
    await put(policy);
    await take(policy);
    expect(policyNames()).toEqual(['gone']);
    sync = openSync();
    await sync.resync();
    expect([policyNames(), texts(portNames), texts(cidrNumbers)]).toEqual([[], [], []]);
  });
});
