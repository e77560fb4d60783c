/** A node with several ways out: its routes lead what containers send, and answers go the way that questions came. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { UplinkState } from '../../src/model/health.js';
import { type Container, FAMILIES, type Family, TCP_PORT, unlike } from '../support/containers.js';
import type { Outside } from '../support/outside.js';
import { addressBytes, ETHERTYPE, packet } from '../support/packet.js';
import { useSite } from '../support/site.js';
import { Stream } from '../support/stream.js';

const site = useSite({ settings: { uplink: 'uplink,second', xdp: 'native' } });

/** Somebody who is behind either way. */
const ANYONE = { 4: '198.19.50.1', 6: 'fd00:250::1' } as const;
const PORT = 8080;

let first: Outside;
let second: Outside;
let a: Container;
let b: Container;

const ways = async () =>
  (await site().rest.expect<{ uplinks?: UplinkState[] }>('GET', '/readyz')).uplinks?.map(
    ({ interface: name, ip_address, ip6_address, message }) =>
      message ?? [name, ip_address, ip6_address].join(' '),
  );
const wayOf = (name: string, outside: Outside) =>
  [name, outside.nodeAddress(4), outside.nodeAddress(6)].join(' ');

beforeEach(async () => {
  first = await site().outside({ isUplink: true });
  second = await site().outside({ link: 'second' });
  await expect.poll(ways).toEqual([wayOf('uplink', first), wayOf('second', second)]);
  await site().network('blue', { isolation_mode: 'none', options: { masquerade: true } });
  [a, b] = [await site().container('a', 'blue'), await site().container('b', 'blue')];
});

/** Whether what was sent to an end outside, while something was done, came from these addresses. */
async function sources(
  family: Family,
  at: Outside,
  addresses: readonly string[],
  doing: () => Promise<void>,
): Promise<boolean[]> {
  const capture = await at.capture();
  await doing();
  const start = family === 4 ? 26 : 22;
  const type = family === 4 ? ETHERTYPE.IPV4 : ETHERTYPE.IPV6;
  const heard = (await capture.stop()).filter((frame) => frame.type === type && !isDiscovery(frame.bytes));
  return addresses.map((address) => {
    const wanted = Buffer.from(addressBytes(address));
    return heard.some(({ bytes }) => bytes.subarray(start, start + wanted.length).equals(wanted));
  });
}

/** Neighbour discovery is the node's own. */
function isDiscovery(bytes: Buffer): boolean {
  return bytes[12] === 0x86 && bytes[20] === 58;
}

const own = (family: Family) => [first.nodeAddress(family), second.nodeAddress(family)];

/** They have that address from now on, and speak to the node under it. */
async function giveAnyone(family: Family, ...hosts: Outside[]): Promise<void> {
  const [address, bits] = [ANYONE[family], family === 4 ? 32 : 128];
  for (const host of hosts) {
    await host.output('ip', 'address', 'add', `${address}/${bits}`, 'dev', 'lo', 'nodad');
    // Nobody is told who has it, as if it were farther away: what is for it has to come by this host.
    await host.output('sysctl', '-qw', 'net.ipv4.conf.all.arp_ignore=1');
    const route = [`${host.nodeAddress(family)}/${bits}`, 'dev', 'eth0', 'src', address];
    await host.output('ip', `-${family}`, 'route', 'add', ...route);
  }
}

