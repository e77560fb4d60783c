/** Who is cut off is let in again as room is made, at no more cost than that, and not by halves. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PolicyEngine } from '../../src/firewall/engine.js';
import type { Kept } from '../../src/firewall/subject-view.js';
import type { CompiledPolicy } from '../../src/firewall/types.js';
import type { AppError } from '../../src/model/errors.js';
import { type Policy, policyRef } from '../../src/model/policy.js';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { PolicyNumbering } from '../../src/vnet/policy/policy-numbering.js';
import { Retry } from '../../src/vnet/retry.js';
import { Serial } from '../../src/vnet/serial.js';
import { finish, type Steps } from '../../src/work/steps.js';
import { count, FIRST, policyOf, WIDE, World } from '../support/admission-world.js';
import { random } from '../support/random.js';
import { smallTable } from '../support/small-table.js';

let directory: string;
let store: EmbeddedStore;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'quantum-admission-'));
  store = await EmbeddedStore.open(directory);
});
afterEach(async () => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  await store.close();
  rmSync(directory, { recursive: true });
});

describe('while somebody is cut off', () => {
  it('what goes of others lets in whoever fits then, without comparing everything anew', async () => {
    const table = smallTable({ ...WIDE, policy_max: 20 });
    const wishes = [{ ports: 9 }, { ports: 9 }, { ports: 10 }, { ports: 11 }];
    const world = new World(store, table, wishes);
    await world.sync.resync();
    expect(world.cutOff).toEqual([FIRST + 2, FIRST + 3]);
    const loads = vi.spyOn(table, 'load');
    const snapshots = vi.spyOn(PolicyEngine.prototype, 'takingSnapshot');
    const compiled = vi.spyOn(PolicyEngine.prototype, 'takingRulesOf');

    await world.remove(policyOf('p0', '0', { ports: 9 }));
    expect(world.cutOff).toEqual([FIRST + 3]);
    expect(compiled.mock.calls).toEqual([[FIRST + 2]]);
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
    const world = new World(store, table, [{ ports: 4 }, { ports: 5 }, { ports: 12 }]);
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
    const world = new World(store, table, [{ ports: 5 }, { ports: 6 }]);
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
    const world = new World(store, table, [{ ports: 5 }, { ports: 6 }]);
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
    const world = new World(store, table, [{ ports: 5 }, { ports: 6 }]);
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

  it('nothing is in force of them, of others what was while a change is on its way', async () => {
    const table = smallTable({ ...WIDE, policy_max: 10 });
    const world = new World(store, table, [{ ports: 5 }, { ports: 6 }]);
    await world.sync.resync();
    const known = () => world.ids.map((id) => finish(world.sync.takingRulesInForce(id)).entries.length);
    const policy = policyOf('p0', '0', { ports: 5 });
    let meanwhile: number[] = [];
    await world.sync.change(
      (engine) => engine.removingPolicy(policyRef(policy)),
      (engine) => engine.upsertingPolicy(policy),
      async () => {
        meanwhile = known();
      },
    );
    const others = world.engine.rulesOf(FIRST).entries.length;
    expect([meanwhile, known()]).toEqual([
      [others + 5, 0],
      [others, others + 6],
    ]);
  });

  it('who reads in turns reads of who was cut off when it began', async () => {
    const table = smallTable({ ...WIDE, policy_max: 10 });
    const world = new World(store, table, [{ ports: 5 }, { ports: 6 }]);
    await world.sync.resync();
    const known = ({ view }: Pick<Kept, 'view'>) => world.ids.map((id) => view(id) !== undefined);
    using before = world.sync.inForce.keep();
    await world.remove(policyOf('p0', '0', { ports: 5 }));
    using after = world.sync.inForce.keep();
    expect([known(before), known(after)]).toEqual([
      [true, false],
      [true, true],
    ]);
  });

  it('what has failed on the way is found out with the next change', async () => {
    const table = smallTable({ ...WIDE, policy_max: 10 });
    const errors: unknown[] = [];
    const world = new World(store, table, [{ ports: 5 }, { ports: 6 }]);
    world.onError = (error) => errors.push(error);
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

  it('what has failed on the way is done again by itself, and then in force', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const table = smallTable({ ...WIDE, policy_max: 10 });
    const [errors, serial]: [unknown[], Serial] = [[], new Serial()];
    const world = new World(store, table, [{ ports: 5 }, { ports: 6 }]);
    const tried = vi.spyOn(world.sync, 'ensure');
    const retry = new Retry(
      () => serial.run(() => world.sync.ensure()),
      (error) => errors.push(error),
    );
    world.onError = (error) => errors.push(error);
    world.onUncertain = () => retry.start();
    await world.sync.resync();
    const broken = new Error('no grace period');
    vi.spyOn(table, 'room').mockRejectedValueOnce(broken);
    // What is read of the kernel the first time, and the last that is done of all the second time.
    const loads = vi.spyOn(table, 'load').mockRejectedValueOnce(broken);
    const advance = vi.spyOn(table, 'advance');
    await world.remove(policyOf('p0', '0', { ports: 5 }));
    expect([errors, world.cutOff]).toEqual([[broken], [FIRST + 1]]);
    tried.mockClear();
    for (const [seconds, failure] of [
      [1, () => undefined],
      [2, () => advance.mockRejectedValueOnce(broken)],
      [4, () => undefined],
    ] as const) {
      failure();
      const before = tried.mock.calls.length;
      await vi.advanceTimersByTimeAsync(1000 * seconds - 1);
      expect(tried).toHaveBeenCalledTimes(before);
      await vi.advanceTimersByTimeAsync(1);
      await tried.mock.results.at(-1)?.value.catch(() => undefined);
      await serial.idle();
    }
    expect([errors, world.cutOff]).toEqual([[broken, broken, broken], []]);
    // Also the third time, when only what was to be judged again was missing.
    expect(loads).toHaveBeenCalledTimes(3);
    await world.requireExact();
    await vi.advanceTimersByTimeAsync(3_600_000);
    expect(tried).toHaveBeenCalledTimes(3);
  });

  it('it is done when packets are judged again, also where no number could be forgotten', async () => {
    const { world, table, errors } = await worldInDoubt();
    const broken = new Error('the disk is full');
    vi.spyOn(PolicyNumbering.prototype, 'retain').mockRejectedValue(broken);
    const advance = vi.spyOn(table, 'advance').mockRejectedValueOnce(new Error('no grace period'));
    await expect(world.sync.ensure()).rejects.toThrow('no grace period');
    await world.sync.ensure();
    expect(advance).toHaveBeenCalledTimes(2);
    expect(errors.splice(0)).toEqual([broken]);
    await world.sync.ensure();
    expect(advance).toHaveBeenCalledTimes(2);
    await world.requireExact();
  });

  it('a dry run refuses what the change would, also where it was not known what is in force', async () => {
    const { world, table, back } = await worldInDoubt();
    const [before, dry] = [table.advance, () => world.sync.preview(back.apply, back.undo)];
    let asked = 0;
    world.onUncertain = () => {
      asked += 1;
    };
    table.advance = () => Promise.reject(new Error('no grace period'));
    await expect(dry()).rejects.toThrow('no grace period');
    expect(asked).toBe(1);
    table.advance = before;
    await expect(dry()).rejects.toMatchObject({ code: 'INSUFFICIENT_CAPACITY' });
    await expect(world.sync.change(back.apply, back.undo)).rejects.toMatchObject({
      code: 'INSUFFICIENT_CAPACITY',
    });
    expect([asked, world.cutOff]).toEqual([1, []]);
    await world.requireExact();
  });

  it('a dry run tells what would be in force of whom, and changes nothing', async () => {
    const table = smallTable({ ...WIDE, policy_max: 10 });
    const world = new World(store, table, [{ ports: 5 }, { ports: 6 }]);
    await world.sync.resync();
    const [policy, more] = [policyOf('p0', '0', { ports: 5 }), policyOf('more', '1', { ports: 2 })];
    const removal = await world.sync.preview(
      (engine) => engine.removingPolicy(policyRef(policy)),
      (engine) => engine.upsertingPolicy(policy),
    );
    const sizes = ({ subjects }: typeof removal) =>
      [...subjects].map(([id, { before, after }]) => [id, before.entries.length, after.entries.length]);
    expect(sizes(removal)).toEqual([
      [FIRST, 5, 0],
      [FIRST + 1, 0, 6],
    ]);
    expect([...removal.cutOff]).toEqual([]);
    const addition = await world.sync.preview(
      (engine) => engine.upsertingPolicy(more),
      (engine) => engine.removingPolicy(policyRef(more)),
    );
    expect(sizes(addition)).toEqual([[FIRST + 1, 0, 0]]);
    expect([...addition.cutOff]).toEqual([[FIRST + 1, ['policy_max']]]);
    expect(world.cutOff).toEqual([FIRST + 1]);
    await world.requireExact();
  });

  it('whatever changes, a dry run has told who is cut off then, or that it does not fit', async () => {
    const pick = random(11);
    let letIn = 0;
    const outcomes = { made: 0, refused: 0 };
    for (const _ of count(30)) {
      const wish = () => ({ ports: pick(10), ranges: pick(6) });
      const wishes = count(4 + pick(6)).map(wish);
      const world = new World(
        store,
        smallTable({ policy_max: 20 + pick(20), policy_cidrs_max: 5 + pick(20), subjects_max: 3 + pick(8) }),
        wishes,
      );
      await world.sync.resync();
      for (const _ of count(3)) {
        const index = pick(wishes.length);
        const [before, after] = [wishes[index] ?? {}, pick(2) === 0 ? {} : wish()].map((one) =>
          policyOf(`p${index}`, `${index}`, one),
        ) as [Policy, Policy];
        const was = world.cutOff.length;
        const trying = world.sync.preview(
          (engine) => engine.upsertingPolicy(after),
          (engine) => engine.upsertingPolicy(before),
        );
        const told = await trying.catch((error: AppError) => error.code);
        const made = await world.apply(after, before).catch((error: AppError) => error.code);
        outcomes[made === undefined ? 'made' : 'refused'] += 1;
        if (made !== undefined || typeof told === 'string') {
          expect([told, made]).toEqual(['INSUFFICIENT_CAPACITY', 'INSUFFICIENT_CAPACITY']);
          await world.requireExact();
          continue;
        }
        expect(world.cutOff.map((id) => [id, world.sync.cutOffBy(id)])).toEqual(
          [...told.cutOff].sort(([left], [right]) => left - right),
        );
        for (const [id, { after: rules }] of told.subjects)
          expect(finish(world.sync.takingRulesInForce(id))).toEqual(rules);
        letIn += was - world.cutOff.length;
        wishes[index] = { ports: 0, ranges: 0 };
        await world.apply(policyOf(`p${index}`, `${index}`, {}), after);
        await world.requireExact();
      }
    }
    expect(letIn).toBeGreaterThan(3);
    expect(Math.min(outcomes.made, outcomes.refused)).toBeGreaterThan(10);
  });

  it('others have their turn while that is worked out', async () => {
    const table = smallTable({ ...WIDE, policy_max: 900 });
    const world = new World(store, table, [{ ranges: 500 }, { ranges: 550 }]);
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
    const told = followed(['takingSnapshot', 'takingRulesOf'], () => turn);
    await world.sync.resync();
    expect(world.cutOff).toEqual([FIRST + 1]);
    await world.remove(policyOf('p0', '0', { ranges: 500 }));
    isOver = true;
    expect(world.cutOff).toEqual([]);
    for (const turns of [told.takingSnapshot, told.takingRulesOf]) {
      expect(turns.length).toBeGreaterThan(5);
      expect(new Set(turns).size).toBe(turns.length);
    }
  });
});

/** Room was made for one who was cut off, and letting them in has failed: it is not known what the tables have. */
async function worldInDoubt() {
  const table = smallTable({ ...WIDE, policy_max: 20 });
  const world = new World(store, table, [{ ports: 9 }, { ports: 9 }, { ports: 10 }]);
  const errors: unknown[] = [];
  world.onError = (error) => errors.push(error);
  await world.sync.resync();
  const policy = policyOf('p0', '0', { ports: 9 });
  const commit = table.commit.bind(table);
  const failing = vi.spyOn(table, 'commit').mockImplementation((change) => {
    return failing.mock.calls.length === 2 ? Promise.reject(new Error('no grace period')) : commit(change);
  });
  await world.remove(policy);
  failing.mockRestore();
  expect([errors.splice(0).map(String), world.cutOff]).toEqual([['Error: no grace period'], [FIRST + 2]]);
  const back = {
    apply: (engine: PolicyEngine) => engine.upsertingPolicy(policy),
    undo: (engine: PolicyEngine) => engine.removingPolicy(policyRef(policy)),
  };
  return { world, table, errors, back };
}

/** At which turn each step of what the engine tells was done. */
function followed<Name extends 'takingSnapshot' | 'takingRulesOf'>(
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
