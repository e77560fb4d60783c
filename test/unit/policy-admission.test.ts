/** Who is in force and who is cut off, when what is recorded is more than the kernel's tables take. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { POLICY_SIZES } from '../../src/model/cut-off.js';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { needOf, plus } from '../../src/vnet/policy/fitting.js';
import { finish } from '../../src/work/steps.js';
import { count, FIRST, WIDE, World } from '../support/admission-world.js';
import { random } from '../support/random.js';
import { smallTable } from '../support/small-table.js';

let directory: string;
let store: EmbeddedStore;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'quantum-admission-'));
  store = await EmbeddedStore.open(directory);
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

describe('at the start', () => {
  it('whoever needs nothing of the table that is full is in force, also after those who need more', async () => {
    const table = smallTable({ ...WIDE, policy_cidrs_max: 5 });
    const world = new World(store, table, [{ ranges: 4 }, { ranges: 3 }, { ranges: 6 }, { ports: 40 }, {}]);
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
    const world = new World(store, table, [{}, { ports: 1 }, { ports: 2 }, {}, { ports: 11, ranges: 6 }]);
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
      const world = new World(store, smallTable({ ...WIDE, policy_max: 11 }), wishes, order);
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
    await new World(store, table, [{ ports: 8 }]).sync.resync();
    const world = new World(store, table, [{ ports: 12 }, { ports: 10 }]);
    await world.sync.resync();
    expect(world.cutOff).toEqual([FIRST]);
    await world.requireExact();
  });

  it('whoever has theirs keeps it, also when the daemon starts again', async () => {
    const table = smallTable({ ...WIDE, policy_max: 10 });
    await new World(store, table, [{}, { ports: 8 }]).sync.resync();
    for (const _ of [1, 2]) {
      const world = new World(store, table, [{ ports: 5 }, { ports: 8 }]);
      await world.sync.resync();
      expect(world.cutOff).toEqual([FIRST]);
      await world.requireExact();
    }
  });

  it('where the kernel has less memory than its tables promise, whoever it takes is in force', async () => {
    const table = smallTable(WIDE, { policy_max: 10 });
    const world = new World(store, table, [{ ports: 4 }, { ports: 20 }, { ports: 5 }, { ranges: 1 }]);
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
      const world = new World(store, smallTable(sizes), wishes);
      await world.sync.resync();
      await world.requireExact();
      const used = world.ids
        .map((id) => needOf(finish(world.sync.takingRulesInForce(id))))
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
