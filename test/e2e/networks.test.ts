/** Networks, interfaces and addresses: several at once, each container as its networks say, no address given twice. */
import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../src/model/endpoint.js';
import { type Container, FAMILIES, unlike } from '../support/containers.js';
import { connectionsOf } from '../support/node-state.js';
import { errorOf } from '../support/rest.js';
import { useSite } from '../support/site.js';

const site = useSite();

const post = (network: string, body: object) =>
  site().rest.call('POST', `/networks/${network}/containers`, body);

describe('several networks', () => {
  it.each(FAMILIES)('containers of many networks at once reach their own alone, IPv%i', async (family) => {
    const names = ['n1', 'n2', 'n3', 'n4'];
    const pairs: [Container, Container][] = [];
    for (const name of names) {
      await site().network(name, { isolation_mode: 'peer' });
      pairs.push([await site().container(`${name}-a`, name), await site().container(`${name}-b`, name)]);
    }
    expect(await unlike('open', family, ...pairs)).toEqual([]);
    const crossing = pairs.flatMap(([from], index) =>
      pairs.filter((_, other) => other !== index).map(([, to]) => [from, to] as const),
    );
    expect(await unlike('blocked', family, ...crossing)).toEqual([]);
  });

  it('a network of one family gives addresses of that family', async () => {
    await site().network('four', { isolation_mode: 'peer', cidr6: undefined });
    await site().network('six', { isolation_mode: 'peer', cidr: undefined });
    const [a4, b4] = [await site().container('a4', 'four'), await site().container('b4', 'four')];
    const [a6, b6] = [await site().container('a6', 'six'), await site().container('b6', 'six')];
    expect(a4.endpoint.ip6_address).toBeUndefined();
    expect(a6.endpoint.ip_address).toBeUndefined();
    expect(await unlike('open', 4, [a4, b4])).toEqual([]);
    expect(await unlike('open', 6, [a6, b6])).toEqual([]);
    const inet6 = await a4.output('ip', '-6', '-o', 'addr', 'show', 'dev', 'eth0');
    expect(inet6).toBe('');
  });

  it('a container in two networks has an interface in each, and the default route of the first', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    await site().network('red', { isolation_mode: 'peer' });
    const both = await site().container('both', 'blue');
    const first = both.endpoint;
    const second = await both.connect('red', { interface_name: 'eth1' });
    const [blue, red] = [await site().container('blue', 'blue'), await site().container('red', 'red')];
    for (const family of FAMILIES) {
      expect(await unlike('open', family, [red, both], [both, red])).toEqual([]);
      expect(await unlike('blocked', family, [blue, red], [red, blue])).toEqual([]);
      const address = family === 4 ? first.ip_address : first.ip6_address;
      expect(await unlike('open', family, [blue, address ?? ''], [both, blue])).toEqual([]);
      const flag = family === 4 ? '-4' : '-6';
      const routes = await both.output('ip', flag, 'route', 'show', 'default');
      expect(routes.trim().split('\n')).toHaveLength(1);
      expect(routes).toContain('dev eth0');
    }
    expect(new Set([first.mac_address, second.mac_address, first.ip_address, second.ip_address]).size).toBe(
      4,
    );
    const { json } = await site().rest.call('GET', '/networks/red/containers');
    expect((json as { containers: unknown[] }).containers).toHaveLength(2);
    // One is taken off; the other stays.
    await site().rest.disconnect('blue', 'both');
    expect(both.netns.net.link('eth0')).toBeUndefined();
    expect(await unlike('open', 4, [both, red])).toEqual([]);
  });

  it('a container twice in one network is disconnected by interface or as a whole', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    const a = await site().container('a', 'blue');
    await a.connect('blue', { interface_name: 'eth1' });
    await site().rest.expect('DELETE', '/networks/blue/containers/a?interface_name=eth0');
    expect(a.netns.net.link('eth0')).toBeUndefined();
    expect(a.netns.net.link('eth1')).toBeDefined();
    await a.connect('blue', { interface_name: 'eth0' });
    await site().rest.disconnect('blue', 'a');
    expect(a.netns.net.rtnl.links().map(({ name }) => name)).toEqual(['lo']);
  });

  it('a patch of a container without an interface is one of all of its interfaces', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    const [a, b] = [await site().container('a', 'blue'), await site().container('b', 'blue')];
    const first = a.endpoint;
    await a.connect('blue', { interface_name: 'eth1' });
    await site().rest.apply({
      name: 'quarantine',
      spec: { podSelector: { matchLabels: { quarantine: 'yes' } }, policyTypes: ['Ingress'] },
    });
    await site().rest.patch('blue', 'a', { labels: { quarantine: 'yes' } });
    expect(await unlike('blocked', 4, [b, first.ip_address ?? ''], [b, a])).toEqual([]);
    const path = '/networks/blue/containers/a?interface_name=eth1';
    await site().rest.expect('PATCH', path, { labels: {} });
    const { containers } = await site().rest.expect<{ containers: Endpoint[] }>(
      'GET',
      '/networks/blue/containers',
    );
    const labelsOf = (name: string) =>
      containers.find(({ container_id, interface_name }) => container_id === 'a' && interface_name === name)
        ?.labels;
    expect([labelsOf('eth0'), labelsOf('eth1')]).toEqual([{ quarantine: 'yes' }, {}]);
  });

  it('a network can be made again under its old name and range', async () => {
    for (let round = 0; round < 3; round++) {
      await site().network('blue', { cidr: '10.60.9.0/24', cidr6: 'fd00:60:9::/64', isolation_mode: 'peer' });
      const [a, b] = [await site().container('a', 'blue'), await site().container('b', 'blue')];
      expect(await unlike('open', 4, [a, b])).toEqual([]);
      await a.disconnect();
      await b.disconnect();
      await site().rest.expect('DELETE', '/networks/blue');
    }
  });
});

