/** Addresses that a container runtime asks for before the endpoint that is to have them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { networkFrom, networkRequest } from '../../src/model/network.js';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { addresses, networks } from '../../src/store/tables.js';
import { Reservations } from '../../src/vnet/reservations.js';
import { Serial } from '../../src/vnet/serial.js';

const BLUE = networkRequest.parse({ name: 'blue', cidr: '10.61.0.0/24' });

describe('addresses that are reserved', () => {
  let directory: string;
  let store: EmbeddedStore;
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'quantum-reserved-'));
    store = await EmbeddedStore.open(directory);
    const blue = networkFrom(BLUE, { id: 1, created_at: '2026-01-02T03:04:05.000Z' });
    await store.transaction((transaction) => transaction.put(networks, ['blue'], blue));
  });
  afterEach(async () => {
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  });
  const open = () => new Reservations({ store, serial: new Serial() });

  it('are given once, also to a daemon that starts anew, and again after their release', async () => {
    const first = open();
    expect(await first.reserve('blue', 4)).toBe('10.61.0.2');
    expect(await open().reserve('blue', 4)).toBe('10.61.0.3');
    await expect(first.reserve('blue', 4, '10.61.0.3')).rejects.toMatchObject({ code: 'ADDRESS_IN_USE' });
    await first.release('blue', '10.61.0.3');
    await first.release('blue', '10.61.0.3');
    expect(await first.reserve('blue', 4, '10.61.0.3')).toBe('10.61.0.3');
  });

  it('by a daemon before this one are collected, its own are not', async () => {
    await open().reserve('blue', 4);
    const next = open();
    const own = await next.reserve('blue', 4);
    await next.collect();
    expect(store.list(addresses, [1]).map(({ address }) => address)).toEqual([own]);
  });

  it('on a network that is gone are released without a word', async () => {
    await expect(open().release('green', '10.61.0.2')).resolves.toBeUndefined();
    await expect(open().reserve('green', 4)).rejects.toMatchObject({ code: 'NETWORK_NOT_FOUND' });
  });
});
