/** An identity that huge policies select: nobody waits while its rules are worked out, and what does not fit leaves nothing. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ConntrackSweeper } from '../../src/datapath/conntrack-sweeper.js';
import type { PolicyChange, PolicyTable } from '../../src/datapath/policy-table.js';
import { PolicyEngine } from '../../src/firewall/engine.js';
import type { Endpoint } from '../../src/model/endpoint.js';
import { AppError } from '../../src/model/errors.js';
import type { Identity } from '../../src/model/identity.js';
import { parsePolicy } from '../../src/model/policy.js';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { endpoints, identities } from '../../src/store/tables.js';
import { Enlistment } from '../../src/vnet/policy/enlistment.js';
import { IdentityUse } from '../../src/vnet/policy/identities.js';
import { isolatedBy } from '../../src/vnet/policy/isolating.js';
import { PolicySync } from '../../src/vnet/policy/policy-sync.js';
import { Reachability } from '../../src/vnet/policy/reachability.js';
import { WIDE } from '../support/admission-world.js';
import { nothingLeft } from '../support/nothing-left.js';

const SET = { network: 'n', network_id: 1, namespace: 'default', labels: { app: 'web' } };
const ENDPOINT = 7;
/** CPU time of one turn of the event loop, milliseconds; a turn is of 20, and what is swept up after others is in it. */
const BLOCK_MAX = 200;

const count = (length: number) => [...Array(length).keys()];

/** Lets in from many ranges, to whom it selects. */
const ranges = (rules: number, name = 'ranges') =>
  parsePolicy({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name },
    spec: {
      podSelector: { matchLabels: { app: 'web' } },
      ingress: count(rules).map((rule) => ({
        ports: [{ port: 80 }],
        from: count(64).map((part) => ({
          ipBlock: { cidr: `${100 + (rule >> 6)}.${rule & 63}.${part}.0/24` },
        })),
      })),
    },
  });

/** What the kernel was told, and whether it takes the next change. */
class Kernel {
  readonly changes: PolicyChange[] = [];
  failure: unknown;
  onWrite: () => void = () => undefined;

  async take(change: PolicyChange): Promise<void> {
    this.onWrite();
    const { failure } = this;
    this.failure = undefined;
    if (failure !== undefined) throw failure;
    this.changes.push(change);
  }

  readonly table = {
    commit: (change: PolicyChange) => this.take(change),
    applyUnobserved: (change: PolicyChange) => this.take(change),
    room: async () => WIDE,
  } as unknown as PolicyTable;
}

let directory: string;
let store: EmbeddedStore;
let kernel: Kernel;
let engine: PolicyEngine;
let use: IdentityUse;
let sync: PolicySync;
let enlistment: Enlistment;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'quantum-enlistment-'));
  store = await EmbeddedStore.open(directory);
  kernel = new Kernel();
  begin(Number.POSITIVE_INFINITY);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await store.close();
  rmSync(directory, { recursive: true });
});

function begin(maxSize: number): void {
  engine = new PolicyEngine({ maxSize });
  engine.upsertNetwork({ id: 1, name: 'n', isolation_mode: 'full', peers: [] });
  engine.takeDelta();
  use = new IdentityUse(store);
  const sweeper = { sweep: async () => undefined } as unknown as ConntrackSweeper;
  const error = (cause: unknown) => {
    throw cause;
  };
  sync = new PolicySync(engine, kernel.table, store, sweeper, {
    error,
    left: nothingLeft,
    uncertain: () => undefined,
  });
  enlistment = new Enlistment(store, sync, use, nothingLeft);
}

/** Time on a CPU of the thread that has the event loop, milliseconds: others on the machine do not count. */
function cpuTime(): number {
  const [nanoseconds] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ');
  return Number(nanoseconds) / 1e6;
}

/** The longest turn while something was done, and how many turns others had. */
async function turnsDuring(act: () => Promise<unknown>): Promise<{ longest: number; turns: number }> {
  let [longest, turns, last, isOver] = [0, 0, cpuTime(), false];
  const others = () => {
    const now = cpuTime();
    longest = Math.max(longest, now - last);
    last = now;
    turns += 1;
    if (!isOver) setTimeout(others, 1);
  };
  setTimeout(others, 1);
  try {
    await act();
  } finally {
    isOver = true;
  }
  return { longest: Math.max(longest, cpuTime() - last), turns };
}