describe('addresses', () => {
  it('are unique, however many containers are connected at the same time', async () => {
    await site().network('blue');
    await site().network('red');
    const containers = Array.from({ length: 30 }, (_, index) => site().bare(`c${index}`));
    const endpoints = await Promise.all(
      containers.map((container, index) => container.connect(index % 2 === 0 ? 'blue' : 'red')),
    );
    for (const field of ['ip_address', 'ip6_address', 'mac_address', 'id', 'host_interface'] as const) {
      expect(new Set(endpoints.map((endpoint) => endpoint[field])).size).toBe(containers.length);
    }
    for (const [index, endpoint] of endpoints.entries()) {
      const { stdout } =
        (await containers[index]?.netns.exec('ip', ['-o', 'addr', 'show', 'dev', 'eth0'])) ?? {};
      expect(stdout).toContain(`${endpoint.ip_address}/24`);
      expect(stdout).toContain(`${endpoint.ip6_address}/64`);
    }
  });

  it('are not given again at once', async () => {
    await site().network('blue');
    const seen = new Set<string | undefined>();
    for (let round = 0; round < 5; round++) {
      const a = site().bare('a');
      const { ip_address, ip6_address } = await a.connect('blue');
      expect(seen.has(ip_address) || seen.has(ip6_address)).toBe(false);
      seen.add(ip_address).add(ip6_address);
      await a.disconnect();
    }
  });

  it('can be asked for, with a MAC address', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    const a = await site().container('a', 'blue', {
      ip_address: '10.60.1.77',
      ip6_address: 'fd00:60:1::77',
      mac_address: '06:11:22:33:44:55',
    });
    expect(a.endpoint).toMatchObject({
      ip_address: '10.60.1.77',
      ip6_address: 'fd00:60:1::77',
      mac_address: '06:11:22:33:44:55',
    });
    expect(a.netns.net.link('eth0')?.mac).toBe('06:11:22:33:44:55');
    const b = await site().container('b', 'blue');
    expect(await unlike('open', 4, [a, b])).toEqual([]);
    expect(await unlike('open', 6, [b, a])).toEqual([]);
  });

  it('of a small range run out, and come back with a container that leaves', async () => {
    await site().network('blue', { cidr: '10.60.1.0/29', cidr6: undefined });
    const containers: Container[] = [];
    for (let number = 0; number < 5; number++) {
      const container = site().bare(`c${number}`);
      await container.connect('blue');
      containers.push(container);
    }
    const one = site().bare('one-more');
    const body = { container_id: 'one-more', netns_path: one.netns.path };
    const answer = await post('blue', body);
    expect([answer.status, errorOf(answer).code]).toEqual([409, 'POOL_EXHAUSTED']);
    const left = containers[2]?.address(4);
    await containers[2]?.disconnect();
    await one.connect('blue');
    expect(one.address(4)).toBe(left);
  });

  it('given to another container bring it nothing of the connections of the one before', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    const b = await site().container('b', 'blue');
    const a = await site().container('a', 'blue', { ip_address: '10.60.1.50' });
    using stream = await b.stream(a);
    expect(await stream.echoes()).toBe(true);
    await a.disconnect();
    const next = await site().container('next', 'blue', { ip_address: '10.60.1.50' });
    const capture = await next.capture();
    expect(await stream.echoes(500)).toBe(false);
    expect((await capture.stop()).filter(({ type }) => type === 0x0800)).toEqual([]);
    expect(await unlike('open', 4, [b, next], [next, b])).toEqual([]);
  });
});

describe('what is gone', () => {
  it('a container whose namespace has gone can be disconnected, and its address is free', async () => {
    await site().network('blue');
    const a = site().bare('a');
    await a.connect('blue', { ip_address: '10.60.1.9' });
    a[Symbol.dispose]();
    const b = site().bare('b');
    await site().rest.disconnect('blue', 'a');
    await b.connect('blue', { ip_address: '10.60.1.9' });
  });

  it('connections of a container that left are forgotten', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    const [a, b] = [await site().container('a', 'blue'), await site().container('b', 'blue')];
    expect(await unlike('open', 4, [a, b])).toEqual([]);
    const address = a.address(4);
    expect(connectionsOf(site().daemon, address)).not.toEqual([]);
    await a.disconnect();
    await expect
      .poll(() => connectionsOf(site().daemon, address), { timeout: 15_000, interval: 250 })
      .toEqual([]);
  });

  it('disconnecting twice says so', async () => {
    await site().network('blue');
    const a = site().bare('a');
    await a.connect('blue');
    await a.disconnect();
    const answer = await site().rest.call('DELETE', '/networks/blue/containers/a');
    expect([answer.status, errorOf(answer).code]).toEqual([404, 'CONTAINER_NOT_FOUND']);
  });
});
