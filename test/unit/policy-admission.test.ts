/** Who is in force and who is cut off, when what is recorded is more than the kernel's tables take. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ConntrackSweeper } from '../../src/datapath/conntrack-sweeper.js';
import type { PolicyTable } from '../../src/datapath/policy-table.js';
import { PolicyEngine } from '../../src/firewall/engine.js';
import type { Steps } from '../../src/firewall/steps.js';
import type { CompiledPolicy } from '../../src/firewall/types.js';
import { POLICY_SIZES, type PolicyRoom } from '../../src/model/cut-off.js';
import { type Policy, parsePolicy, policyRef } from '../../src/model/policy.js';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { needOf, plus } from '../../src/vnet/fitting.js';
import { PolicySync } from '../../src/vnet/policy-sync.js';
import { random } from '../support/random.js';
import { smallTable } from '../support/small-table.js';

const WIDE: PolicyRoom = { policy_max: 1000, policy_cidrs_max: 1000, subjects_max: 1000 };

let directory: string;
let store: EmbeddedStore;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'quantum-admission-'));
  store = await EmbeddedStore.open(directory);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await store.close();
  rmSync(directory, { recursive: true });
});

/** What a container is let in by: everybody to so many ports, and everybody of so many ranges. */
interface Wish {
  ports?: number;
  ranges?: number;
}

const count = (length: number) => [...Array(length).keys()];

function policyOf(name: string, app: string, { ports = 0, ranges = 0 }: Wish): Policy {
  return parsePolicy({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name },
    spec: {
      podSelector: { matchLabels: { app } },
      ingress: [
        // Odd ones have no range in common.
        ...(ports === 0 ? [] : [{ ports: count(ports).map((index) => ({ port: 1001 + 2 * index })) }]),
        // A rule has at most so many.
        ...count(Math.ceil(ranges / 50)).map((rule) => ({
          from: count(Math.min(50, ranges - 50 * rule)).map((index) => ({
            ipBlock: { cidr: `10.${rule}.${index}.0/24` },
          })),
        })),
      ],
    },
  });
}

const FIRST = 256;

class World {
  readonly engine = new PolicyEngine();
  readonly ids: number[];
  readonly sync: PolicySync;

  constructor(
    readonly table: PolicyTable,
    wishes: readonly Wish[],
    order = count(wishes.length),
  ) {
    this.engine.upsertNetwork({ id: 1, name: 'n', isolation_mode: 'full', peers: [] });
    this.ids = wishes.map((_, index) => FIRST + index);
    for (const index of order) {
      this.engine.upsertIdentity({
        id: FIRST + index,
        network_id: 1,
        namespace: 'default',
        labels: { app: `${index}` },
      });
      this.engine.upsertPolicy(policyOf(`p${index}`, `${index}`, wishes[index] ?? {}));
    }
    const sweeper = { sweep: async () => undefined } as unknown as ConntrackSweeper;
    this.sync = new PolicySync(this.engine, table, store, sweeper, (error) => {
      throw error;
    });
  }

  get cutOff() {
    return this.ids.filter((id) => this.sync.cutOffBy(id) !== undefined);
  }

  apply(policy: Policy, before?: Policy) {
    return this.sync.change(
      (engine) => engine.upsertingPolicy(policy),
      (engine) =>
        before === undefined ? engine.removingPolicy(policyRef(policy)) : engine.upsertingPolicy(before),
    );
  }

  remove(policy: Policy) {
    return this.sync.change(
      (engine) => engine.removingPolicy(policyRef(policy)),
      (engine) => engine.upsertingPolicy(policy),
    );
  }

