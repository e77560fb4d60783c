/** What is recorded and what the kernel's tables have room for, when they do not agree at the daemon's start. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ConntrackSweeper } from '../../src/datapath/conntrack-sweeper.js';
import type { PolicyTable } from '../../src/datapath/policy-table.js';
import { PolicyEngine } from '../../src/firewall/engine.js';
import { type Policy, parsePolicy, policyRef } from '../../src/model/policy.js';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { PolicySync } from '../../src/vnet/policy/policy-sync.js';
import { nothingLeft } from '../support/nothing-left.js';
import { smallTable } from '../support/small-table.js';

const POLICY_MAX = 16;
const SUBJECTS = { web: 256, db: 257 };

let directory: string;
let store: EmbeddedStore;
let table: PolicyTable;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'quantum-resync-'));
  store = await EmbeddedStore.open(directory);
  table = smallTable({ policy_max: POLICY_MAX, policy_cidrs_max: POLICY_MAX, subjects_max: POLICY_MAX });
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

/** Lets everybody to so many ports of a container. */
function portsOf(name: string, app: string, first: number, ports: number): Policy {
  return parsePolicy({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name },
    spec: {
      podSelector: { matchLabels: { app } },
      // Odd ones have no range in common.
      ingress: [{ ports: Array.from({ length: ports }, (_, index) => ({ port: first + 2 * index })) }],
    },
  });
}

/** The next daemon, whose records let everybody to that many ports of the container `web`. */
function daemonWith(first: number, ports: number, engine = new PolicyEngine()): PolicySync {
  engine.upsertNetwork({ id: 1, name: 'n', isolation_mode: 'full', peers: [] });
  for (const [app, id] of Object.entries(SUBJECTS)) {
    engine.upsertIdentity({ id, network_id: 1, namespace: 'default', labels: { app } });
  }
  engine.upsertPolicy(portsOf('ports', 'web', first, ports));
  const sweeper = { sweep: async () => undefined } as unknown as ConntrackSweeper;
  return new PolicySync(engine, table, store, sweeper, {
    error: (error) => {
      throw error;
    },
    left: nothingLeft,
    uncertain: () => undefined,
  });
}

async function inForce() {
  const { entries, subjects } = await table.load();
  return {
    ports: entries.flatMap(({ key }) => (key.port === 0 ? [] : key.port)),
    subjects: subjects.map(({ identity }) => identity).sort(),
  };
}

describe('recorded policies that do not fit beside those in force', () => {
  it('are in force when they fit in their place', async () => {
    await daemonWith(1001, 10).resync();
    await daemonWith(2001, 10).resync();
    const { ports, subjects } = await inForce();
    expect(ports).toHaveLength(10);
    expect(Math.min(...ports)).toBe(2001);
    expect(subjects).toEqual(Object.values(SUBJECTS));
  });

  it('nor in their place: whom they concern is cut off, and everybody else is not', async () => {
    await daemonWith(1001, 10).resync();
    const daemon = daemonWith(2001, POLICY_MAX + 1);
    await daemon.resync();
    expect(daemon.state).toEqual({
      identities_cut_off: 1,
      cut_off: [],
      message: expect.stringMatching(/do not fit.* raise policy_max and restart the node/),
    });
    expect(daemon.cutOffBy(SUBJECTS.web)).toEqual(['policy_max']);
    expect(daemon.cutOffBy(SUBJECTS.db)).toBeUndefined();
    const { ports, subjects } = await inForce();
    expect(ports).toEqual([]);
    expect(subjects).not.toContain(SUBJECTS.web);
    expect(subjects).toContain(SUBJECTS.db);
  });

  it('are in force as soon as they fit', async () => {
    await daemonWith(1001, 10).resync();
    const before = daemonWith(2001, POLICY_MAX + 1);
    await before.resync();
    expect(before.state).toBeDefined();
    const daemon = daemonWith(2001, 10);
    await daemon.resync();
    expect(daemon.state).toBeUndefined();
    expect((await inForce()).ports).toHaveLength(10);
    expect((await inForce()).subjects).toEqual(Object.values(SUBJECTS));
  });

  it('give nothing to who is cut off until something that goes makes room, and to others what is theirs', async () => {
    const daemon = daemonWith(2001, POLICY_MAX + 1);
    await daemon.resync();
    const others = portsOf('others', 'db', 3001, 2);
    await daemon.change(
      (engine) => engine.upsertingPolicy(others),
      (engine) => engine.removingPolicy(policyRef(others)),
    );
    const more = portsOf('more', 'web', 4001, 1);
    await daemon.change(
      (engine) => engine.upsertingPolicy(more),
      (engine) => engine.removingPolicy(policyRef(more)),
    );
    expect((await inForce()).ports).toEqual([3001, 3003]);
    expect((await inForce()).subjects).toEqual([SUBJECTS.db]);
    expect(daemon.state).toMatchObject({ identities_cut_off: 1 });

    const large = portsOf('ports', 'web', 2001, POLICY_MAX + 1);
    await daemon.change(
      (engine) => engine.removingPolicy(policyRef(large)),
      (engine) => engine.upsertingPolicy(large),
    );
    expect((await inForce()).ports.sort()).toEqual([3001, 3003, 4001]);
    expect((await inForce()).subjects).toEqual(Object.values(SUBJECTS));
    expect(daemon.state).toBeUndefined();
  });
});

it('what a change or a dry run gives up comes back, also when identities have taken the room meanwhile', async () => {
  const engine = new PolicyEngine();
  const daemon = daemonWith(2001, 10, engine);
  await daemon.resync();
  const before = engine.snapshot();
  engine.bound(1);
  engine.upsertNetwork({ id: 2, name: 'open', isolation_mode: 'none', peers: [] });
  engine.upsertIdentity({ id: 300, network_id: 2, namespace: 'default', labels: {} });
  const policy = portsOf('ports', 'web', 2001, 10);
  const apply = () => engine.upsertingPolicy(portsOf('ports', 'web', 3001, 5));
  const undo = () => engine.upsertingPolicy(policy);
  await daemon.preview(apply, undo);
  const full = new Error('no room');
  const failing = daemon.change(apply, undo, () => Promise.reject(full));
  await expect(failing).rejects.toBe(full);
  engine.removeIdentity(300);
  engine.removeNetwork(2);
  expect(engine.snapshot()).toEqual(before);
});

it('what is recorded may be more than the bound, can be taken away and put back, and does not grow', () => {
  const engine = new PolicyEngine();
  engine.upsertNetwork({ id: 1, name: 'n', isolation_mode: 'full', peers: [] });
  engine.upsertIdentity({ id: SUBJECTS.web, network_id: 1, namespace: 'default', labels: { app: 'web' } });
  const policy = portsOf('ports', 'web', 2001, 10);
  engine.upsertPolicy(policy);
  const before = engine.snapshot();
  engine.bound(5);
  expect(() => engine.upsertPolicy(portsOf('more', 'web', 4001, 1))).toThrow('more than');
  engine.removePolicy(policyRef(policy));
  engine.upsertPolicy(policy);
  expect(engine.snapshot()).toEqual(before);
});