describe.each(FAMILIES)('IPv%i:', (family) => {
  it('who is behind either is reached by it, under its address, with TCP, UDP and echoes', async () => {
    for (const [outside, expected] of [
      [first, [true, false]],
      [second, [false, true]],
    ] as const) {
      const seen = await sources(family, outside, own(family), async () => {
        expect(await unlike('open', family, [a, outside], [b, outside])).toEqual([]);
      });
      expect(seen).toEqual(expected);
    }
  });

  it('a published port is reached by both, and answers go back the way that the client came', async () => {
    await site().rest.expect('POST', '/nat/port-mappings', {
      ...{ network: 'blue', container_id: 'a', host_port: PORT, container_port: 80 },
    });
    // The node's routes lead to whom it is the other way.
    await giveAnyone(family, second);
    second.lead(5000);
    expect(await second.dial(second.nodeAddress(family), { port: PORT })).toBe('open');
  });

  it('when the route changes, datagrams go the new way, and connections are reset and made anew', async () => {
    await giveAnyone(family, first, second);
    const to = ANYONE[family];
    using stream = await Stream.open(a.netns, to, 80);
    const ask = async () => {
      expect(await a.dial(to, { protocol: 'udp', from: 40404 })).toBe('open');
    };
    expect(await sources(family, first, own(family), ask)).toEqual([true, false]);
    expect(await stream.echoes()).toBe(true);

    first.leave();
    second.lead();
    expect(await sources(family, second, own(family), ask)).toEqual([false, true]);
    expect(await stream.isReset()).toBe(true);
    expect(await a.dial(to)).toBe('open');
    expect(await site().packets({ container: a, reason: 'ROUTE_CHANGED' })).toBeGreaterThan(0);
  });

  it('a connection by each goes on without a daemon and under the next', async () => {
    using one = await a.stream(first, family);
    using other = await a.stream(second, family);
    const both = () => Promise.all([one, other].map((stream) => stream.echoes()));
    await site().daemon.kill();
    expect(await both()).toEqual([true, true]);
    expect(await unlike('open', family, [b, first], [b, second])).toEqual([]);
    await site().daemon.start();
    expect(await both()).toEqual([true, true]);
    expect(await unlike('open', family, [b, first], [b, second])).toEqual([]);
  });

  it('where no route leads the sender is told at once', async () => {
    first.leave();
    expect(await a.dial(ANYONE[family])).toMatch(/^E(NET|HOST)UNREACH$/);
    expect(await site().packets({ container: a, reason: 'NO_ROUTE' })).toBeGreaterThan(0);
    expect(await unlike('open', family, [a, second])).toEqual([]);
  });

  it('a rule of the node sends a network its own way', async () => {
    await giveAnyone(family, first, second);
    const { netns } = site().host;
    const rule = [`-${family}`, 'rule'];
    const what = ['from', a.address(family), 'lookup', '77'];
    await netns.exec('ip', [
      ...[`-${family}`, 'route', 'add', 'default', 'via', second.address(family)],
      ...['dev', 'second', 'table', '77'],
    ]);
    await netns.exec('ip', [...rule, 'add', ...what]);
    try {
      const by = (from: Container) => async () => {
        expect(await from.dial(ANYONE[family])).toBe('open');
      };
      expect(await sources(family, second, own(family), by(a))).toEqual([false, true]);
      expect(await sources(family, first, own(family), by(b))).toEqual([true, false]);
    } finally {
      await netns.exec('ip', [...rule, 'del', ...what]);
    }
  });

  it('a way that is none of the uplinks is none for containers', async () => {
    await giveAnyone(family, first);
    await site().host.output('ip', 'link', 'add', 'other', 'type', 'bridge');
    try {
      await site().host.output('ip', 'link', 'set', 'other', 'up');
      await site().host.output('ip', `-${family}`, 'route', 'add', ANYONE[family], 'dev', 'other');
      expect(await a.dial(ANYONE[family], { expected: 'blocked' })).toBe('blocked');
      expect(await site().packets({ container: a, reason: 'NO_UPLINK' })).toBeGreaterThan(0);
    } finally {
      await site().host.output('ip', 'link', 'del', 'other');
    }
  });
});

it.each(FAMILIES)(
  'one that goes away takes its connections with it and no others, over IPv%i; one that comes back serves again',
  async (family) => {
    using published = await publish(second, family);
    await giveAnyone(family, first, second);
    const to = ANYONE[family];
    using stays = await a.stream(first, family);
    using goes = await Stream.open(b.netns, to, 80);
    const ask = async () => {
      expect(await a.dial(to, { protocol: 'udp', from: 40404 })).toBe('open');
    };
    expect(await sources(family, first, own(family), ask)).toEqual([true, false]);
    first.leave();
    second.lead();
    using other = await Stream.open(a.netns, to, 80);
    second[Symbol.dispose]();
    first.lead();
    await expect.poll(ways).toEqual([wayOf('uplink', first), 'there is no interface second']);
    expect(await sources(family, first, own(family), ask)).toEqual([true, false]);
    expect(await Promise.all([stays, goes].map((stream) => stream.echoes()))).toEqual([true, true]);
    expect(await other.isReset()).toBe(true);
    expect(await published.echoes(300)).toBe(false);
    expect(await b.dial(to)).toBe('open');
    expect(site().host.netns.net.link('qnrouter')).toBeUndefined();

    second = await site().outside({ link: 'second' });
    await expect.poll(ways).toEqual([wayOf('uplink', first), wayOf('second', second)]);
    expect(await Promise.all([first, second].map((at) => a.dial(at, { family })))).toEqual(['open', 'open']);
    expect(await stays.echoes()).toBe(true);
  },
);