  /** The tables have all that is theirs of those who are not cut off, and nothing else. */
  async requireExact() {
    const { entries, cidrs, subjects } = await this.table.load();
    const inForce = this.ids.filter((id) => !this.cutOff.includes(id));
    expect(subjects.map(({ identity }) => identity).sort()).toEqual(
      inForce.filter((id) => this.engine.rulesOf(id).subjects.length > 0),
    );
    const sizes = (items: readonly { subject: number }[], id: number) =>
      items.filter(({ subject }) => subject === id).length;
    for (const id of this.ids) {
      const need = needOf(this.sync.rulesInForce(id));
      const has = {
        policy_max: sizes(
          entries.map(({ key }) => key),
          id,
        ),
        policy_cidrs_max: sizes(cidrs, id),
      };
      expect({ id, ...has }).toEqual({
        id,
        policy_max: need.policy_max,
        policy_cidrs_max: need.policy_cidrs_max,
      });
    }
  }
}

describe('at the start', () => {
  it('whoever needs nothing of the table that is full is in force, also after those who need more', async () => {
    const table = smallTable({ ...WIDE, policy_cidrs_max: 5 });
    const world = new World(table, [{ ranges: 4 }, { ranges: 3 }, { ranges: 6 }, { ports: 40 }, {}]);
    await world.sync.resync();
    expect(world.cutOff).toEqual([FIRST, FIRST + 2]);
    expect(world.cutOff.map((id) => world.sync.cutOffBy(id))).toEqual([
      ['policy_cidrs_max'],
      ['policy_cidrs_max'],
    ]);
    await world.requireExact();
  });

  it('each is told every setting that leaves no room for it', async () => {
    const table = smallTable({ policy_max: 12, policy_cidrs_max: 5, subjects_max: 3 });
    const world = new World(table, [{}, { ports: 1 }, { ports: 2 }, {}, { ports: 11, ranges: 6 }]);
    await world.sync.resync();
    expect(world.ids.map((id) => world.sync.cutOffBy(id))).toEqual([
      undefined,
      undefined,
      ['subjects_max'],
      undefined,
      ['policy_max', 'policy_cidrs_max', 'subjects_max'],
    ]);
    await world.requireExact();
  });

  it('in whatever order they are recorded, the same are in force', async () => {
    const wishes = [{ ports: 5 }, { ports: 5 }, { ports: 5 }, { ports: 3, ranges: 2 }];
    const cutOff = [];
    for (const order of [
      [0, 1, 2, 3],
      [3, 2, 1, 0],
      [2, 0, 3, 1],
    ]) {
      const world = new World(smallTable({ ...WIDE, policy_max: 11 }), wishes, order);
      await world.sync.resync();
      cutOff.push(world.cutOff);
    }
    expect(cutOff).toEqual([
      [FIRST + 2, FIRST + 3],
      [FIRST + 2, FIRST + 3],
      [FIRST + 2, FIRST + 3],
    ]);
  });

  it('what one who is cut off had there before makes room for others', async () => {
    const table = smallTable({ ...WIDE, policy_max: 10 });
    await new World(table, [{ ports: 8 }]).sync.resync();
    const world = new World(table, [{ ports: 12 }, { ports: 10 }]);
    await world.sync.resync();
    expect(world.cutOff).toEqual([FIRST]);
    await world.requireExact();
  });

  it('whoever has theirs keeps it, also when the daemon starts again', async () => {
    const table = smallTable({ ...WIDE, policy_max: 10 });
    await new World(table, [{}, { ports: 8 }]).sync.resync();
    for (const _ of [1, 2]) {
      const world = new World(table, [{ ports: 5 }, { ports: 8 }]);
      await world.sync.resync();
      expect(world.cutOff).toEqual([FIRST]);
      await world.requireExact();
    }
  });

  it('where the kernel has less memory than its tables promise, whoever it takes is in force', async () => {
    const table = smallTable(WIDE, { policy_max: 10 });
    const world = new World(table, [{ ports: 4 }, { ports: 20 }, { ports: 5 }, { ranges: 1 }]);
    await world.sync.resync();
    expect(world.cutOff).toEqual([FIRST + 1]);
    expect(world.sync.cutOffBy(FIRST + 1)).toEqual([]);
    expect(world.sync.state?.message).toMatch(/: remove policies; /);
    await world.requireExact();
  });

  it('nobody is cut off who would fit beside those in force, whatever is recorded', async () => {
    const pick = random(7);
    for (const _ of count(25)) {
      const sizes = { policy_max: 1 + pick(40), policy_cidrs_max: 1 + pick(20), subjects_max: 1 + pick(12) };
      const wishes = count(1 + pick(12)).map(() => ({ ports: pick(10), ranges: pick(6) }));
      const world = new World(smallTable(sizes), wishes);
      await world.sync.resync();
      await world.requireExact();
      const used = world.ids
        .map((id) => needOf(world.sync.rulesInForce(id)))
        .reduce(plus, { policy_max: 0, policy_cidrs_max: 0, subjects_max: 0 });
      for (const id of world.cutOff) {
        const all = plus(used, needOf(world.engine.rulesOf(id)));
        expect(POLICY_SIZES.filter((size) => all[size] > sizes[size])).toEqual(world.sync.cutOffBy(id));
        expect(world.sync.cutOffBy(id)).not.toEqual([]);
      }
      if (world.cutOff.length === 0) expect(world.sync.state).toBeUndefined();
    }
  });
});

