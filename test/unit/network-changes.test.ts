/** Networks that come and go: what is refused leaves nothing, and what the store says and the rules say is the same. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ConntrackSweeper } from '../../src/datapath/conntrack-sweeper.js';
import type { PolicyTable } from '../../src/datapath/policy-table.js';
import { PolicyEngine } from '../../src/firewall/engine.js';
import { networkFrom, networkRequest } from '../../src/model/network.js';
import { parsePolicy } from '../../src/model/policy.js';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { LmdbFile } from '../../src/store/lmdb-file.js';
import { addresses, networks, runtimeNetworks } from '../../src/store/tables.js';
import { Networks } from '../../src/vnet/networks.js';
import { PolicySync } from '../../src/vnet/policy/policy-sync.js';
import { Serial } from '../../src/vnet/serial.js';

const RED = networkRequest.parse({ name: 'red', cidr: '10.62.0.0/24', isolation_mode: 'peer' });

let directory: string;
let store: EmbeddedStore;
let engine: PolicyEngine;
let left: [string, unknown][];
/** Thrown at the next such step. */
let failures: { kernel?: unknown; files?: unknown; bridge?: unknown };
let made: Networks;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'quantum-networks-'));
  store = await EmbeddedStore.open(directory);
  [left, failures] = [[], {}];
  await begin(Number.POSITIVE_INFINITY);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await store.close();
  rmSync(directory, { recursive: true });
});

/** A node with a network, and in it a container that lets in every endpoint, which is an entry per network. */
async function begin(maxSize: number): Promise<void> {
  const options = { id: 100, created_at: new Date().toISOString() };
  const blue = networkFrom(networkRequest.parse({ name: 'blue', cidr: '10.61.0.0/24' }), options);
  await store.transaction((transaction) => transaction.put(networks, ['blue'], blue));
  engine = new PolicyEngine({ maxSize });
  engine.upsertNetwork(blue);
  engine.upsertIdentity({ id: 256, network_id: 100, namespace: 'default', labels: {} });
  const from = [{ namespaceSelector: {} }];
  engine.upsertPolicy(
    parsePolicy({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'endpoints' },
      spec: { podSelector: {}, ingress: [{ from }] },
    }),
  );
  engine.takeDelta();
  const take = (step: keyof typeof failures) => {
    const failure = failures[step];
    delete failures[step];
    if (failure !== undefined) throw failure;
  };
  const table = { commit: async () => take('kernel') } as unknown as PolicyTable;
  const onLeft = (error: unknown, what: string) => left.push([what, error]);
  const sweeper = { sweep: async () => undefined } as unknown as ConntrackSweeper;
  const error = (cause: unknown) => {
    throw cause;
  };
  const none = () => undefined;
  made = new Networks({
    ...{ store, serial: new Serial(), onLeft },
    policy: new PolicySync(engine, table, store, sweeper, {
      error,
      left: onLeft,
      uncertain: () => undefined,
    }),
    host: { links: () => [], addresses: () => [], link: () => take('bridge'), deleteRoute: none } as never,
    prefixes: { addNetwork: none, removeNetwork: none } as never,
    sources: { put: none, remove: none } as never,
    files: { write: async () => take('files'), remove: async () => undefined },
  });
}

const recorded = () => made.list().map(({ name }) => name);

