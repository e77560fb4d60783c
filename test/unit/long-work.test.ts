/** Policies that come to very much keep nobody waiting while they are read, compared and forgotten: all of it is in small steps. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { CidrKey, CidrValue } from '../../src/datapath/abi/generated.js';
import { CIDR_CLASSES, cidrKey, SlottedMap } from '../../src/datapath/policy-cells.js';
import { directionCode } from '../../src/datapath/policy-table.js';
import { TypedMap } from '../../src/datapath/typed-map.js';
import { addition } from '../../src/firewall/addition.js';
import { PolicyEngine } from '../../src/firewall/engine.js';
import { RuleTable } from '../../src/firewall/lookup.js';
import { previewChanges } from '../../src/firewall/preview.js';
import type { PolicyDelta, RuleRef } from '../../src/firewall/types.js';
import { parseCidr } from '../../src/model/address.js';
import { parsePolicy } from '../../src/model/policy.js';
import type { BpfMap } from '../../src/native/bpf.js';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { cidrNumbers, rules } from '../../src/store/tables.js';
import { subjectsOf } from '../../src/vnet/policy/policy-difference.js';
import { RuleNumbers } from '../../src/vnet/policy/rule-numbers.js';
import { claimNumbers, retainNumbers } from '../../src/vnet/policy/stored-numbers.js';
import type { Steps } from '../../src/work/steps.js';

afterEach(() => {
  vi.restoreAllMocks();
});

const count = (length: number) => [...Array(length).keys()];

/** So many ranges, which one container is let in from. */
const MANY = 6400;
const cidrOf = (index: number) => `100.${index >> 8}.${index & 255}.0/24`;
const policy = parsePolicy({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'many' },
  spec: {
    podSelector: {},
    ingress: count(MANY / 64).map((rule) => ({
      from: count(64).map((part) => ({ ipBlock: { cidr: cidrOf(rule * 64 + part) } })),
    })),
  },
});

function engineWith(): PolicyEngine {
  const engine = new PolicyEngine();
  engine.upsertNetwork({ id: 1, name: 'n', isolation_mode: 'full', peers: [] });
  engine.upsertIdentity({ id: 256, network_id: 1, namespace: 'default', labels: {} });
  engine.upsertPolicy(policy);
  return engine;
}

/** How many steps it takes, and what it comes to. */
function stepsOf<T>(steps: Steps<T>): { taken: number; result: T } {
  for (let taken = 1; ; taken += 1) {
    const step = steps.next();
    if (step.done === true) return { taken, result: step.value };
  }
}

/** Turns of the event loop while it goes on, where each step takes a turn. */
async function turnsOf(act: () => Promise<unknown>): Promise<number> {
  let now = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => {
    now += 20;
    return now;
  });
  let turns = 0;
  const others = () => {
    turns += 1;
    clock = setImmediate(others);
  };
  let clock = setImmediate(others);
  await act();
  clearImmediate(clock);
  vi.restoreAllMocks();
  return turns;
}

it('whose rules a change concerns', () => {
  const delta: PolicyDelta = addition(engineWith().snapshot());
  const { taken, result } = stepsOf(subjectsOf(delta));
  expect(result).toEqual([256]);
  expect(taken).toBeGreaterThan((2 * MANY) / 512);
  const gone = { ...delta, subjects: { set: [], delete: [256, 257] } };
  expect(stepsOf(subjectsOf({ ...gone, set: [], cidrs: { set: [], delete: [] } })).result).toEqual([]);
});

it('rules as a table, and what a dry run asks of them', () => {
  const engine = engineWith();
  const { taken, result: table } = stepsOf(RuleTable.making(engine.snapshot()));
  expect(taken).toBeGreaterThan((2 * MANY) / 512);
  expect(table.entries).toHaveLength(MANY);
  engine.removePolicy({ namespace: 'default', name: 'many' });
  const endpoints = count(500).map((index) => ({
    addresses: [`10.1.${index >> 8}.${index & 255}`],
    ports: [],
  }));
  const steps = previewChanges({
    identities: [{ id: 256, network_id: 1, endpoints }],
    affected: new Map([[256, { before: table, after: RuleTable.from(engine.snapshot()) }]]),
    tableOf: () => RuleTable.making(engine.snapshot()),
    ...{ host: [], inside: [], limits: { decisions: 200, changes: 10 } },
  });
  const around = vi.spyOn(Map.prototype, 'set');
  let ofOneStep = 0;
  for (let step = steps.next(); step.done !== true; step = steps.next()) {
    ofOneStep = Math.max(ofOneStep, around.mock.calls.length);
    around.mockClear();
  }
  expect(ofOneStep).toBeLessThan(1200);
});

it('what the kernel has', async () => {
  const keys = count(MANY).map((index) =>
    cidrKey({ subject: 256, direction: directionCode('ingress'), cidr: parseCidr(cidrOf(index)) }),
  );
  const values = keys.map((key, index) => ({ key, slot: [index + 1, index + 1] as [number, number] }));
  const raw = {
    info: { maxEntries: MANY },
    entries: async () => ({ keys: CidrKey.encodeMany(keys), values: CidrValue.encodeMany(values) }),
  } as unknown as BpfMap;
  const map = new SlottedMap(new TypedMap(raw, CidrKey, CidrValue), CIDR_CLASSES);
  let found: unknown[] = [];
  const turns = await turnsOf(async () => {
    found = await map.settleOn(0);
  });
  expect(found).toEqual(keys.map((key, index) => [key, index + 1]));
  expect(turns).toBeGreaterThan(MANY / 32);
});

it('numbers that nothing has any more', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'quantum-long-'));
  const store = await EmbeddedStore.open(directory);
  try {
    const refs = count(2500).map(
      (index): RuleRef => ({ kind: 'policy', namespace: 'default', name: 'p', direction: 'ingress', index }),
    );
    const numbers = new RuleNumbers(store);
    await numbers.of(refs);
    await claimNumbers(store, cidrNumbers, count(2500).map(cidrOf));
    const stage = vi.spyOn(store, 'stage');
    const parts = () => stage.mock.calls.filter(([, urgency]) => urgency === 'soon').length;
    const [kept] = refs;
    await numbers.retain(kept === undefined ? [] : [kept]);
    expect([parts(), store.list(rules).map(({ ref }) => ref)]).toEqual([3, [kept]]);
    await retainNumbers(store, cidrNumbers, [cidrOf(7)]);
    expect([parts(), store.list(cidrNumbers).map(({ text }) => text)]).toEqual([6, [cidrOf(7)]]);
    vi.restoreAllMocks();
    expect(await turnsOf(() => numbers.retain(refs))).toBeGreaterThan(2500 / 512);
  } finally {
    await store.close();
    rmSync(directory, { recursive: true });
  }
});
