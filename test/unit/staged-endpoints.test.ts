/** An endpoint that a runtime made before its container: what becomes of it when it is known whose it is. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type Endpoint, endpointRequest } from '../../src/model/endpoint.js';
import { networkFrom, networkRequest } from '../../src/model/network.js';
import { KernelError } from '../../src/native/errors.js';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { LmdbFile } from '../../src/store/lmdb-file.js';
import {
  endpointKeys,
  endpoints,
  identities,
  networks,
  nextNumber,
  stagedEndpoints,
} from '../../src/store/tables.js';
import { recordEndpoint } from '../../src/vnet/endpoint-records.js';
import { NO_NETNS, StagedEndpoints } from '../../src/vnet/endpoints/staged-endpoints.js';
import { Enlistment } from '../../src/vnet/policy/enlistment.js';
import { claimIdentity, IdentityUse } from '../../src/vnet/policy/identities.js';
import type { PolicySync } from '../../src/vnet/policy/policy-sync.js';
import { Serial } from '../../src/vnet/serial.js';

const KEY = 'e'.repeat(64);
const WEB = { container_id: 'web', namespace: 'default', labels: { app: 'web' } };
const NOBODY = { network: 'blue', network_id: 1, namespace: 'default', labels: {} };

let directory: string;
let store: EmbeddedStore;
let before: Endpoint;
let use: IdentityUse;
/** What rules and programs were told, and what could not be taken back. */
let steps: string[];
let left: unknown[];
/** Done at the next change of rules, and at the telling of programs. */
let onRules: () => Promise<void>;
let onTell: () => void;
let staged: StagedEndpoints;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'quantum-staged-'));
  store = await EmbeddedStore.open(directory);
  const created_at = new Date().toISOString();
  const blue = networkFrom(networkRequest.parse({ name: 'blue', cidr: '10.61.0.0/24' }), {
    id: 1,
    created_at,
  });
  await store.transaction((transaction) => {
    transaction.put(networks, ['blue'], blue);
    const numbers = {
      id: nextNumber(transaction, 'endpoint'),
      identity: claimIdentity(transaction, NOBODY, created_at).id,
    };
    const request = endpointRequest.parse({ container_id: KEY, netns_path: NO_NETNS });
    const options = {
      origin: 'docker',
      routes: [],
      staged: { key: KEY, runtimeNetwork: 'r'.repeat(64) },
    } as const;
    before = recordEndpoint(transaction, 'blue', request, numbers, options).endpoint;
  });
  use = new IdentityUse(store);
  [steps, left] = [[], []];
  onRules = async () => undefined;
  onTell = () => undefined;
  const policy = {
    changeUnobserved: async () => {
      steps.push('rules');
      await onRules();
    },
  } as unknown as PolicySync;
  const onLeft = (error: unknown) => left.push(error);
  const maker = {
    tell: async () => {
      steps.push('tell');
      onTell();
    },
    untell: async () => steps.push('untell'),
  };
  const enlistment = new Enlistment(store, policy, use, onLeft);
  staged = new StagedEndpoints({ store, serial: new Serial(), maker, enlistment, onLeft } as never);
  before = await staged.join(KEY, '/proc/1/ns/net');
});
afterEach(async () => {
  vi.restoreAllMocks();
  await store.close();
  rmSync(directory, { recursive: true });
});

/** It is as if nobody had told whose it is: nobody's, and to be asked for again. */
function requireNobodys(): void {
  expect(store.get(endpoints, [before.id])).toEqual(before);
  expect(store.list(endpointKeys).map(({ container_id }) => container_id)).toEqual([KEY]);
  expect(store.list(identities).map(({ id }) => id)).toEqual([before.identity]);
  expect(use.inUse()).toEqual([before.identity]);
  expect(left).toEqual([]);
}

it('has its rules first, then its record, and the programs know it last', async () => {
  let known: unknown;
  const recorded: unknown[] = [];
  onRules = async () => {
    recorded.push(store.get(endpoints, [before.id]));
  };
  onTell = () => {
    known = store.get(endpoints, [before.id]);
  };
  const after = await staged.identify(KEY, WEB);
  expect(after).toMatchObject({ ...WEB, state: 'ready' });
  expect(known).toEqual({ ...after, state: before.state });
  // Those of who it was go last.
  expect(steps).toEqual(['rules', 'tell', 'rules']);
  expect([recorded, left]).toEqual([[before, known], []]);
  expect(use.inUse()).toEqual([after?.identity]);
  expect(store.list(identities).map(({ id }) => id)).toEqual([after?.identity]);
});

it('whose identity is lost on the way to the disk is nobody’s, and no program is told of that number', async () => {
  const write = vi.spyOn(LmdbFile.prototype, 'write').mockRejectedValueOnce(new Error('no space'));
  // Waits until what was claimed is to be written.
  onRules = () => vi.waitFor(() => expect(store.list(identities)).toHaveLength(1));
  await expect(staged.identify(KEY, WEB)).rejects.toMatchObject({ code: 'STORE_ERROR' });
  expect(write).toHaveBeenCalled();
  // What was put in force of it is taken back.
  expect(steps).toEqual(['rules', 'rules']);
  requireNobodys();
  onRules = async () => undefined;
  expect(await staged.identify(KEY, WEB)).toMatchObject({ ...WEB, state: 'ready' });
});

it('that the programs cannot be told of is nobody’s, and says why', async () => {
  const full = new KernelError({ errno: 7, code: 'E2BIG', text: 'full', operation: 'update', object: 'map' });
  onTell = () => {
    throw full;
  };
  await expect(staged.identify(KEY, WEB)).rejects.toMatchObject({
    code: 'INSUFFICIENT_CAPACITY',
    cause: full,
  });
  expect(steps).toEqual(['rules', 'tell', 'untell', 'rules']);
  requireNobodys();
  expect(store.get(stagedEndpoints, [KEY])).toMatchObject({ joined: true });
});