describe('a network that comes', () => {
  it.each([
    ['the rules about it have no room', 1],
    ['the kernel has no room', Number.POSITIVE_INFINITY],
  ])('is refused where %s, and nothing has changed', async (_, maxSize) => {
    await begin(maxSize);
    const before = engine.snapshot();
    const full = new Error('no room');
    failures.kernel = full;
    const puts = vi.spyOn(store, 'transaction');
    await expect(made.create(RED)).rejects.toThrow(/no room|more than 1 entries/);
    if (maxSize === 1) expect(puts).not.toHaveBeenCalled();
    expect([recorded(), left]).toEqual([['blue'], []]);
    expect(engine.snapshot()).toEqual(before);
  });

  it('is taken back when a later step fails, and what could not be is told; the caller is told why at first', async () => {
    const before = engine.snapshot();
    const failure = new Error('the file is not ours');
    failures.files = failure;
    await expect(made.create(RED)).rejects.toBe(failure);
    expect([recorded(), left]).toEqual([['blue'], []]);
    expect(engine.snapshot()).toEqual(before);

    failures.files = failure;
    const disk = new Error('the disk is full');
    const write = store.transaction.bind(store);
    // What is recorded, and with it the number of its rule; then what is erased.
    vi.spyOn(store, 'transaction').mockImplementation((body) =>
      failures.files === undefined ? Promise.reject(disk) : write(body),
    );
    await expect(made.create(RED)).rejects.toBe(failure);
    expect(left).toEqual([['the record of network red', disk]]);
    expect(engine.snapshot()).toEqual(before);
  });

  it('is refused where its number was lost on the way to the disk', async () => {
    const before = engine.snapshot();
    vi.spyOn(LmdbFile.prototype, 'write').mockRejectedValueOnce(new Error('no space'));
    const stage = store.stage.bind(store);
    vi.spyOn(store, 'stage').mockImplementationOnce(async (body, urgency) => {
      const staged = await stage(body, urgency);
      await staged.durable.catch(() => undefined);
      return staged;
    });
    await expect(made.create(RED)).rejects.toMatchObject({ code: 'STORE_ERROR' });
    expect([recorded(), left]).toEqual([['blue'], []]);
    expect(engine.snapshot()).toEqual(before);
  });

  it('is not recorded over one of its name or range', async () => {
    await expect(made.create({ ...RED, name: 'blue' })).rejects.toMatchObject({ code: 'NETWORK_EXISTS' });
    await expect(made.create({ ...RED, cidr: '10.61.0.0/16' })).rejects.toMatchObject({
      code: 'CIDR_OVERLAP',
    });
    expect(recorded()).toEqual(['blue']);
  });
});

describe('a network that goes', () => {
  it('stays, with the rules about it, where the kernel or the store refuses', async () => {
    engine.removeIdentity(256);
    engine.upsertIdentity({ id: 257, network_id: 100, namespace: 'default', labels: {} });
    const before = engine.snapshot();
    await expect(made.delete('blue')).rejects.toThrow(RangeError);
    engine.removeIdentity(257);
    expect(recorded()).toEqual(['blue']);

    const disk = new Error('the disk is full');
    vi.spyOn(store, 'transaction').mockRejectedValueOnce(disk);
    await expect(made.delete('blue')).rejects.toBe(disk);
    vi.restoreAllMocks();
    engine.upsertIdentity({ id: 257, network_id: 100, namespace: 'default', labels: {} });
    expect([recorded(), left]).toEqual([['blue'], []]);
    expect(engine.snapshot()).toEqual(before);
  });

  it('stays without a question to the kernel where an address is reserved', async () => {
    await store.transaction((transaction) =>
      transaction.put(addresses, [100, '10.61.0.2'], {
        ...{ network_id: 100, address: '10.61.0.2', endpoint_id: 9 },
      }),
    );
    engine.removeIdentity(256);
    const before = engine.snapshot();
    failures.kernel = new Error('asked');
    await expect(made.delete('blue')).rejects.toMatchObject({ code: 'NETWORK_IN_USE' });
    expect([recorded(), left]).toEqual([['blue'], []]);
    expect(engine.snapshot()).toEqual(before);
    expect(failures.kernel).toBeDefined();
  });

  it('is recorded again, with what a runtime calls it, where the rules about it cannot go', async () => {
    const bound = { key: 'a'.repeat(64), network: 'blue', network_id: 100, owned: true };
    await store.transaction((transaction) => transaction.put(runtimeNetworks, [bound.key], bound));
    engine.removeIdentity(256);
    const stuck = new Error('stuck');
    vi.spyOn(PolicySync.prototype, 'change').mockImplementationOnce(async (_goes, _comes, record) => {
      await record?.();
      expect(recorded()).toEqual([]);
      throw stuck;
    });
    await expect(made.delete('blue')).rejects.toBe(stuck);
    expect([recorded(), store.list(runtimeNetworks), left]).toEqual([['blue'], [bound], []]);
  });

  it('is gone also where its bridge cannot go, and that is told', async () => {
    engine.removeIdentity(256);
    const stuck = new Error('stuck');
    failures.bridge = stuck;
    await made.delete('blue');
    expect([recorded(), left]).toEqual([[], [['the bridge of network blue', stuck]]]);
  });

  it('goes with its record', async () => {
    engine.removeIdentity(256);
    await made.delete('blue');
    expect(recorded()).toEqual([]);
    await expect(made.delete('blue')).rejects.toMatchObject({ code: 'NETWORK_NOT_FOUND' });
  });
});
