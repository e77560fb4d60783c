/** Limits of containers that run: what is told when they cannot be changed. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Endpoint, endpoint } from '../../src/model/endpoint.js';
import { networkFrom, networkRequest } from '../../src/model/network.js';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { endpoints, networks } from '../../src/store/tables.js';
import { limitEndpoint } from '../../src/vnet/endpoints/limiting.js';
import type { OnLeft } from '../../src/vnet/rollback.js';

const BLUE = networkRequest.parse({ name: 'blue', cidr: '10.61.0.0/24' });
const BEFORE = endpoint.parse({
  id: 5,
  network: 'blue',
  network_id: 1,
  container_id: 'web',
  interface_name: 'eth0',
  netns_path: '/dev/null',
  namespace: 'default',
  labels: {},
  mac_address: '02:00:00:00:00:05',
  ip_address: '10.61.0.5',
  gateway: '10.61.0.1',
  identity: 300,
  host_interface: 'qn00000005',
  ports: [],
  options: { bandwidth: { ingress_rate: 1_000_000 } },
  created_at: '2026-01-02T03:04:05.000Z',
  state: 'ready',
});

describe('limits of a container that runs', () => {
  let directory: string;
  let store: EmbeddedStore;
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'quantum-limits-'));
    store = await EmbeddedStore.open(directory);
    const blue = networkFrom(BLUE, { id: 1, created_at: '2026-01-02T03:04:05.000Z' });
    await store.transaction((transaction) => transaction.put(networks, ['blue'], blue));
    await store.transaction((transaction) => transaction.put(endpoints, [5], BEFORE));
  });
  afterEach(async () => {
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  });

  /** A node whose queues fail to be set with these errors, one after the other. */
  function parts(errors: Error[] = []) {
    const told: number[] = [];
    const notFound: number[] = [];
    const set = () => {
      const error = errors.shift();
      if (error !== undefined) throw error;
    };
    const host = {
      link: () => ({ index: 7 }),
      queue: () => undefined,
      removeQueue: () => false,
      setTokenBucket: set,
      setDepartureQueue: set,
    };
    const datapath = { endpoints: { put: ({ id }: { id: number }) => told.push(id) } };
    const onQueueNotFound = ({ id }: Endpoint) => notFound.push(id);
    const left: [string, unknown][] = [];
    const onLeft: OnLeft = (error, what) => left.push([what, error]);
    return { store, host, datapath, onQueueNotFound, onLeft, told, notFound, left };
  }
  const limit = (on: ReturnType<typeof parts>, bandwidth: object) =>
    limitEndpoint(on as never, BEFORE, { bandwidth });

  it('are as they were when they cannot be changed, and the first error is told, not that of taking it back', async () => {
    const second = new Error('second');
    const node = parts([new Error('first'), second]);
    await expect(limit(node, { ingress_rate: 2_000_000 })).rejects.toThrow('first');
    expect(store.get(endpoints, [5])).toEqual(BEFORE);
    expect(node.told).toEqual([]);
    expect(node.left).toEqual([['the limits of endpoint 5, some of which are the new ones', second]]);
  });

  it('hold where the interface is not found in the container, which is told if what it sends has a limit', async () => {
    const node = parts();
    const after = await limit(node, { egress_rate: 2_000_000 });
    expect(store.get(endpoints, [5])).toEqual(after);
    expect(node).toMatchObject({ told: [5], notFound: [5] });
    await limit(node, { ingress_rate: 2_000_000 });
    expect(node).toMatchObject({ told: [5, 5], notFound: [5] });
  });
});
