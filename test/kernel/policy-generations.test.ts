/** When the entries of a policy are written: never while what is judged by them stays judged. */
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { Direction, PolicyPeer, PolicyTier, Verdict } from '../../src/datapath/abi/generated.js';
import { type DatapathMaps, openMaps } from '../../src/datapath/maps.js';
import { type PolicyChange, type PolicyEntry, PolicyTable } from '../../src/datapath/policy-table.js';
import { Programs } from '../support/programs.js';

const POLICY_MAX = 2048;

let programs: Programs;
let maps: DatapathMaps;
let table: PolicyTable;
/** What stood in the map of rules whenever the table waited for programs. */
let waits: string[][];

beforeAll(async () => {
  programs = await Programs.load({ maxEntries: { qn_policy: POLICY_MAX } });
  maps = openMaps(programs.pinRoot);
});
afterAll(() => {
  maps?.[Symbol.dispose]();
  programs?.close();
});
beforeEach(() => {
  programs.policy.clear();
  programs.control.set(0, { policyEpoch: 2 });
  waits = [];
  table = new PolicyTable(maps, async () => {
    waits.push(rules());
  });
});

const NOTHING: PolicyChange = {
  set: [],
  delete: [],
  subjects: { set: [], delete: [] },
  cidrs: { set: [], delete: [] },
};

function entry(port: number, verdict: Verdict): PolicyEntry {
  return {
    key: {
      subject: 301,
      peer: PolicyPeer.ANY,
      direction: Direction.EGRESS,
      tier: PolicyTier.ADMIN,
      protocol: 6,
      portBits: 16,
      port,
    },
    decision: { rule: port, precedence: 0, verdict },
  };
}

/** Each rule as the verdicts of both slots. */
function rules(): string[] {
  return programs.policy
    .entries()
    .map(({ key, value }) => `${key.port}: ${value.slot.map(({ verdict }) => verdict).join(' ')}`)
    .sort();
}

it('after a change counts nothing is written until the next one, which first makes the slots alike', async () => {
  await table.commit({ ...NOTHING, set: [entry(80, Verdict.ALLOW)] });
  expect(rules()).toEqual(['80: 0 1']);
  await table.commit({ ...NOTHING, set: [entry(80, Verdict.DENY)] });
  expect(rules()).toEqual(['80: 2 1']);
  expect(waits).toEqual([['80: 0 1'], ['80: 1 1']]);
  await new Promise((resolve) => setImmediate(resolve));
  expect(rules()).toEqual(['80: 2 1']);
  await table.advance();
  expect(rules()).toEqual(['80: 2 2']);
});

it('a rule that goes with its identity does not come back with the change after it', async () => {
  await table.commit({ ...NOTHING, set: [entry(80, Verdict.ALLOW), entry(81, Verdict.ALLOW)] });
  await table.applyUnobserved({ ...NOTHING, delete: [entry(80, Verdict.ALLOW).key] });
  expect(rules()).toEqual(['81: 0 1']);
  await table.advance();
  expect(rules()).toEqual(['81: 1 1']);
});

it('a change that does not fit is taken back, and every flow is judged again', async () => {
  await table.commit({ ...NOTHING, set: [entry(80, Verdict.ALLOW)] });
  await table.advance();
  const { epoch } = table;
  const failing: PolicyChange = { ...NOTHING, set: [80, 81, 82].map((port) => entry(port, Verdict.DENY)) };
  const full = Object.assign(new Error('full'), { code: 'E2BIG' });
  let writes = 0;
  const stubborn = new PolicyTable(
    {
      ...maps,
      policy: new Proxy(maps.policy, {
        get: (target, name) => {
          if (name !== 'set') return Reflect.get(target, name).bind?.(target) ?? Reflect.get(target, name);
          return (...args: Parameters<typeof target.set>) => {
            writes++;
            if (writes === 3) throw full;
            target.set(...args);
          };
        },
      }),
    },
    () => Promise.resolve(),
  );
  await expect(stubborn.commit(failing)).rejects.toThrow();
  expect(rules()).toEqual(['80: 1 1']);
  // By two, so that none of it has counted, and by one that nothing of it is left.
  expect(table.epoch).toBe(epoch + 3);
});

it('the room is what the maps have it to be, whatever was changed, and a change that takes all of it fits', async () => {
  const held = () => programs.policy.entries().length;
  await table.load();
  expect((await table.room()).policy_max).toBe(POLICY_MAX);
  await table.commit({ ...NOTHING, set: [80, 81, 82].map((port) => entry(port, Verdict.ALLOW)) });
  await table.commit({
    ...NOTHING,
    set: [entry(80, Verdict.DENY), entry(83, Verdict.DENY)],
    delete: [entry(81, Verdict.ALLOW).key, entry(999, Verdict.ALLOW).key],
  });
  // What has been deleted is there until nobody reads it any more.
  expect(held()).toBe(4);
  expect((await table.room()).policy_max).toBe(POLICY_MAX - 3);
  expect(held()).toBe(4);
  await table.applyUnobserved({
    ...NOTHING,
    set: [entry(84, Verdict.ALLOW)],
    delete: [entry(80, Verdict.ALLOW).key, entry(998, Verdict.ALLOW).key],
  });
  expect((await table.room()).policy_max).toBe(POLICY_MAX - 3);

  const all = Array.from({ length: POLICY_MAX - 2 }, (_, index) => entry(1000 + index, Verdict.ALLOW));
  await expect(table.commit({ ...NOTHING, set: all })).rejects.toMatchObject({
    code: 'INSUFFICIENT_CAPACITY',
  });
  expect((await table.room()).policy_max).toBe(POLICY_MAX - 3);
  await expect(table.applyUnobserved({ ...NOTHING, set: all })).rejects.toMatchObject({
    code: 'INSUFFICIENT_CAPACITY',
  });
  expect((await table.room()).policy_max).toBe(POLICY_MAX - 3);
  await table.commit({ ...NOTHING, set: all.slice(1) });
  expect((await table.room()).policy_max).toBe(0);
  expect(held()).toBe(POLICY_MAX);
});

it('to tell the room nothing is written, and no flow is judged again', async () => {
  await table.load();
  await table.commit({ ...NOTHING, set: [80, 81].map((port) => entry(port, Verdict.ALLOW)) });
  await table.commit({ ...NOTHING, delete: [entry(80, Verdict.ALLOW).key] });
  const before = [table.epoch, programs.policy.entries()];
  expect((await table.room()).policy_max).toBe(POLICY_MAX - 1);
  expect([table.epoch, programs.policy.entries()]).toEqual(before);
});

it('rules of a new identity fit where the last change has made room for them', async () => {
  await table.load();
  const all = Array.from({ length: POLICY_MAX }, (_, index) => entry(1000 + index, Verdict.ALLOW));
  await table.commit({ ...NOTHING, set: all });
  await table.commit({ ...NOTHING, delete: all.slice(0, 2).map(({ key }) => key) });
  await table.applyUnobserved({ ...NOTHING, set: [entry(80, Verdict.ALLOW), entry(81, Verdict.ALLOW)] });
  expect(programs.policy.entries()).toHaveLength(POLICY_MAX);
});
