/**
 * A node that has 10,000 identities with a policy of ten rules each. Everything is the product's but the containers: the
 * identities are told to the compiler, and no endpoint of them exists.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { ConntrackSweeper } from '../../dist/datapath/conntrack-sweeper.js';
import { PolicyTable } from '../../dist/datapath/policy-table.js';
import { loadPrograms, preparePins } from '../../dist/datapath/programs.js';
import { PolicyEngine } from '../../dist/firewall/engine.js';
import { parsePolicy } from '../../dist/model/policy.js';
import { loadSettings } from '../../dist/model/settings-load.js';
import { waitForPrograms } from '../../dist/native/rcu.js';
import { EmbeddedStore } from '../../dist/store/embedded.js';
import { policies as table } from '../../dist/store/tables.js';
import { Policies, storedPolicies } from '../../dist/vnet/policy/policies.js';
import { PolicySync } from '../../dist/vnet/policy/policy-sync.js';
import { Serial } from '../../dist/vnet/serial.js';
import { identity, newEngine, tenRules } from './policy.mjs';

export const IDENTITIES = 10_000;

/** The store, the compiler and the kernel's tables of a node, with the service of its policies. */
export async function policyNode(cleanup) {
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
  const fail = (error) => {
    throw error;
  };
  const policy = new PolicySync(engine, kernel, store, sweeper, { error: fail, left: fail });
  await policy.resync();
  const preview = () => Promise.reject(new Error('nobody asked for a preview'));
  return {
    policies: new Policies({ store, serial: new Serial(), policy, preview, onLeft: fail }),
    table: kernel,
  };
}
