/** A container that becomes somebody else: in which order, and that it is who it was when that fails. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Endpoint, endpoint, endpointPatch } from '../../src/model/endpoint.js';
import { networkFrom, networkRequest } from '../../src/model/network.js';
import { KernelError } from '../../src/native/errors.js';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { LmdbFile } from '../../src/store/lmdb-file.js';
import { endpoints, identities, networks } from '../../src/store/tables.js';
import { Relabelling } from '../../src/vnet/endpoints/relabelling.js';
import { Enlistment } from '../../src/vnet/policy/enlistment.js';
import { claimIdentity, IdentityUse } from '../../src/vnet/policy/identities.js';
import type { PolicySync } from '../../src/vnet/policy/policy-sync.js';

const SET = { network: 'blue', network_id: 1, namespace: 'default', labels: { app: 'a' } };
const PATCH = endpointPatch.parse({ labels: { app: 'b' } });
const STEPS = ['rules', 'services', 'programs', 'judged'] as const;

let directory: string;
let store: EmbeddedStore;
let before: Endpoint;
let use: IdentityUse;
/** What was done, with who the record said that the container was then. */
let steps: string[];
let left: [string, unknown][];
/** Done at the next change of rules. */
let onRules: () => Promise<void>;
let failures: Partial<Record<(typeof STEPS)[number], unknown>>;
let relabelling: Relabelling;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'quantum-relabelling-'));
  store = await EmbeddedStore.open(directory);
  const blue = networkFrom(networkRequest.parse({ name: 'blue', cidr: '10.61.0.0/24' }), {
    ...{ id: 1, created_at: new Date().toISOString() },
  });
  before = await store.transaction((transaction) => {
    transaction.put(networks, ['blue'], blue);
    const { id: identity } = claimIdentity(transaction, SET, blue.created_at);
    const made = endpoint.parse({
      ...{ id: 5, network: 'blue', network_id: 1, container_id: 'web', interface_name: 'eth0' },
      ...{ netns_path: '/dev/null', namespace: 'default', labels: SET.labels, identity, ports: [] },
      ...{ ip_address: '10.61.0.2', mac_address: '02:00:00:00:00:05', host_interface: 'qn5' },
      ...{ created_at: blue.created_at, state: 'ready' },
    });
    transaction.put(endpoints, [5], made);
    return made;
  });
  use = new IdentityUse(store);
  [steps, left, failures] = [[], [], {}];
  onRules = async () => undefined;
  const take = (step: (typeof STEPS)[number], who = '') => {
    steps.push(`${step}${who}, recorded as ${store.get(endpoints, [5])?.labels.app}`);
    const failure = failures[step];
    delete failures[step];
    if (failure !== undefined) throw failure;
  };
  const policy = {
    changeUnobserved: async () => {
      take('rules');
      await onRules();
    },
    judgeAgain: async () => take('judged'),
  } as unknown as PolicySync;
  const onLeft = (error: unknown, what: string) => left.push([what, error]);
  const parts = {
    ...{ store, policy, onLeft, host: { link: () => ({ index: 7 }) } },
    publishing: { relabel: async (_: Endpoint, after: Endpoint) => take('services', ` ${after.labels.app}`) },
    datapath: {
      endpoints: {
        put: ({ identity }: { identity: number }) =>
          take('programs', identity === before.identity ? ' a' : ' b'),
      },
    },
  };
  relabelling = new Relabelling(parts as never, new Enlistment(store, policy, use, onLeft));
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

const relabel = () => relabelling.patch([before], PATCH);

it('has its rules before it is recorded as who has them, and loses the old ones last', async () => {
  const after = await relabel();
  expect(after).toMatchObject({ labels: { app: 'b' } });
  expect(store.get(endpoints, [5])).toEqual(after);
  expect(steps).toEqual([
    'rules, recorded as a',
    'services b, recorded as b',
    'programs b, recorded as b',
    'judged, recorded as b',
    'rules, recorded as b',
  ]);
  expect(store.list(identities).map(({ id }) => id)).toEqual([after.identity]);
  expect(use.inUse()).toEqual([after.identity]);
});

it('that is told to be who it is gets no other rules', async () => {
  await relabelling.patch([before], endpointPatch.parse({ labels: SET.labels }));
  expect(steps).toEqual([]);
  expect(use.inUse()).toEqual([before.identity]);
});

it('is who it is to be also where the rules of who it was cannot go, and that is told', async () => {
  const stuck = new Error('stuck');
  onRules = async () => {
    failures.rules = stuck;
  };
  const after = await relabel();
  expect(store.get(endpoints, [5])).toEqual(after);
  expect(left).toEqual([[`identity ${before.identity}, which endpoint 5 had`, stuck]]);
});

describe('where it fails', () => {
  it('as its identity is lost on the way to the disk, it is who it was, and nobody has the number', async () => {
    const write = vi.spyOn(LmdbFile.prototype, 'write').mockRejectedValueOnce(new Error('no space'));
    // Waits until what was claimed is to be written.
    onRules = () => vi.waitFor(() => expect(store.list(identities)).toHaveLength(1));
    await expect(relabel()).rejects.toMatchObject({ code: 'STORE_ERROR' });
    write.mockRestore();
    expect(store.get(endpoints, [5])).toEqual(before);
    expect(use.inUse()).toEqual([before.identity]);
    expect(steps.filter((step) => step.startsWith('rules'))).toHaveLength(2);
  });

  const full = new KernelError({ errno: 7, code: 'E2BIG', text: 'full', operation: 'update', object: 'map' });

  it.each(STEPS)('at its %s, it is who it was, and says why', async (step) => {
    failures[step] = full;
    await expect(relabel()).rejects.toMatchObject({ code: 'INSUFFICIENT_CAPACITY', cause: full });
    expect(store.get(endpoints, [5])).toEqual(before);
    expect(store.list(identities).map(({ id }) => id)).toEqual([before.identity]);
    expect(use.inUse()).toEqual([before.identity]);
    const told = steps.filter((text) => text.startsWith('programs'));
    expect(told.at(-1) ?? 'programs a').toMatch(/^programs a/);
    if (told.length > 0) expect(steps[steps.indexOf(told.at(-1) ?? '') + 1]).toMatch(/^judged/);
    expect(left).toEqual([]);
  });

  it('and cannot be taken back, that is told with what is left, and the caller is told why it failed', async () => {
    failures.judged = full;
    const nor = new Error('nor back');
    const record = store.transaction.bind(store);
    store.transaction = (body) => (failures.judged === full ? record(body) : Promise.reject(nor));
    await expect(relabel()).rejects.toMatchObject({ cause: full });
    expect(left).toEqual([['endpoint 5 is recorded with labels that are not in force', nor]]);
    // The rules of who it is recorded to be stay recorded with it.
    expect(store.list(identities)).toHaveLength(2);
  });
});