/** A connection from outside to a port of the node that leads to the first container. */
async function publish(from: Outside, family: Family): Promise<Stream> {
  await site().rest.expect('POST', '/nat/port-mappings', {
    ...{ network: 'blue', container_id: 'a', host_port: PORT, container_port: 80 },
  });
  return Stream.open(from.netns, from.nodeAddress(family), PORT);
}

it.each(FAMILIES)(
  'of a card in several subnets the address is the one that is near, over IPv%i',
  async (family) => {
    // Nobody there sends anything on.
    const near = { 4: ['198.18.50.1/24', '198.18.50.2/24'], 6: ['fd00:251::1/64', 'fd00:251::2/64'] }[family];
    await site().host.output('ip', 'address', 'add', near[0] ?? '', 'dev', 'second', 'nodad');
    await second.output('ip', 'address', 'add', near[1] ?? '', 'dev', 'eth0', 'nodad');
    const [mine, theirs] = near.map((text) => text.split('/')[0] ?? '');
    const ask = async () => {
      await expect.poll(() => a.dial(theirs ?? '')).toBe('open');
    };
    const seen = () => sources(family, second, [mine ?? '', ...own(family)], ask);
    await expect.poll(seen, { timeout: 10_000 }).toEqual([true, false, false]);
    expect(await unlike('open', family, [a, first], [a, second])).toEqual([]);
  },
);

it('a router that has advertised itself to the node stays its router', async () => {
  const router = await linkLocal(second);
  await second.sendFrames([advertisement(second, router)]);
  const routers = () =>
    site().host.output('ip', '-6', 'route', 'show', 'default', 'proto', 'ra', 'dev', 'second');
  const conf = (name: string, setting: string) =>
    site().host.output('sysctl', '-n', `net.ipv6.conf.${name}.${setting}`);
  await expect.poll(routers).toContain(`via ${router}`);
  const device = () => site().host.netns.net.link('qnrouter');
  const { index } = device() ?? {};
  await site().host.output('ip', 'link', 'del', 'qnrouter');
  await expect.poll(() => device()?.index).toSatisfy((now) => now !== undefined && now !== index);
  await expect.poll(() => conf('qnrouter', 'forwarding')).toBe('1\n');
  expect(await routers()).toContain(`via ${router}`);
  expect(await conf('second', 'accept_ra')).toBe('1\n');
  expect(await unlike('open', 6, [a, second])).toEqual([]);
});

async function linkLocal(host: Outside): Promise<string> {
  const address = async () =>
    / inet6 (fe80::\S+)\//.exec(
      await host.output('ip', '-6', 'address', 'show', 'dev', 'eth0', '-tentative'),
    );
  await expect.poll(address).not.toBeNull();
  return (await address())?.[1] ?? '';
}

/** RFC 4861 §4.2: for half an hour. */
function advertisement(from: Outside, router: string): Uint8Array {
  const mac = from.netns.net.link('eth0')?.mac ?? '';
  return packet()
    .ethernet({ source: mac, destination: '33:33:00:00:00:01' })
    .ipv6({ source: router, destination: 'ff02::1', hopLimit: 255 })
    .icmpv6({ type: 134, id: 64 << 8, sequence: 1800, body: new Uint8Array(8) })
    .bytes();
}

it('an address that is about to go is none for new connections, and no other interface gives one instead', async () => {
  const [mine, lifetime] = [`${second.nodeAddress(6)}/64`, ['preferred_lft', '0', 'valid_lft', 'forever']];
  await site().host.output('ip', 'address', 'change', mine, 'dev', 'second', ...lifetime);
  const ask = async () => {
    expect(await unlike('open', 6, [a, second])).toEqual([]);
  };
  expect(await sources(6, second, own(6), ask)).toEqual([false, true]);
});

