/** CNI on a real node: what ADD makes, what CHECK sees, and chains with Debian's plugins. */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Backend } from '../../src/datapath/abi/generated.js';
import { BpfLink, BpfMap } from '../../src/native/bpf.js';
import type { Container } from '../support/containers.js';
import { useSite } from '../support/site.js';
import { Chain, ours, PluginError, type Result } from './chain.js';

const site = useSite();
const chain = (plugins: object[] = [], version?: string) =>
  new Chain(site().daemon, 'blue', [ours(site().daemon), ...(plugins as { type: string }[])], version);

/** A container on a network, added by the chain. */
async function added(of: Chain, id = 'c1'): Promise<{ container: Container; result: Result }> {
  await site().network('blue', { isolation_mode: 'peer' });
  const container = site().bare(id);
  return { container, result: await of.add(container) };
}

const endpoint = async () => {
  const { containers } = await site().rest.expect<{ containers: Record<string, string>[] }>(
    'GET',
    '/networks/blue/containers',
  );
  return containers[0] ?? {};
};

/** The answer of a call that must fail. */
async function refusal(call: Promise<unknown>): Promise<Record<string, unknown>> {
  try {
    await call;
  } catch (error) {
    if (error instanceof PluginError) return error.answer;
    throw error;
  }
  throw new Error('the call succeeded');
}

describe('§1 Network configuration', () => {
  it("the README's single configuration makes its network, and the container has all of it", async () => {
    const example = {
      driver: 'bridge',
      subnet: '172.17.0.0/16',
      gateway: '172.17.0.1',
      routes: [{ dst: '0.0.0.0/0' }],
      dns: { nameservers: ['8.8.8.8'] },
    };
    const only = new Chain(site().daemon, 'my-network', [ours(site().daemon, example)], '0.4.0');
    const container = site().bare('c1');
    const result = await only.add(container);
    expect(result).toMatchObject({
      cniVersion: '0.4.0',
      ips: [{ version: '4', address: '172.17.0.2/16', gateway: '172.17.0.1', interface: 1 }],
      routes: [{ dst: '0.0.0.0/0', gw: '172.17.0.1' }],
      dns: { nameservers: ['8.8.8.8'] },
    });
    expect(await container.output('ip', '-4', 'route')).toContain('default via 172.17.0.1 dev eth0');
    expect(await container.ping('172.17.0.1', { expected: 'blocked' })).toBe('blocked');
    await only.check(container, result);
    await only.del(container, result);
    expect(container.netns.net.rtnl.links().map(({ name }) => name)).toEqual(['lo']);
  });
});

