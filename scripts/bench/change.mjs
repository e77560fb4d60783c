/**
 * A change of policies from the call of the service (what POST /policies calls) until it is in force: compiled, on disk,
 * in the maps, and the epoch advanced. Everything is the product's but the containers: 10,000 identities are told to the
 * compiler, of whom no endpoint exists. What HTTP adds is not in it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ConntrackSweeper } from '../../dist/datapath/conntrack-sweeper.js';
import { PolicyTable } from '../../dist/datapath/policy-table.js';
import { loadPrograms, preparePins } from '../../dist/datapath/programs.js';
import { PolicyEngine } from '../../dist/firewall/engine.js';
import { parsePolicy } from '../../dist/model/policy.js';
import { loadSettings } from '../../dist/model/settings-load.js';
import { waitForPrograms } from '../../dist/native/rcu.js';
import { EmbeddedStore } from '../../dist/store/embedded.js';
import { policies as table } from '../../dist/store/tables.js';
import { Policies, storedPolicies } from '../../dist/vnet/policies.js';
import { PolicySync } from '../../dist/vnet/policy-sync.js';
import { Serial } from '../../dist/vnet/serial.js';
import { Cleanup } from './cleanup.mjs';
import { identity, newEngine, tenRules } from './policy.mjs';
import { line } from './report.mjs';
import { median } from './statistics.mjs';

const IDENTITIES = 10_000;
const PAUSE_MS = 50;

export function change({ rounds }) {
  return Cleanup.during(async (cleanup) => {
    const { service, table: kernel } = await node(cleanup);
    const [apart, inARow] = [[], []];
    for (let round = 0; round <= 10 * rounds; round++) {
      const times = round % 2 === 0 ? apart : inARow;
      // Apart: the kernel has forgotten the change before. In a row: this one waits for that.
      if (times === apart) await Promise.all([kernel.settled(), delay(PAUSE_MS)]);
      const begin = performance.now();
      await service.apply([parsePolicy(tenRules(round, 82 + round))]);
      if (round > 1) times.push(performance.now() - begin);
    }
    const about = { part: 'change', unit: 'ms', goal: '<= 50' };
    const what = `one of 100,000 rules, ${IDENTITIES} identities, until in force`;
    return [
      line({ ...about, what, ours: median(apart) }),
      line({ ...about, what: `${what}, right after another`, ours: median(inARow) }),
    ];
  });
}

async function node(cleanup) {
  const directory = mkdtempSync(join(tmpdir(), 'quantum-bench-change-'));
  cleanup.add(() => rmSync(directory, { recursive: true }));
  const bpffs = `/sys/fs/bpf/${basename(directory)}`;
  cleanup.add(() => rmSync(bpffs, { recursive: true, force: true }));
  const store = await EmbeddedStore.open(join(directory, 'state'));
  cleanup.add(() => store.close());
  const settings = loadSettings({ argv: [], env: {}, readFile: () => '' });
  const loaded = await loadPrograms(settings, preparePins(bpffs));
  cleanup.add(() => loaded[Symbol.dispose]());
  const kernel = new PolicyTable(loaded.maps, waitForPrograms);
  cleanup.add(() => kernel.settled());
  const sweeper = new ConntrackSweeper(loaded.conntrackSweep, loaded.maps.sweep);
  cleanup.add(() => sweeper.stop());

  const created_at = new Date().toISOString();
  await store.transaction((transaction) => {
    for (let index = 0; index < IDENTITIES; index++) {
      const object = parsePolicy(tenRules(index, 81));
      const { kind, metadata } = object;
      transaction.put(table, [metadata.namespace, metadata.name], {
        kind,
        object: { ...object },
        created_at,
      });
    }
  });
  const engine = newEngine(PolicyEngine);
  for (let index = 0; index < IDENTITIES; index++) engine.upsertIdentity(identity(index, 100));
  for (const policy of storedPolicies(store)) engine.upsertPolicy(policy);
  const policy = new PolicySync(engine, kernel, store, sweeper, (error) => {
    throw error;
  });
  await policy.resync();
  const preview = () => Promise.reject(new Error('nobody asked for a preview'));
  return { service: new Policies({ store, serial: new Serial(), policy, preview }), table: kernel };
}