it.each(FAMILIES)(
  'who is sent into a black hole is answered by no published port, over IPv%i',
  async (family) => {
    using stream = await publish(second, family);
    expect(await stream.echoes()).toBe(true);
    const hole = [`-${family}`, 'route', 'add', 'blackhole', second.address(family)];
    await site().host.output('ip', ...hole);
    try {
      expect(await stream.echoes(300)).toBe(false);
      expect(await second.dial(second.nodeAddress(family), { port: PORT, expected: 'blocked' })).toBe(
        'blocked',
      );
      expect(await a.dial(second, { family, expected: 'blocked' })).toBe('blocked');
    } finally {
      await site().host.output('ip', ...hole.map((part) => (part === 'add' ? 'del' : part)));
    }
    expect(await stream.echoes()).toBe(true);
  },
);

it.each(FAMILIES)(
  'rules for all containers leave the answers to those who are near, over IPv%i',
  async (family) => {
    await site().host.output(
      'ip',
      `-${family}`,
      'route',
      'add',
      'default',
      'via',
      first.address(family),
      'table',
      '100',
    );
    const rule = ['iif', 'qnrouter', 'lookup', '100'];
    await site().host.output('ip', `-${family}`, 'rule', 'add', ...rule);
    try {
      using stream = await publish(second, family);
      expect(await stream.echoes()).toBe(true);
      expect(await unlike('open', family, [a, first])).toEqual([]);
      expect(await a.dial(second, { family, expected: 'blocked' })).not.toBe('open');
    } finally {
      await site().host.output('ip', `-${family}`, 'rule', 'del', ...rule);
    }
  },
);

it('who is on the deny list comes in by none, nor by one that has just come', async () => {
  second[Symbol.dispose]();
  await expect.poll(ways).toEqual([wayOf('uplink', first), 'there is no interface second']);
  const ranges = [`${first.address(4)}/32`, '198.18.100.2/32'];
  await site().rest.expect('POST', '/firewall/deny-list', { cidrs: ranges });
  try {
    second = await site().outside({ link: 'second' });
    await expect.poll(ways).toEqual([wayOf('uplink', first), wayOf('second', second)]);
    await site().host.serve(`tcp:${TCP_PORT}`);
    for (const outside of [first, second]) {
      expect(await outside.dial(outside.nodeAddress(4), { expected: 'blocked' })).toBe('blocked');
      expect(await outside.dial(outside.nodeAddress(6))).toBe('open');
    }
  } finally {
    await site().rest.expect('DELETE', '/firewall/deny-list', { cidrs: ranges });
  }
});

it.each(FAMILIES)('a default route by both spreads connections over them, over IPv%i', async (family) => {
  await giveAnyone(family, first, second);
  first.leave();
  const { netns } = site().host;
  await netns.exec('sysctl', ['-qw', `net.ipv${family}.fib_multipath_hash_policy=1`]);
  const hops = [first, second].flatMap((outside, at) => [
    ...['nexthop', 'via', outside.address(family), 'dev', ['uplink', 'second'][at] ?? ''],
  ]);
  await netns.exec('ip', [`-${family}`, 'route', 'add', 'default', ...hops]);
  const heard = { first: [false, false], second: [false, false] };
  heard.first = await sources(family, first, own(family), async () => {
    heard.second = await sources(family, second, own(family), async () => {
      for (let port = 41000; port < 41032; port++)
        expect(await a.dial(ANYONE[family], { protocol: 'udp', from: port })).toBe('open');
    });
  });
  expect(heard).toEqual({ first: [true, false], second: [false, true] });
  await netns.exec('ip', [`-${family}`, 'route', 'del', 'default']);
});

it("a network's own address is kept whatever the way", async () => {
  const address = '198.19.7.7';
  await giveAnyone(4, first, second);
  for (const outside of [first, second])
    outside.netns.net.rtnl.addRoute({
      destination: `${address}/32`,
      via: outside.nodeAddress(4),
      source: ANYONE[4],
    });
  const options = { masquerade: true, source_address: address };
  await site().network('green', { isolation_mode: 'none', options });
  const c = await site().container('c', 'green');
  const ask = async () => {
    expect(await c.dial(ANYONE[4], { protocol: 'udp', from: 40404 })).toBe('open');
  };
  expect(await sources(4, first, [address], ask)).toEqual([true]);
  first.leave();
  second.lead();
  expect(await sources(4, second, [address], ask)).toEqual([true]);
  expect(await site().packets({ container: c, reason: 'ROUTE_CHANGED' })).toBe(0);
});
