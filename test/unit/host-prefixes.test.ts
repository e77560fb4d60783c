/** What is inside, as it is told to whoever looks for somebody outside. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { EndpointTable, Prefix } from '../../src/datapath/endpoint-table.js';
import { cidrContains, parseAddress } from '../../src/model/address.js';
import { networkFrom, networkRequest } from '../../src/model/network.js';
import { type ServiceRecord, serviceRequest } from '../../src/model/service.js';
import type { AddressInfo, Rtnl } from '../../src/native/net.js';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { networks, services } from '../../src/store/tables.js';
import { HostPrefixes } from '../../src/vnet/host-prefixes.js';

let directory: string;
let store: EmbeddedStore;
let node: AddressInfo[];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'quantum-inside-'));
  store = await EmbeddedStore.open(directory);
  node = [addressOf('198.18.0.1')];
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

function addressOf(address: string): AddressInfo {
  const flags = { noDad: false, noPrefixRoute: false, tentative: false, deprecated: false };
  return { index: 2, address, prefixLength: 32, family: 4, scope: 'global', ...flags };
}

function opened() {
  const host = { addresses: vi.fn(() => structuredClone(node)) };
  const table = {
    syncPrefixes: async (wanted: () => readonly Prefix[]) => wanted().length > 0,
  } as unknown as EndpointTable;
  const prefixes = new HostPrefixes(store, host as unknown as Rtnl, table);
  const isInside = (text: string) =>
    prefixes.inside().some((range) => cidrContains(range, parseAddress(text)));
  return { host, prefixes, isInside };
}

async function putNetwork(name: string, id: number, cidr: string) {
  const network = networkFrom(networkRequest.parse({ name, cidr }), {
    id,
    created_at: new Date().toISOString(),
  });
  await store.transaction((transaction) => transaction.put(networks, [name], network));
}

async function putService(ip_address: string) {
  const ports = [{ port: 80, target_port: 80 }];
  const request = serviceRequest.parse({
    name: 'web',
    selector: { matchLabels: { app: 'web' } },
    ports,
    ip_address,
  });
  const record = { ...request, created_at: new Date().toISOString() } as ServiceRecord;
  await store.transaction((transaction) => transaction.put(services, [record.namespace, 'web'], record));
}

it('inside are the addresses of the node, of networks and of services', async () => {
  const { prefixes, isInside } = opened();
  const told = () => ['198.18.0.1', '198.18.0.2', '10.60.1.9', '10.97.0.1', '203.0.113.1'].map(isInside);
  await prefixes.sync();
  expect(told()).toEqual([true, false, false, false, false]);
  await putNetwork('front', 1, '10.60.1.0/24');
  expect(told()).toEqual([true, false, true, false, false]);
  await putService('10.97.0.1');
  expect(told()).toEqual([true, false, true, true, false]);
  node = [addressOf('198.18.0.2')];
  await prefixes.sync();
  expect(told()).toEqual([false, true, true, true, false]);
  await store.transaction((transaction) => transaction.delete(services, ['default', 'web']));
  await store.transaction((transaction) => transaction.delete(networks, ['front']));
  expect(told()).toEqual([false, true, false, false, false]);
});

it('who asks what is inside asks the kernel nothing, and is told the same until it changes', async () => {
  const { host, prefixes } = opened();
  await putNetwork('front', 1, '10.60.1.0/24');
  await prefixes.sync();
  const asked = host.addresses.mock.calls.length;
  const inside = prefixes.inside();
  expect(prefixes.inside()).toBe(inside);
  expect(host.addresses).toHaveBeenCalledTimes(asked);
  await prefixes.sync();
  expect(prefixes.inside()).toBe(inside);
  await putNetwork('back', 2, '10.60.2.0/24');
  const changed = prefixes.inside();
  expect(changed).not.toBe(inside);
  node = [...node, addressOf('198.18.0.2')];
  await prefixes.sync();
  expect(prefixes.inside()).not.toBe(changed);
});
