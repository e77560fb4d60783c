/** Whoever is on the deny list gets nothing in by the uplink, at once and for as long as it is there. */
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { DenyList } from '../../src/model/deny-list.js';
import type { UplinkState } from '../../src/model/health.js';
import { type Container, FAMILIES, TCP_PORT, UDP_PORT, unlike } from '../support/containers.js';
import { runCtl } from '../support/ctl.js';
import type { Outside } from '../support/outside.js';
import { useSite } from '../support/site.js';

const PATH = '/firewall/deny-list';

describe.each([
  { xdp: 'auto', state: { xdp: 'none', xdp_message: 'uplink is a veth' } },
  { xdp: 'off', state: { xdp: 'none', xdp_message: 'the setting xdp is off' } },
  { xdp: 'native', state: { xdp: 'native' } },
])('xdp $xdp', ({ xdp, state }) => {
  const site = useSite({ settings: { uplink: 'auto', xdp } });
  let outside: Outside;
  let a: Container;
  const uplinkState = async () =>
    (await site().rest.expect<{ uplink?: UplinkState }>('GET', '/readyz')).uplink;
  const change = (method: string, ...cidrs: string[]) => site().rest.expect(method, PATH, { cidrs });

  beforeEach(async () => {
    await change('PUT');
    outside = await site().outside({ isUplink: true });
    await expect.poll(uplinkState).toMatchObject({ interface: 'uplink', ...state });
    await site().network('blue', { isolation_mode: 'none', options: { masquerade: true } });
    a = await site().container('a', 'blue');
    await site().host.serve(`tcp:${TCP_PORT}`, `udp:${UDP_PORT}`);
  });

  it.each(FAMILIES)(
    'IPv%i: it holds at once, for open connections too, and after a restart',
    async (family) => {
      const range = `${outside.address(family)}/${family === 4 ? 32 : 128}`;
      const other = family === 4 ? 6 : 4;
      using own = await site().host.stream(outside, family);
      using theirs = await a.stream(outside, family);
      expect(await theirs.transfer(1 << 20)).toBe(true);
      expect(await unlike('open', family, [outside, outside.nodeAddress(family)])).toEqual([]);

      expect(await change('POST', range)).toEqual({ added: 1, removed: 0, total: 1 });
      expect(await Promise.all([own.echoes(300), theirs.echoes(300)])).toEqual([false, false]);
      expect(await unlike('blocked', family, [outside, outside.nodeAddress(family)])).toEqual([]);
      expect(await unlike('open', other, [a, outside], [outside, outside.nodeAddress(other)])).toEqual([]);
      expect(await site().packets({ reason: 'DENIED_SOURCE' })).toBeGreaterThan(0);

      await site().daemon.kill();
      expect(await unlike('blocked', family, [outside, outside.nodeAddress(family)])).toEqual([]);
      await site().daemon.start();
      await expect.poll(uplinkState).toMatchObject(state);
      expect(await unlike('blocked', family, [outside, outside.nodeAddress(family)])).toEqual([]);
      expect((await site().rest.expect<DenyList>('GET', PATH)).cidrs).toEqual([range]);

      expect(await change('DELETE', range)).toEqual({ added: 0, removed: 1, total: 0 });
      expect(await unlike('open', family, [a, outside], [outside, outside.nodeAddress(family)])).toEqual([]);
    },
  );
});

describe('the list', () => {
  const site = useSite({ settings: { uplink: 'none' } });
  const change = (method: string, cidrs: readonly unknown[]) => site().rest.call(method, PATH, { cidrs });
  const page = (query = '') => site().rest.expect<DenyList>('GET', `${PATH}${query}`);
  beforeEach(() => site().rest.expect('PUT', PATH, { cidrs: [] }));

  it('takes 100,000 ranges, page by page, and no more', async () => {
    const many = Array.from(
      { length: 100_000 },
      (_, at) => `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}/32`,
    );
    expect((await change('PUT', many)).json).toEqual({ added: 100_000, removed: 0, total: 100_000 });
    const found: string[] = [];
    for (let next: string | undefined = ''; next !== undefined; ) {
      const answer: DenyList = await page(`?limit=10000${next && `&after=${encodeURIComponent(next)}`}`);
      expect(answer.total).toBe(100_000);
      found.push(...answer.cidrs);
      next = answer.next;
    }
    expect(found).toEqual(many.toSorted());
    expect(await change('POST', ['192.0.2.1'])).toMatchObject({ status: 503 });
    expect((await change('POST', [many[0]])).json).toEqual({ added: 0, removed: 0, total: 100_000 });
    expect((await change('PUT', many.slice(1))).json).toEqual({ added: 0, removed: 1, total: 99_999 });
    await site().daemon.kill();
    await site().daemon.start();
    expect((await page()).total).toBe(99_999);
    expect((await change('PUT', [])).json).toEqual({ added: 0, removed: 99_999, total: 0 });
  }, 120_000);

  it.each([
    '0.0.0.0/0',
    '::/0',
    '10.0.0.1/8',
    '10.0.0.0/33',
    '::ffff:10.0.0.1',
    'fe80::1%eth0',
    'somebody',
    '',
    7,
    null,
  ])('refuses %j, with its path, and changes nothing', async (cidr) => {
    await change('PUT', ['192.0.2.1']);
    const answer = await change('POST', ['198.51.100.0/24', cidr]);
    expect(answer).toMatchObject({ status: 400, json: { error: { details: [{ path: 'cidrs[1]' }] } } });
    expect(await page()).toEqual({ cidrs: ['192.0.2.1/32'], total: 1 });
  });

  it('is written by quantumctl too', async () => {
    const socket = join(site().daemon.directory, 'run/api.sock');
    const run = (...args: string[]) => runCtl(['--socket', socket, 'deny-list', ...args]);
    expect(await run('add', '192.0.2.0/24', '2001:DB8::1')).toMatchObject({
      out: '2 added, 0 removed, 2 on the list\n',
    });
    expect((await run('list')).out).toBe('CIDR\n192.0.2.0/24\n2001:db8::1/128\n');
    expect((await run('remove', '192.0.2.0/24')).out).toBe('0 added, 1 removed, 1 on the list\n');
    expect(await run('replace')).toMatchObject({ exit: 2 });
  });
});
