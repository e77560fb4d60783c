/** Numbers that are given before they are written: nobody is recorded with one that the disk has lost. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { endpointRequest } from '../../src/model/endpoint.js';
import { networkFrom, networkRequest } from '../../src/model/network.js';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { LmdbFile } from '../../src/store/lmdb-file.js';
import { endpoints, identities, networks, nextNumber, requireGiven } from '../../src/store/tables.js';
import { recordEndpoint } from '../../src/vnet/endpoint-records.js';
import { claimIdentity, requireIdentity } from '../../src/vnet/policy/identities.js';

const SET = { network: 'blue', network_id: 1, namespace: 'default', labels: { app: 'a' } };
const NOW = new Date().toISOString();

let directory: string;
let store: EmbeddedStore;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'quantum-given-'));
  store = await EmbeddedStore.open(directory);
  const blue = networkFrom(networkRequest.parse({ name: 'blue', cidr: '10.61.0.0/24' }), {
    ...{ id: 1, created_at: NOW },
  });
  await store.transaction((transaction) => transaction.put(networks, ['blue'], blue));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await store.close();
  rmSync(directory, { recursive: true });
});

const claim = () => store.stage((transaction) => claimIdentity(transaction, SET, NOW), 'soon');
const number = () => store.stage((transaction) => nextNumber(transaction, 'endpoint'), 'soon');
const lose = () => vi.spyOn(LmdbFile.prototype, 'write').mockRejectedValueOnce(new Error('no space'));

it.each(['endpoint', 'identity'] as const)('an endpoint is not recorded whose %s is lost', async (lost) => {
  const steps = lost === 'endpoint' ? [claim, number] : [number, claim];
  const results: unknown[] = [];
  for (const [index, step] of steps.entries()) {
    if (index === 1) lose();
    const { result, durable } = await step();
    results.push(result);
    if (index === 1) await expect(durable).rejects.toMatchObject({ code: 'STORE_ERROR' });
    else await durable;
  }
  const [identity, id] = (lost === 'endpoint' ? results : results.toReversed()) as [{ id: number }, number];
  const request = endpointRequest.parse({ container_id: 'web', netns_path: '/dev/null' });
  const record = () =>
    store.transaction((transaction) =>
      recordEndpoint(
        transaction,
        'blue',
        request,
        { id, identity: identity.id },
        { origin: 'rest', routes: [] },
      ),
    );
  await expect(record()).rejects.toMatchObject({ code: 'STORE_ERROR' });
  expect(store.list(endpoints)).toEqual([]);
  // The same numbers, given again and written, are fine.
  await claim();
  await number();
  expect((await record()).endpoint).toMatchObject({ id, identity: identity.id });
});

it('what is given and not yet written may be recorded: both are lost, or neither', async () => {
  lose();
  const { result: identity } = await claim();
  const recorded = store.transaction((transaction) => {
    requireIdentity(transaction, identity.id);
    requireGiven(transaction, 'identity', identity.id);
  });
  await expect(recorded).rejects.toMatchObject({
    code: 'STORE_ERROR',
    message: expect.stringContaining('no space'),
  });
  expect(store.list(identities)).toEqual([]);
});
