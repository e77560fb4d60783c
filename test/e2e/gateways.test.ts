/** Where all leave by one uplink, the node's routes and policies say over whom, packet by packet. */
import { beforeEach, describe, expect, it } from 'vitest';
import { type Container, FAMILIES, type Family } from '../support/containers.js';
import type { Outside } from '../support/outside.js';
import { useSite } from '../support/site.js';
import { Stream } from '../support/stream.js';

const site = useSite({ settings: { uplink: 'auto' } });

/** An address of the host outside that the node has no closer route to than its default routes. */
const FAR = { 4: '198.19.50.1', 6: 'fd00:250::1' } as const;
const BITS = { 4: 32, 6: 128 } as const;
/** A neighbour that has the MAC of nobody: what is sent over it is lost. */
const NOBODY = { 4: '198.18.0.99', 6: 'fd00:198::99' } as const;
const NO_MAC = '02:00:00:00:00:99';

let outside: Outside;
let a: Container;

beforeEach(async () => {
  outside = await site().outside({ isUplink: true });
  const uplink = async () => (await site().rest.expect<{ uplink?: object }>('GET', '/readyz')).uplink;
  await expect.poll(uplink).toMatchObject({ ip_address: outside.nodeAddress(4) });
  await site().network('blue', { isolation_mode: 'none', options: { masquerade: true } });
  a = await site().container('a', 'blue');
  for (const family of FAMILIES) {
    await outside.output('ip', 'address', 'add', `${FAR[family]}/${BITS[family]}`, 'dev', 'lo', 'nodad');
    const nobody = [NOBODY[family], 'lladdr', NO_MAC, 'dev', 'uplink', 'nud', 'permanent'];
    await site().host.output('ip', `-${family}`, 'neigh', 'add', ...nobody);
  }
});

const route = (family: Family, ...words: string[]) =>
  site().host.output('ip', `-${family}`, 'route', ...words);

describe.each(FAMILIES)('IPv%i:', (family) => {
  const far = `${FAR[family]}/${BITS[family]}`;
  const open = () => Stream.open(a.netns, FAR[family], 80);
  const echoes = (stream: Stream) => expect.poll(() => stream.echoes(300), { timeout: 10_000 });

  it('an open connection takes the new way when its route changes, and the old one when that is back', async () => {
    using stream = await open();
    expect(await stream.echoes()).toBe(true);
    const nobody = [far, 'via', NOBODY[family], 'dev', 'uplink'];
    await route(family, 'add', ...nobody);
    await echoes(stream).toBe(false);
    await route(family, 'del', ...nobody);
    await echoes(stream).toBe(true);
  });

  it('so it does while there is no daemon', async () => {
    using stream = await open();
    expect(await stream.echoes()).toBe(true);
    await site().daemon.kill();
    const nobody = [far, 'via', NOBODY[family], 'dev', 'uplink'];
    await route(family, 'add', ...nobody);
    await echoes(stream).toBe(false);
    await route(family, 'del', ...nobody);
    await echoes(stream).toBe(true);
    await site().daemon.start();
    expect(await stream.echoes()).toBe(true);
  });

  it('a rule for a protocol holds for that one alone', async () => {
    using stream = await open();
    const rule = ['ipproto', 'udp', 'lookup', '100'];
    const dial = () => a.dial(FAR[family], { protocol: 'udp', expected: 'blocked' });
    await route(family, 'add', 'default', 'via', NOBODY[family], 'dev', 'uplink', 'table', '100');
    await site().host.output('ip', `-${family}`, 'rule', 'add', ...rule);
    try {
      await expect.poll(dial).toBe('blocked');
      expect(await stream.echoes()).toBe(true);
    } finally {
      await site().host.output('ip', `-${family}`, 'rule', 'del', ...rule);
    }
  });

  it('rules for what leaves by the interface hold, whatever the main table says', async () => {
    const rule = ['oif', 'uplink', 'lookup', '100'];
    await route(family, 'add', 'default', 'via', outside.address(family), 'dev', 'uplink', 'table', '100');
    await route(family, 'add', far, 'via', NOBODY[family], 'dev', 'uplink');
    const dial = () => a.dial(FAR[family], { family });
    expect(await a.dial(FAR[family], { family, expected: 'blocked' })).toBe('blocked');
    await site().host.output('ip', `-${family}`, 'rule', 'add', ...rule);
    try {
      expect(await dial()).toBe('open');
    } finally {
      await site().host.output('ip', `-${family}`, 'rule', 'del', ...rule);
    }
  });

  it('what a policy of IPsec keeps in the node does not leave it', async () => {
    const policy = ['dir', 'out', 'dst', far];
    await site().host.output('ip', 'xfrm', 'policy', 'add', ...policy, 'action', 'block');
    try {
      expect(await a.dial(FAR[family], { family, expected: 'blocked' })).toBe('blocked');
    } finally {
      await site().host.output('ip', 'xfrm', 'policy', 'del', ...policy);
    }
    expect(await a.dial(FAR[family], { family })).toBe('open');
  });
});

it('a router of IPv6 that answers no longer is left for one that does', async () => {
  await site().host.output('ip', '-6', 'neigh', 'del', NOBODY[6], 'dev', 'uplink');
  await route(6, 'add', 'default', 'via', NOBODY[6], 'dev', 'uplink', 'metric', '1');
  await expect.poll(() => a.dial(FAR[6], { family: 6 }), { timeout: 25_000 }).toBe('open');
});
