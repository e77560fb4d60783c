/** How connections are told and picked: by the API, by the command line, and record by record. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ConntrackEntry, ConntrackFlags } from '../../src/datapath/abi/generated.js';
import type { ConnectionTable } from '../../src/datapath/connection-table.js';
import type { Connection } from '../../src/model/connection.js';
import type { Reader } from '../../src/store/store.js';
import { endpoints } from '../../src/store/tables.js';
import { Connections, fitsRecord, stateOf } from '../../src/vnet/nat/connections.js';
import { runCtl } from '../support/ctl.js';
import { type ServedApi, servedApi } from '../support/fake-api.js';
import { mappedAddress } from '../support/packet.js';
import { Rest } from '../support/rest.js';

const FAR = 1n << 62n;
const record = (more: Partial<ConntrackEntry> = {}): ConntrackEntry => ({
  key: {
    ...{ addressA: mappedAddress('10.60.1.2'), addressB: mappedAddress('198.18.0.2') },
    ...{ portA: 40000, portB: 80, scope: 0, protocol: 6 },
  },
  ...{ flags: 0, expiresNs: FAR, endpointId: [7, 0], ifindex: [3, 0], rule: [0, 0] },
  ...{ natAddress: new Uint8Array(16), natPort: 0, backend: 0, epoch: 1, nonce: 9, sequence: 0 },
  ...more,
});
const translated = record({ natAddress: mappedAddress('198.18.0.1'), natPort: 61000 });
const { OPENER_IS_B, NAMED_RESPONDER, REPLIED, RESET, FIN_OPENER, ESTABLISHED } = ConntrackFlags;

const container = { id: 7, container_id: 'a', network: 'blue', interface_name: 'eth0' };
const reader = {
  get: (table: unknown, [id]: [number]) => (table === endpoints && id === 7 ? container : undefined),
  list: () => [container, { ...container, id: 8, container_id: 'b', network: 'green' }],
} as unknown as Reader;
const tableOf = (...pieces: ConntrackEntry[][]) => {
  const flushed: ConntrackEntry[] = [];
  const table = {
    async *pieces() {
      yield* pieces;
    },
    flush: async (fits: (record: ConntrackEntry) => boolean) => {
      flushed.push(...pieces.flat().filter(fits));
      return flushed.length;
    },
  } as unknown as ConnectionTable;
  return { connections: new Connections(reader, table), flushed };
};
const told = async (entry: ConntrackEntry) =>
  (await tableOf([entry]).connections.list({ limit: 1 })).connections[0];

describe('a connection', () => {
  it('tells who has opened it, to whom, and what the source is translated to', async () => {
    expect(await told(translated)).toMatchObject({
      protocol: 'TCP',
      source: { ip: '10.60.1.2', port: 40000, container_id: 'a', network: 'blue', interface_name: 'eth0' },
      destination: { ip: '198.18.0.2', port: 80 },
      translated: { end: 'source', ip: '198.18.0.1', port: 61000 },
      state: 'opening',
    });
  });

  it('that came in by a port of the node tells where it was sent to', async () => {
    const flags = OPENER_IS_B | NAMED_RESPONDER;
    const entry = record({
      flags,
      endpointId: [0, 7],
      natAddress: mappedAddress('198.18.0.1'),
      natPort: 8080,
    });
    expect(await told(entry)).toMatchObject({
      source: { ip: '198.18.0.2', port: 80 },
      destination: { ip: '10.60.1.2', port: 40000, container_id: 'a' },
      translated: { end: 'destination', ip: '198.18.0.1', port: 8080 },
    });
  });

  it('of echoes has an identifier and no ports', async () => {
    const { key } = record();
    const echo = await told(record({ key: { ...key, protocol: 1, portA: 77, portB: 0 } }));
    expect(echo).toMatchObject({ protocol: 'ICMP', icmp_id: 77, source: { ip: '10.60.1.2' } });
    expect(echo?.source).not.toHaveProperty('port');
  });

  it.each([
    ['TCP', 0, 'opening'],
    ['TCP', REPLIED, 'opening'],
    ['TCP', REPLIED | ESTABLISHED, 'established'],
    ['TCP', REPLIED | ESTABLISHED | FIN_OPENER, 'closing'],
    ['TCP', REPLIED | ESTABLISHED | RESET, 'closed'],
    ['UDP', 0, 'unanswered'],
    ['UDP', REPLIED, 'answered'],
  ])('of %s with the flags %i is %s', (protocol, flags, state) => {
    const { key } = record();
    expect(stateOf({ key: { ...key, protocol: protocol === 'TCP' ? 6 : 17 }, flags })).toBe(state);
  });

  it('that has expired, or is just being made, is not told', async () => {
    const { connections } = tableOf([record({ expiresNs: 1n }), record({ nonce: 0 })]);
    expect(await connections.list({ limit: 9 })).toEqual({ connections: [], truncated: false });
  });
});

describe('a filter', () => {
  it.each([
    [{ protocol: 'TCP' as const }, true],
    [{ protocol: 'UDP' as const }, false],
    [{ address: '198.18.0.1' }, true],
    [{ address: '198.18.0.0/16' }, true],
    [{ address: '10.60.1.3' }, false],
    [{ address: '::/0' }, false],
    [{ port: 80 }, true],
    [{ port: 61000 }, true],
    [{ port: 81 }, false],
    [{ state: 'opening' as const }, true],
    [{ state: 'closed' as const }, false],
    [{ translated: true }, true],
    [{ translated: false }, false],
    [{ protocol: 'TCP' as const, port: 81 }, false],
  ])('%j picks it: %s', (filter, expected) => {
    expect(fitsRecord(translated, filter)).toBe(expected);
  });

  it.each([
    [{ container_id: 'a' }, 1],
    [{ container_id: 'b' }, 0],
    [{ container_id: 'nobody' }, 0],
    [{ network: 'blue' }, 1],
    [{ network: 'green' }, 0],
    [{ container_id: 'a', network: 'green' }, 0],
  ])('%j picks %i', async (filter, count) => {
    const { connections, flushed } = tableOf([translated]);
    expect((await connections.list({ ...filter, limit: 9 })).connections).toHaveLength(count);
    expect(await connections.flush(filter)).toBe(count);
    expect(flushed).toHaveLength(count);
  });
});

it('no more is told than the limit, and whether there is more', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(9), fc.integer({ min: 1, max: 9 }), async (count, limit) => {
      const { connections } = tableOf(...Array.from({ length: count }, () => [record()]));
      const found = await connections.list({ limit });
      expect(found.connections).toHaveLength(Math.min(count, limit));
      expect(found.truncated).toBe(count > limit);
    }),
  );
});

describe('by the API and the command line', () => {
  let api: ServedApi;
  beforeEach(async () => {
    api = await servedApi();
    api.node.connections.found = [found];
  });
  afterEach(() => api.close());
  const found: Connection = {
    protocol: 'TCP',
    source: { ip: '10.60.1.2', port: 40000, container_id: 'a', network: 'blue', interface_name: 'eth0' },
    destination: { ip: 'fd00::1', port: 80 },
    translated: { end: 'source', ip: '198.18.0.1', port: 61000 },
    state: 'established',
    expires_in_seconds: 21600,
  };
  const ask = async (method: 'GET' | 'DELETE', query: string) => {
    const { status, json } = await new Rest(api.socketPath, () => '').call(
      method,
      `/nat/connections${query}`,
    );
    return { status, body: json };
  };
  const ctl = (...args: string[]) => runCtl(['--socket', api.socketPath, 'conntrack', ...args]);

  it('they are listed with what was asked for', async () => {
    expect(await ask('GET', '?protocol=TCP&address=10.0.0.0/8&port=80&translated=true&limit=5')).toEqual({
      ...{ status: 200, body: { connections: [found], truncated: false } },
    });
    expect(api.node.connections.asked).toEqual({
      ...{ protocol: 'TCP', address: '10.0.0.0/8', port: 80, translated: true, limit: 5 },
    });
  });

  it.each([
    'protocol=IGMP',
    'address=10.0.0.1/8',
    'port=0',
    'port=65536',
    'state=open',
    'translated=maybe',
    'limit=0',
    'limit=10001',
    'colour=red',
  ])('a bad query is refused: %s', async (query) => {
    expect(await ask('GET', `?${query}`)).toMatchObject({ status: 400 });
    expect(api.node.connections.asked).toEqual({});
  });

  it('nothing is forgotten without a filter, unless all is said', async () => {
    expect(await ask('DELETE', '')).toMatchObject({ status: 400 });
    expect(await ask('DELETE', '?all=true&port=80')).toMatchObject({ status: 400 });
    expect(api.node.connections.found).toHaveLength(1);
    expect(await ask('DELETE', '?port=80')).toEqual({ status: 200, body: { flushed: 1 } });
    expect(await ask('DELETE', '?all=true')).toEqual({ status: 200, body: { flushed: 0 } });
  });

  it('list shows them, flush forgets them', async () => {
    expect((await ctl('list', '--container', 'a', '--state', 'established')).out).toBe(
      'PROTOCOL  STATE        SECONDS  SOURCE               DESTINATION   TRANSLATED\n' +
        'TCP       established  21600    10.60.1.2:40000 (a)  [fd00::1]:80  source 198.18.0.1:61000\n',
    );
    expect(api.node.connections.asked).toMatchObject({ container_id: 'a', state: 'established' });
    expect((await ctl('flush')).exit).not.toBe(0);
    expect((await ctl('flush', '--address', 'fd00::/8')).out).toBe('1 connections forgotten\n');
    expect((await ctl('flush', '--all')).out).toBe('0 connections forgotten\n');
  });

  it('a list that is cut off says so', async () => {
    api.node.connections.found = [found, found];
    expect((await ctl('list', '--limit', '1')).err).toMatch(/--limit/);
  });
});
