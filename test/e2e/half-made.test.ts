/** A connection that fails half-way is taken back in an order that leaves no window either. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { Datapath } from '../../src/datapath/datapath.js';
import { endpointRequest } from '../../src/model/endpoint.js';
import { networkFrom, networkRequest } from '../../src/model/network.js';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { endpoints, networks } from '../../src/store/tables.js';
import { EndpointMaker } from '../../src/vnet/endpoints/endpoint-maker.js';
import type { NodePorts } from '../../src/vnet/nat/node-ports.js';
import type { Publishing } from '../../src/vnet/nat/publishing.js';
import type { Enlistment } from '../../src/vnet/policy/enlistment.js';
import { claimIdentity } from '../../src/vnet/policy/identities.js';
import { TestNetns } from '../support/netns.js';
import { nothingLeft } from '../support/nothing-left.js';

it('the rules of an endpoint outlast its interface and its place in the maps', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'quantum-half-made-'));
  const store = await EmbeddedStore.open(directory);
  using node = TestNetns.create();
  using container = TestNetns.create();
  const host = node.net.rtnl;
  const steps: string[] = [];
  const isThere = () => host.links().some(({ name }) => name.startsWith('qn'));
  const datapath = {
    endpoints: {
      put: () => steps.push('known'),
      remove: () => steps.push(`unknown, interface ${isThere() ? 'there' : 'gone'}`),
    },
    attachments: {
      attach: () => {
        throw new Error('the program is not taken');
      },
      unpin: () => undefined,
    },
    xdp: { isOn: false },
  } as unknown as Datapath;
  const enlistment = {
    enlist: async () => {
      steps.push(`rules, ${store.list(endpoints).length} recorded`);
      const set = { network: 'blue', network_id: 1, namespace: 'default', labels: {} };
      return store.transaction((transaction) => claimIdentity(transaction, set, new Date().toISOString()));
    },
    giveUp: async () => {
      const left = store.list(endpoints).length;
      steps.push(`no rules, interface ${isThere() ? 'there' : 'gone'}, ${left} recorded`);
    },
    drop: () => undefined,
  } as unknown as Enlistment;
  const nodePorts = {} as NodePorts;
  const publishing = { leave: async () => void steps.push('not served') } as unknown as Publishing;
  try {
    const request = networkRequest.parse({ name: 'blue', cidr: '10.60.1.0/24' });
    const network = networkFrom(request, { id: 1, created_at: new Date().toISOString() });
    await store.transaction((transaction) => transaction.put(networks, [network.name], network));
    const ignore = () => undefined;
    const maker = new EndpointMaker(
      {
        ...{ store, host, datapath, nodePorts, publishing },
        ...{ onStoreError: ignore, onSharedUserNamespace: ignore, onGone: ignore, onLeft: nothingLeft },
      },
      enlistment,
    );
    const wanted = endpointRequest.parse({ container_id: 'a', netns_path: container.path });

    await expect(maker.make('blue', wanted, { origin: 'rest', routes: [] })).rejects.toThrow('not taken');

    expect(steps).toEqual([
      'rules, 0 recorded',
      'known',
      'unknown, interface gone',
      'no rules, interface gone, 0 recorded',
    ]);
    expect(store.list(endpoints)).toEqual([]);
    await maker.idle();
  } finally {
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  }
});
