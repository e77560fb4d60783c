/** The connection table is told and flushed by what is asked for. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { ConnectionList } from '../../src/model/connection.js';
import { type Container, FAMILIES } from '../support/containers.js';
import type { Outside } from '../support/outside.js';
import { useSite } from '../support/site.js';
import { Stream } from '../support/stream.js';

const site = useSite({ settings: { uplink: 'auto' } });

const HOST_PORT = 8080;

let outside: Outside;
let a: Container;
let b: Container;

beforeEach(async () => {
  outside = await site().outside({ isUplink: true });
  const uplink = async () => (await site().rest.expect<{ uplink?: object }>('GET', '/readyz')).uplink;
  await expect.poll(uplink).toMatchObject({ interface: 'uplink', ip6_address: outside.nodeAddress(6) });
  await site().network('blue', { isolation_mode: 'none', options: { masquerade: true } });
  a = await site().container('a', 'blue', { ports: [{ container_port: 80, host_port: HOST_PORT }] });
  b = await site().container('b', 'blue');
});

const list = async (query: Record<string, string | number> = {}) => {
  const search = new URLSearchParams(
    Object.entries(query).map(([key, value]): [string, string] => [key, String(value)]),
  );
  return site().rest.expect<ConnectionList>('GET', `/nat/connections?${search}`);
};
const flush = (query: string) =>
  site().rest.expect<{ flushed: number }>('DELETE', `/nat/connections?${query}`);

describe.each(FAMILIES)('IPv%i:', (family) => {
  it('a masqueraded connection and one by a port of the node are told with both ends', async () => {
    using out = await a.stream(outside, family);
    using into = await Stream.open(outside.netns, outside.nodeAddress(family), HOST_PORT);
    expect([await out.echoes(), await into.echoes()]).toEqual([true, true]);
    const own = { container_id: 'a', network: 'blue', interface_name: 'eth0' };
    const world = { ip: outside.address(family) };
    const node = outside.nodeAddress(family);
    const { connections } = await list({ container_id: 'a', state: 'established' });
    expect(connections).toHaveLength(2);
    expect(connections).toContainEqual(
      expect.objectContaining({
        ...{ protocol: 'TCP', source: expect.objectContaining(own) },
        destination: { ...world, port: 80 },
        translated: { end: 'source', ip: node, port: expect.any(Number) },
      }),
    );
    expect(connections).toContainEqual(
      expect.objectContaining({
        ...{ protocol: 'TCP', source: expect.objectContaining(world) },
        destination: expect.objectContaining({ ...own, ip: a.address(family), port: 80 }),
        translated: { end: 'destination', ip: node, port: HOST_PORT },
      }),
    );
  });

  it('what is flushed ends, and the rest goes on', async () => {
    using first = await b.stream(a, family);
    using second = await b.stream(outside, family);
    expect([await first.echoes(), await second.echoes()]).toEqual([true, true]);
    const address = outside.address(family);
    expect((await flush(`address=${encodeURIComponent(address)}`)).flushed).toBe(1);
    expect((await list({ address })).connections).toEqual([]);
    expect(await second.echoes(300)).toBe(false);
    expect(await first.echoes()).toBe(true);
    expect(await b.dial(outside, { family })).toBe('open');
  });
});

it('the limit holds, and the answer says that there are more', async () => {
  for (let round = 0; round < 3; round++) expect(await b.dial(a, { protocol: 'udp' })).toBe('open');
  expect(await list({ protocol: 'UDP', limit: 2 })).toMatchObject({ truncated: true });
  expect((await list({ protocol: 'UDP', limit: 2 })).connections).toHaveLength(2);
  expect(await list({ protocol: 'UDP', limit: 3 })).toMatchObject({ truncated: false });
});