describe('§2 CHECK on a node', () => {
  it.each(['0.4.0', '1.0.0', '1.1.0'])('has nothing to say right after ADD (%s)', async (version) => {
    const { container, result } = await added(chain([], version));
    await chain([], version).check(container, result);
  });

  it('lets a later plugin have taken a route away, and says so in its result', async () => {
    const { container, result } = await added(chain());
    await container.netns.exec('ip', ['-4', 'route', 'delete', 'default']);
    const { routes } = result as { routes: { dst: string }[] };
    await chain().check(container, { ...result, routes: routes.filter(({ dst }) => dst !== '0.0.0.0/0') });
  });

  const ip =
    (...args: string[]) =>
    async ({ netns }: Container) =>
      void (await netns.exec('ip', args));
  const host =
    (...args: string[]) =>
    async () =>
      void (await site().host.output('ip', ...args));
  const damages: [string, string, (container: Container) => Promise<void> | void][] = [
    ['the interface is gone', 'missing', ip('link', 'delete', 'eth0')],
    [
      'the interface has another name',
      'eth0',
      async ({ netns }) => {
        await netns.exec('ip', ['link', 'set', 'eth0', 'down']);
        await netns.exec('ip', ['link', 'set', 'eth0', 'name', 'eth9']);
      },
    ],
    ['the interface is down', 'eth0 is down', ip('link', 'set', 'eth0', 'down')],
    ['another MAC address', '02:00:00:00:00:99', ip('link', 'set', 'eth0', 'address', '02:00:00:00:00:99')],
    ['no IPv4 address', '10.60.', ip('-4', 'address', 'flush', 'dev', 'eth0')],
    ['no IPv6 address', 'fd00:60:', ip('-6', 'address', 'flush', 'dev', 'eth0', 'scope', 'global')],
    ['no default route', '0.0.0.0/0', ip('-4', 'route', 'delete', 'default')],
    [
      'the default route leads elsewhere',
      '0.0.0.0/0',
      ip('-4', 'route', 'replace', 'default', 'via', '10.60.1.99'),
    ],
    [
      'the host has no route',
      'no route',
      async () => {
        const { ip_address = '', host_interface = '' } = await endpoint();
        await host('route', 'delete', ip_address, 'dev', host_interface)();
      },
    ],
    [
      'the host side is down',
      'is down',
      async () => host('link', 'set', (await endpoint()).host_interface ?? '', 'down')(),
    ],
    [
      'an entry of a map is missing',
      'maps',
      () => {
        using map = BpfMap.fromPin(join(site().daemon.bpffs, 'maps/qn_addresses'));
        const [key] = [...map.keys()];
        expect(key && map.delete(key)).toBe(true);
      },
    ],
    [
      'a port of the node does not lead to it',
      'TCP port 8080 of the node (IPv4)',
      () => {
        using map = BpfMap.fromPin(join(site().daemon.bpffs, 'maps/qn_frontends'));
        const keys = [...map.keys()];
        expect(keys).toHaveLength(2);
        for (const key of keys) map.delete(key);
      },
    ],
    [
      'a port of the node leads elsewhere',
      'TCP port 8080 of the node (IPv6)',
      () => {
        using map = BpfMap.fromPin(join(site().daemon.bpffs, 'maps/qn_backends'));
        for (const key of map.keys()) {
          const backend = Backend.decode(map.get(key) as Uint8Array);
          if (backend.frontendId !== 0) map.set(key, Backend.encode({ ...backend, port: 22 }));
        }
      },
    ],
  ];
  async function published(): Promise<[Container, check: () => Promise<unknown>]> {
    const publishing = new Chain(site().daemon, 'blue', [
      ours(site().daemon, { capabilities: { portMappings: true } }),
    ]);
    await site().network('blue', { isolation_mode: 'peer' });
    const container = site().bare('c1');
    const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }];
    const result = await publishing.add(container, { portMappings });
    const check = () => publishing.check(container, result);
    await check();
    return [container, check];
  }
  const refused = (told: string) => ({ code: 130, details: expect.stringContaining(told) });

  it.each(damages)('reports that %s', async (_what, told, damage) => {
    const [container, check] = await published();
    await damage(container);
    expect(await refusal(check())).toMatchObject(refused(told));
  });

  it('reports that the programs are not attached, if it is asked before the daemon puts them back', async () => {
    const [, check] = await published();
    const links = join(site().daemon.bpffs, 'links');
    const { host_interface = '' } = await endpoint();
    const own = readdirSync(links).filter((name) => name.startsWith(host_interface));
    expect(own.length).toBeGreaterThan(0);
    const answer = async () => {
      for (const name of own) {
        using link = BpfLink.fromPin(join(links, name));
        link.detach();
      }
      return refusal(check()).catch(() => undefined);
    };
    await expect.poll(answer).toMatchObject(refused('not attached'));
  });
});

describe('§3 Deriving runtimeConfig', () => {
  it('capabilities reach the endpoint: ranges, ports and name servers', async () => {
    const capabilities = { ipRanges: true, portMappings: true, dns: true };
    const only = new Chain(site().daemon, 'blue', [ours(site().daemon, { capabilities })]);
    await site().network('blue');
    const container = site().bare('c1');
    const result = await only.add(container, {
      ipRanges: [[{ subnet: '10.60.1.0/24', rangeStart: '10.60.1.200', rangeEnd: '10.60.1.201' }]],
      portMappings: [{ HostPort: 8080, ContainerPort: 80, Protocol: 'tcp', HostIP: '' }],
      dns: { Servers: ['10.60.1.1'], Searches: ['a.test'] },
    });
    expect(result).toMatchObject({ dns: { nameservers: ['10.60.1.1'], search: ['a.test'] } });
    expect(await endpoint()).toMatchObject({
      ip_address: '10.60.1.200',
      ports: [{ container_port: 80, host_port: 8080, protocol: 'TCP' }],
    });
    const [second, third] = ['c2', 'c3'].map((id) => site().bare(id));
    const ranges = {
      ipRanges: [[{ subnet: '10.60.1.0/24', rangeStart: '10.60.1.200', rangeEnd: '10.60.1.201' }]],
    };
    await only.add(second as Container, ranges);
    expect(await refusal(only.add(third as Container, ranges))).toMatchObject({ code: 113 });
    for (const each of [container, second as Container]) await only.del(each);
  });

  it('bandwidth: limits are those of the endpoint, and CHECK misses a queue that is gone', async () => {
    const only = new Chain(site().daemon, 'blue', [
      ours(site().daemon, { capabilities: { bandwidth: true } }),
    ]);
    await site().network('blue');
    const container = site().bare('c1');
    const asked = {
      bandwidth: {
        ...{ ingressRate: 8_000_000, ingressBurst: 800_000 },
        // As CRI runtimes write it: of bursts nobody has said anything.
        ...{ egressRate: 4_000_000, egressBurst: 2_147_483_647 },
      },
    };
    const result = await only.add(container, asked);
    const { options, host_interface = '' } = await endpoint();
    expect(options).toEqual({
      bandwidth: { ingress_rate: 8_000_000, ingress_burst: 800_000, egress_rate: 4_000_000 },
    });
    await only.check(container, result, asked);
    for (const [where, name] of [
      [container.netns, 'eth0'],
      [site().daemon.netns, host_interface],
    ] as const) {
      const { rtnl } = where.net;
      const index = rtnl.link(name)?.index ?? 0;
      const queue = rtnl.queue(index);
      expect(rtnl.removeQueue(index)).toBe(true);
      expect(await refusal(only.check(container, result, asked))).toMatchObject({
        code: 130,
        details: expect.stringContaining(`the queue of ${name}`),
      });
      if (queue?.kind === 'fq') rtnl.setDepartureQueue(index, queue);
      else rtnl.setTokenBucket(index, { rate: 0, limit: 0, ...queue, burst: 100_000 });
    }
    await only.check(container, result, asked);
    await only.del(container, result, asked);
    expect(container.netns.net.rtnl.links().map(({ name }) => name)).toEqual(['lo']);
  });
});