describe('an identity that comes', () => {
  it('keeps nobody waiting, however many ranges the policies have that select it', {
    timeout: 120_000,
  }, async () => {
    engine.upsertPolicy(ranges(400));
    engine.takeDelta();
    const coming = await turnsDuring(() => enlistment.enlist(ENDPOINT, SET));
    expect(kernel.changes[0]?.cidrs.set).toHaveLength(400 * 64);
    expect(coming.longest).toBeLessThan(BLOCK_MAX);
    expect(coming.turns).toBeGreaterThan(10);
    const [identity] = store.list(identities);
    const going = await turnsDuring(() => enlistment.giveUp(ENDPOINT, identity as Identity));
    expect(going.longest).toBeLessThan(BLOCK_MAX);
    expect(store.list(identities)).toEqual([]);
  });

  it('has its rules before anybody has it, and one record', async () => {
    engine.upsertPolicy(ranges(1));
    engine.takeDelta();
    kernel.onWrite = () => {
      expect(use.inUse()).toEqual([]);
      expect(store.list(identities)).toHaveLength(1);
    };
    const identity = await enlistment.enlist(ENDPOINT, SET);
    expect(use.inUse()).toEqual([identity.id]);
    expect(await enlistment.enlist(ENDPOINT + 1, SET)).toEqual(identity);
    expect(kernel.changes).toHaveLength(1);
    await enlistment.giveUp(ENDPOINT, identity);
    expect(engine.rulesOf(identity.id).entries).toHaveLength(64);
    await enlistment.giveUp(ENDPOINT + 1, identity);
    expect(engine.size).toBe(0);
    expect(store.list(identities)).toEqual([]);
  });

  it('that its policies have no room for is refused, and nothing stays', async () => {
    begin(100);
    engine.upsertPolicy(ranges(4));
    engine.takeDelta();
    await expect(enlistment.enlist(ENDPOINT, SET)).rejects.toMatchObject({ code: 'INSUFFICIENT_CAPACITY' });
    expect([engine.size, kernel.changes, store.list(identities), use.inUse()]).toEqual([0, [], [], []]);
    expect(engine.snapshot().subjects).toEqual([]);
  });

  it('that the kernel has no room for is refused, and nothing stays', async () => {
    engine.upsertPolicy(ranges(4));
    engine.takeDelta();
    const full = new AppError('INSUFFICIENT_CAPACITY', 'full');
    kernel.failure = full;
    await expect(enlistment.enlist(ENDPOINT, SET)).rejects.toBe(full);
    expect([engine.size, store.list(identities), use.inUse()]).toEqual([0, [], []]);
    // Nor does it stand in the way of the next.
    const identity = await enlistment.enlist(ENDPOINT, SET);
    expect(engine.rulesOf(identity.id).entries).toHaveLength(4 * 64);
  });

  it('stays recorded with an endpoint that could not be taken off', async () => {
    const identity = await enlistment.enlist(ENDPOINT, SET);
    const stuck = { id: ENDPOINT, identity: identity.id } as Endpoint;
    vi.spyOn(store, 'get').mockImplementation(((table: unknown) =>
      table === endpoints ? stuck : identity) as typeof store.get);
    await enlistment.giveUp(ENDPOINT, identity);
    vi.restoreAllMocks();
    expect(store.list(identities)).toEqual([identity]);
  });
});

describe('who asks while a change is worked out', () => {
  const deny = parsePolicy({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'ranges' },
    spec: { podSelector: {}, policyTypes: ['Egress'] },
  });

  /** What is told of the container at each turn during a change, each once, and after it. */
  async function answersDuring(identity: number, change: () => Promise<unknown>) {
    const isolated = isolatedBy(engine.inForce);
    const endpoint = { identity, network_id: 1, ip_address: '10.1.0.2', ports: [] } as unknown as Endpoint;
    const reachability = new Reachability(engine.inForce, () => []);
    const ask = async () => {
      const target = { endpoint, protocol: 'TCP', port: 80 } as const;
      const asked = reachability.among([target]);
      const [ingress, egress] = [isolated(identity, 'ingress', false), isolated(identity, 'egress', false)];
      return { reachable: (await asked).has(target), ingress, egress };
    };
    const told = new Set<string>();
    let isOver = false;
    const others = async () => {
      while (!isOver) {
        told.add(JSON.stringify(await ask()));
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const asking = new Promise((resolve) => setImmediate(resolve)).then(others);
    // Every step is a turn, so that all that can be seen is.
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => {
      now += 1000;
      return now;
    });
    await change().catch(() => undefined);
    isOver = true;
    await asking;
    vi.restoreAllMocks();
    return { during: [...told].map((text) => JSON.parse(text) as unknown), after: await ask() };
  }
  const BEFORE = { reachable: true, ingress: ['default/ranges'], egress: [] };
  const AFTER = { reachable: false, ingress: [], egress: ['default/ranges'] };
  const replace = (record?: () => Promise<void>) =>
    sync.change(
      (on) => on.upsertingPolicy(deny),
      (on) => on.upsertingPolicy(ranges(2)),
      record,
    );

  async function scene(): Promise<number> {
    engine.upsertPolicy(ranges(2));
    return (await enlistment.enlist(ENDPOINT, SET)).id;
  }

  it('is told of before it until it is in force, and then of after it', async () => {
    const { during, after } = await answersDuring(await scene(), () => replace());
    expect(during[0]).toEqual(BEFORE);
    expect([BEFORE, AFTER]).toEqual(expect.arrayContaining(during));
    expect(after).toEqual(AFTER);
  });

  it('is told of before it alone where the kernel refuses it, and while it is taken back', async () => {
    const identity = await scene();
    kernel.failure = new Error('full');
    const { during, after } = await answersDuring(identity, () => replace());
    expect(during).toEqual([BEFORE]);
    expect(after).toEqual(BEFORE);
  });

  it('is told of before it alone while it is only tried', async () => {
    const identity = await scene();
    const { during, after } = await answersDuring(identity, () =>
      sync.preview(
        (on) => on.upsertingPolicy(deny),
        (on) => on.upsertingPolicy(ranges(2)),
      ),
    );
    expect(during).toEqual([BEFORE]);
    expect(after).toEqual(BEFORE);
  });

  it('sees an identity that comes when its rules are in the maps, and not before', async () => {
    const identity = await scene();
    const { during } = await answersDuring(identity + 1, () =>
      enlistment.enlist(ENDPOINT + 1, { ...SET, labels: { app: 'web', other: 'x' } }),
    );
    const nobody = { reachable: false, ingress: [], egress: [] };
    expect([nobody, BEFORE]).toEqual(expect.arrayContaining(during));
    expect(during).toContainEqual(nobody);
  });
});