describe('while somebody is cut off', () => {
  it('what goes of others lets in whoever fits then, without comparing everything anew', async () => {
    const table = smallTable({ ...WIDE, policy_max: 20 });
    const wishes = [{ ports: 9 }, { ports: 9 }, { ports: 10 }, { ports: 11 }];
    const world = new World(table, wishes);
    await world.sync.resync();
    expect(world.cutOff).toEqual([FIRST + 2, FIRST + 3]);
    const loads = vi.spyOn(table, 'load');
    const snapshots = vi.spyOn(PolicyEngine.prototype, 'takingSnapshot');
    const compiled = vi.spyOn(PolicyEngine.prototype, 'compilingRulesOf');

    await world.remove(policyOf('p0', '0', { ports: 9 }));
    expect(world.cutOff).toEqual([FIRST + 3]);
    expect(compiled.mock.calls).toEqual([[[FIRST + 2]]]);
    await world.remove(policyOf('p1', '1', { ports: 9 }));
    expect(world.cutOff).toEqual([FIRST + 3]);
    await world.remove(policyOf('p2', '2', { ports: 10 }));
    expect(world.cutOff).toEqual([]);
    expect(world.sync.state).toBeUndefined();
    expect(compiled).toHaveBeenCalledTimes(2);
    expect(loads).not.toHaveBeenCalled();
    expect(snapshots).not.toHaveBeenCalled();
    await world.requireExact();
  });

  it('so does what one who is cut off needs no longer, and an identity that goes', async () => {
    const table = smallTable({ ...WIDE, policy_max: 10, subjects_max: 2 });
    const world = new World(table, [{ ports: 4 }, { ports: 5 }, { ports: 12 }]);
    await world.sync.resync();
    expect(world.sync.cutOffBy(FIRST + 2)).toEqual(['policy_max', 'subjects_max']);
    await world.apply(policyOf('p2', '2', { ports: 6 }), policyOf('p2', '2', { ports: 12 }));
    expect(world.sync.cutOffBy(FIRST + 2)).toEqual(['policy_max', 'subjects_max']);
    const [first] = world.ids;
    await world.sync.changeUnobserved(
      (engine) => engine.removingIdentity(first ?? 0),
      () => {
        throw new Error('not undone');
      },
    );
    expect(world.sync.state?.identities_cut_off).toBe(1);
    await world.apply(policyOf('p2', '2', { ports: 5 }), policyOf('p2', '2', { ports: 6 }));
    expect(world.sync.state).toBeUndefined();
    await world.requireExact();
  });

  it('what they need more meanwhile counts', async () => {
    const table = smallTable({ ...WIDE, policy_max: 10 });
    const world = new World(table, [{ ports: 5 }, { ports: 6 }]);
    await world.sync.resync();
    const more = policyOf('more', '1', { ports: 1, ranges: 5 });
    await world.apply(more);
    await world.remove(policyOf('p0', '0', { ports: 5 }));
    expect(world.cutOff).toEqual([FIRST + 1]);
    await world.remove(more);
    expect(world.cutOff).toEqual([]);
    await world.requireExact();
  });

  it('one who goes is not missed, and comes back only where there is room', async () => {
    const table = smallTable({ ...WIDE, policy_max: 10 });
    const world = new World(table, [{ ports: 5 }, { ports: 6 }]);
    await world.sync.resync();
    const identity = { id: FIRST + 1, network_id: 1, namespace: 'default', labels: { app: '1' } };
    await world.sync.changeUnobserved(
      (engine) => engine.removingIdentity(identity.id),
      (engine) => engine.upsertingIdentity(identity),
    );
    expect(world.sync.state).toBeUndefined();
    const coming = world.sync.changeUnobserved(
      (engine) => engine.upsertingIdentity(identity),
      (engine) => engine.removingIdentity(identity.id),
    );
    await expect(coming).rejects.toMatchObject({ code: 'INSUFFICIENT_CAPACITY' });
    expect(world.sync.state).toBeUndefined();
    await world.requireExact();
  });

  it('a change that is taken back lets nobody in and leaves everybody as they were', async () => {
    const table = smallTable({ ...WIDE, policy_max: 10 });
    const world = new World(table, [{ ports: 5 }, { ports: 6 }]);
    await world.sync.resync();
    const policy = policyOf('p0', '0', { ports: 5 });
    const refusing = world.sync.change(
      (engine) => engine.removingPolicy(policyRef(policy)),
      (engine) => engine.upsertingPolicy(policy),
      () => Promise.reject(new Error('the disk is full')),
    );
    await expect(refusing).rejects.toThrow('the disk is full');
    expect(world.cutOff).toEqual([FIRST + 1]);
    await world.requireExact();
  });

  it('what has failed on the way is found out with the next change', async () => {
    const table = smallTable({ ...WIDE, policy_max: 10 });
    const errors: unknown[] = [];
    const world = new World(table, [{ ports: 5 }, { ports: 6 }]);
    Object.assign(world.sync, { onError: (error: unknown) => errors.push(error) });
    await world.sync.resync();
    const broken = new Error('no grace period');
    vi.spyOn(table, 'room').mockRejectedValueOnce(broken);
    await world.remove(policyOf('p0', '0', { ports: 5 }));
    expect(errors).toEqual([broken]);
    expect(world.cutOff).toEqual([FIRST + 1]);
    await world.apply(policyOf('later', '0', { ports: 1 }));
    expect(world.cutOff).toEqual([]);
    await world.requireExact();
  });

  it('others have their turn while that is worked out', async () => {
    const table = smallTable({ ...WIDE, policy_max: 900 });
    const world = new World(table, [{ ranges: 500 }, { ranges: 550 }]);
    // Each step takes as long as others may wait.
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => {
      now += 20;
      return now;
    });
    let turn = 0;
    let isOver = false;
    const others = () => {
      turn += 1;
      if (!isOver) setImmediate(others);
    };
    setImmediate(others);
    const told = followed(['takingSnapshot', 'compilingRulesOf'], () => turn);
    await world.sync.resync();
    expect(world.cutOff).toEqual([FIRST + 1]);
    await world.remove(policyOf('p0', '0', { ranges: 500 }));
    isOver = true;
    expect(world.cutOff).toEqual([]);
    for (const turns of [told.takingSnapshot, told.compilingRulesOf]) {
      expect(turns.length).toBeGreaterThan(5);
      expect(new Set(turns).size).toBe(turns.length);
    }
  });
});

/** At which turn each step of what the engine tells was done. */
function followed<Name extends 'takingSnapshot' | 'compilingRulesOf'>(
  names: readonly Name[],
  turn: () => number,
) {
  const told = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  for (const name of names) {
    const original = PolicyEngine.prototype[name] as (...args: unknown[]) => Steps<CompiledPolicy>;
    vi.spyOn(PolicyEngine.prototype, name).mockImplementation(function* (
      this: PolicyEngine,
      ...args: unknown[]
    ) {
      const steps = original.apply(this, args);
      for (;;) {
        const step = steps.next();
        told[name].push(turn());
        if (step.done === true) return step.value;
        yield;
      }
    } as never);
  }
  return told;
}