describe('§3 Execution of Network Configurations: chains', () => {
  it.each(['0.3.1', '0.4.0', '1.0.0'])('tuning, portmap and loopback behind ours (%s)', async (version) => {
    const plugins = [
      { type: 'tuning', sysctl: { 'net.ipv4.conf.eth0.arp_ignore': '1' } },
      { type: 'portmap', capabilities: { portMappings: true }, snat: false },
      { type: 'loopback' },
    ];
    const runtimeConfig = { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] };
    await site().network('blue');
    const container = site().bare('c1');
    const result = await chain(plugins, version).add(container, runtimeConfig);
    expect(result).toMatchObject({ cniVersion: version, ips: [{ interface: 1 }, { interface: 1 }] });
    expect(await container.output('sysctl', '-n', 'net.ipv4.conf.eth0.arp_ignore')).toBe('1\n');
    // CHECK of Debian's portmap looks for the rules of one family in the tables of both, and fails always.
    const checked = plugins.filter(({ type }) => type !== 'portmap');
    if (version !== '0.3.1') await chain(checked, version).check(container, result, runtimeConfig);
    await chain(plugins, version).del(container, result, runtimeConfig);
    expect(container.netns.net.rtnl.links().map(({ name }) => name)).toEqual(['lo']);
  });

  it('a plugin in front: what it gave is passed on, and ours comes behind it', async () => {
    await site().network('blue');
    const container = site().bare('c1');
    const whole = new Chain(site().daemon, 'blue', [{ type: 'loopback' }, ours(site().daemon)]);
    const result = await whole.add(container);
    const { ip_address, host_interface } = await endpoint();
    expect(result.interfaces).toMatchObject([{ name: 'lo' }, { name: host_interface }, { name: 'eth0' }]);
    expect(result.ips).toContainEqual(expect.objectContaining({ address: `${ip_address}/24`, interface: 2 }));
    await whole.check(container, result);
    await whole.del(container, result);
  });

  it('bandwidth behind ours is set up and taken down', async () => {
    const plugins = [
      {
        type: 'bandwidth',
        ...{ ingressRate: 8_000_000, ingressBurst: 800_000, egressRate: 8_000_000, egressBurst: 800_000 },
      },
    ];
    const { container, result } = await added(chain(plugins));
    await chain(plugins).check(container, result);
    await chain(plugins).del(container, result);
  });

  it('a bridge in front that has made the interface is an error (112), and nothing of ours stays', async () => {
    await site().network('blue');
    const container = site().bare('c1');
    const ipam = {
      type: 'host-local',
      subnet: '10.61.0.0/24',
      dataDir: join(site().daemon.directory, 'leases'),
    };
    const bridge = { type: 'bridge', bridge: 'qtbr0', ipam };
    const whole = new Chain(site().daemon, 'blue', [bridge, ours(site().daemon)]);
    expect(await refusal(whole.add(container))).toMatchObject({ code: 112 });
    expect(await endpoint()).toEqual({});
    await whole.del(container);
    await site().host.output('ip', 'link', 'delete', 'qtbr0');
  });
});

describe('§2 DEL and GC on a node', () => {
  it('DEL succeeds when the namespace is gone, twice, and when the daemon has lost its state', async () => {
    const { container, result } = await added(chain());
    await site().host.output('ip', 'link', 'delete', (await endpoint()).host_interface ?? '');
    await chain().del(container, result);
    expect(await endpoint()).toEqual({});
    await chain().del(container, result);
    const { daemon } = site();
    await daemon.stop();
    rmSync(daemon.path('state'), { recursive: true });
    await daemon.start();
    await chain().del(container, result);
  });

  it.each(['/etc/passwd', '/proc/self/ns/uts', '/nonexistent', '/tmp'])(
    'ADD with a namespace path outside of any namespace file system is refused (4): %s',
    async (path) => {
      await site().network('blue');
      const container = site().bare('c1');
      const elsewhere = { id: container.id, netns: { path } } as unknown as Container;
      expect(await refusal(chain().add(elsewhere))).toMatchObject({ code: 4 });
      expect(await endpoint()).toEqual({});
    },
  );
});
