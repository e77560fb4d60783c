/** What is recorded and what the kernel's tables have room for, when they do not agree at the daemon's start. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ConntrackSweeper } from '../../src/datapath/conntrack-sweeper.js';
import type { DatapathMaps } from '../../src/datapath/maps.js';
import { PolicyTable } from '../../src/datapath/policy-table.js';
import { PolicyEngine } from '../../src/firewall/engine.js';
import { AppError } from '../../src/model/errors.js';
import { parsePolicy } from '../../src/model/policy.js';
import { KernelError } from '../../src/native/errors.js';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { PolicySync } from '../../src/vnet/policy-sync.js';

/** A map of the kernel that takes as many entries. */
class FullMap<K, V> {
  readonly #entries = new Map<string, [K, V]>();

  constructor(private readonly max: number) {}

  get(key: K): V | undefined {
    return structuredClone(this.#entries.get(JSON.stringify(key))?.[1]);
  }

  set(key: K, value: V): void {
    const text = JSON.stringify(key);
    if (!this.#entries.has(text) && this.#entries.size >= this.max) {
      throw new KernelError({ errno: 7, code: 'E2BIG', text: 'full', operation: 'update', object: 'map' });
    }
    this.#entries.set(text, structuredClone([key, value]));
  }

  delete(key: K): boolean {
    return this.#entries.delete(JSON.stringify(key));
  }

  async entries(): Promise<[K, V][]> {
    return structuredClone([...this.#entries.values()]);
  }
}

const POLICY_MAX = 16;
const SUBJECTS = { web: 256, db: 257 };

let directory: string;
let store: EmbeddedStore;
let table: PolicyTable;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'quantum-resync-'));
  store = await EmbeddedStore.open(directory);
  const maps = {
    control: new FullMap(1),
    policy: new FullMap(POLICY_MAX),
    subjects: new FullMap(POLICY_MAX),
    cidrs: new FullMap(POLICY_MAX),
  };
  table = new PolicyTable(maps as unknown as DatapathMaps, async () => undefined);
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

/** The next daemon, whose records let everybody to that many ports of the container `web`. */
function daemonWith(first: number, ports: number): PolicySync {
  const engine = new PolicyEngine();
  engine.upsertNetwork({ id: 1, name: 'n', isolation_mode: 'full', peers: [] });
  for (const [app, id] of Object.entries(SUBJECTS)) {
    engine.upsertIdentity({ id, network_id: 1, namespace: 'default', labels: { app } });
  }
  engine.upsertPolicy(
    parsePolicy({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'ports' },
      spec: {
        podSelector: { matchLabels: { app: 'web' } },
        // Odd ones have no range in common.
        ingress: [{ ports: Array.from({ length: ports }, (_, index) => ({ port: first + 2 * index })) }],
      },
    }),
  );
  const sweeper = { sweep: async () => undefined } as unknown as ConntrackSweeper;
  return new PolicySync(engine, table, store, sweeper, (error) => {
    throw error;
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

  it('nor in their place: whom they concern is cut off, and the error does not say that nothing has changed', async () => {
    await daemonWith(1001, 10).resync();
    const failure = await daemonWith(2001, POLICY_MAX + 1)
      .resync()
      .catch((error: unknown) => error);
    if (!(failure instanceof AppError)) throw failure;
    expect(failure.code).toBe('INSUFFICIENT_CAPACITY');
    expect(failure.hint).toContain('policy_max');
    expect(failure.hint).not.toContain('have not changed');
    expect(failure.hint).toContain('restart the node');
    const { ports, subjects } = await inForce();
    expect(ports).toEqual([]);
    expect(subjects).not.toContain(SUBJECTS.web);
    expect(subjects).toContain(SUBJECTS.db);
  });

  it('are in force as soon as they fit', async () => {
    await daemonWith(1001, 10).resync();
    await expect(daemonWith(2001, POLICY_MAX + 1).resync()).rejects.toThrow('do not fit');
    await daemonWith(2001, 10).resync();
    expect((await inForce()).ports).toHaveLength(10);
    expect((await inForce()).subjects).toEqual(Object.values(SUBJECTS));
  });
});
