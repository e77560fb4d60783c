/** Containers that come and go while others are cut off: they get what there is room for, and make room as they go. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { identities } from '../../src/store/tables.js';
import { Enlistment } from '../../src/vnet/policy/enlistment.js';
import { claimIdentity, IdentityUse } from '../../src/vnet/policy/identities.js';
import { finish } from '../../src/work/steps.js';
import { FIRST, policyOf, WIDE, World } from '../support/admission-world.js';
import { nothingLeft } from '../support/nothing-left.js';
import { smallTable } from '../support/small-table.js';

const ENDPOINT = 7;
const CUT_OFF = FIRST + 1;
const NEXT = FIRST + 2;

const setOf = (app: string) => ({ network: 'n', network_id: 1, namespace: 'default', labels: { app } });

let directory: string;
let store: EmbeddedStore;
let world: World;
let enlistment: Enlistment;

/** Room for five entries more, and one cut off who needs six. */
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'quantum-enlistment-'));
  store = await EmbeddedStore.open(directory);
  world = new World(store, smallTable({ ...WIDE, policy_max: 10 }), [{ ports: 5 }, { ports: 6 }]);
  await store.transaction((transaction) => {
    for (const app of ['0', '1']) claimIdentity(transaction, setOf(app), new Date().toISOString());
  });
  await world.sync.resync();
  enlistment = new Enlistment(store, world.sync, new IdentityUse(store), nothingLeft);
});
afterEach(async () => {
  expect(world.cutOff).toEqual([]);
  await world.requireExact();
  await store.close();
  rmSync(directory, { recursive: true });
});

const makeRoom = () => world.remove(policyOf('p0', '0', { ports: 5 }));

it('who does not fit is refused and not cut off, and nothing has changed', async () => {
  expect(world.cutOff).toEqual([CUT_OFF]);
  await world.apply(policyOf('p2', '2', { ports: 6 }));
  const coming = enlistment.enlist(ENDPOINT, setOf('2'));
  await expect(coming).rejects.toMatchObject({ code: 'INSUFFICIENT_CAPACITY' });
  expect(enlistment.isInUse(NEXT)).toBe(false);
  expect(store.get(identities, [NEXT])).toBeUndefined();
  expect(finish(world.sync.takingRulesInForce(NEXT)).subjects).toEqual([]);
  expect(world.sync.state?.identities_cut_off).toBe(1);
  await world.requireExact();
  await makeRoom();
});

it('who fits is in force beside one who is cut off, who is let in when they are given up', async () => {
  await world.apply(policyOf('p2', '2', { ports: 3 }));
  const identity = await enlistment.enlist(ENDPOINT, setOf('2'));
  const { id } = identity;
  world.ids.push(id);
  expect(id).toBe(NEXT);
  expect(world.cutOff).toEqual([CUT_OFF]);
  await world.apply(policyOf('p0', '0', { ports: 2 }), policyOf('p0', '0', { ports: 5 }));
  expect(world.cutOff).toEqual([CUT_OFF]);
  await world.requireExact();
  await enlistment.giveUp(ENDPOINT, identity);
  expect(store.get(identities, [id])).toBeUndefined();
  expect(finish(world.sync.takingRulesInForce(id)).subjects).toEqual([]);
});
