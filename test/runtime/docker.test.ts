/** Docker as a client: a real engine, its networks and containers, and what REST shows of them. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Endpoint } from '../../src/model/endpoint.js';
import type { Network } from '../../src/model/network.js';
import type { Verdict } from '../support/containers.js';
import { Dockerd, IMAGE } from '../support/dockerd.js';
import { useSite } from '../support/site.js';

const site = useSite();
let docker: Dockerd;
beforeAll(async () => {
  docker = await Dockerd.start(site().daemon);
}, 120_000);
afterEach(() => docker.clear(), 120_000);
afterAll(() => docker[Symbol.asyncDispose](), 60_000);

const SERVE = ['sockets', 'serve', 'tcp:80', 'udp:53'];
const IDLE = ['sleep', '3600'];

async function endpointsOf(network: string): Promise<Endpoint[]> {
  const path = `/networks/${network}/containers`;
  return (await site().rest.expect<{ containers: Endpoint[] }>('GET', path)).containers;
}

async function networkNames(): Promise<string[]> {
  const { networks } = await site().rest.expect<{ networks: Network[] }>('GET', '/networks');
  return networks.map(({ name }) => name);
}

/** What came of it when a program in the container dialled. */
function dial(container: string, address: string, protocol: 'tcp' | 'udp', wait = '5000'): Promise<Verdict> {
  const port = protocol === 'tcp' ? '80' : '53';
  return docker.ok('exec', container, 'sockets', 'dial', protocol, address, port, wait, '5');
}

describe('docker network create', { timeout: 120_000 }, () => {
  it('makes a network that REST shows, as the options say, and docker network rm removes it', async () => {
    await docker.network(
      'front',
      ...['--subnet', '10.61.0.0/24', '--gateway', '10.61.0.9', '--ipv6', '--subnet', 'fd00:61::/64'],
      ...['--opt', 'quantum.name=web', '--opt', 'quantum.isolation_mode=peer'],
      ...['--opt', 'quantum.labels=team=a;stage=prod', '--opt', 'com.docker.network.driver.mtu=1400'],
      ...['--opt', 'quantum.masquerade=false', '--opt', 'quantum.multicast=true'],
    );
    expect(await site().rest.expect('GET', '/networks/web')).toMatchObject({
      cidr: '10.61.0.0/24',
      gateway: '10.61.0.9',
      cidr6: 'fd00:61::/64',
      gateway6: 'fd00:61::1',
      isolation_mode: 'peer',
      labels: { team: 'a', stage: 'prod', 'quantum.network/made-by': 'docker' },
      options: { mtu: 1400, masquerade: false, multicast: true },
    });
    await docker.ok('network', 'rm', 'front');
    expect(await networkNames()).toEqual([]);
  });

  it('without a name for it calls it by the id', async () => {
    const id = await docker.network('front', '--subnet', '10.61.0.0/24');
    expect(await networkNames()).toEqual([`docker-${id.slice(0, 12)}`]);
  });

  it('with the addresses of Docker’s own IPAM makes a network of those', async () => {
    await docker.ok('network', 'create', '--driver', docker.driver, '--opt', 'quantum.name=web', 'front');
    await docker.container('one', ['--network', 'front'], ...IDLE);
    const [endpoint] = await endpointsOf('web');
    expect(
      await docker.ok('inspect', '--format', '{{.NetworkSettings.Networks.front.IPAddress}}', 'one'),
    ).toBe(endpoint?.ip_address);
  });

  it.each([
    ['no range', [], 'name one with --subnet'],
    [
      'an unknown option',
      ['--subnet', '10.61.0.0/24', '--opt', 'quantum.isolation=peer'],
      'quantum.isolation is',
    ],
    ['an unknown mode', ['--subnet', '10.61.0.0/24', '--opt', 'quantum.isolation_mode=no'], 'isolation_mode'],
    ['a bad label', ['--subnet', '10.61.0.0/24', '--opt', 'quantum.labels=-'], 'quantum.labels'],
    ['a name that is none', ['--subnet', '10.61.0.0/24', '--opt', 'quantum.name=../x'], 'name'],
    ['a gateway outside', ['--subnet', '10.61.0.0/24', '--gateway', '10.62.0.1'], 'gateway'],
    ['a part of a range', ['--subnet', '10.61.0.0/24', '--ip-range', '10.61.0.8/29'], '--ip-range'],
    ['addresses set apart', ['--subnet', '10.61.0.0/24', '--aux-address', 'x=10.61.0.7'], '10.61.0.0/24'],
    ['--internal', ['--subnet', '10.61.0.0/24', '--internal'], '--internal is not supported'],
    ['two ranges', ['--subnet', '10.61.0.0/24', '--subnet', '10.62.0.0/24'], 'at most one IPv4 subnet'],
    ['a network that is not there', ['--ipam-opt', 'quantum.network=nowhere'], 'there is no network nowhere'],
  ])('with %s is refused, and nothing is made', async (_, args, reason) => {
    const ours = ['--driver', docker.driver, '--ipam-driver', docker.driver];
    expect(await docker.refused('network', 'create', ...ours, ...args, 'front')).toContain(reason);
    expect(await networkNames()).toEqual([]);
  });

  it('over a range that is taken is refused', async () => {
    await site().network('blue');
    const ours = ['--driver', docker.driver, '--ipam-driver', docker.driver, '--subnet', '10.60.1.0/25'];
    expect(await docker.refused('network', 'create', ...ours, 'front')).toContain('overlaps 10.60.1.0/24');
  });
});

describe('a network that REST has made', { timeout: 120_000 }, () => {
  it('is shared: its containers are those of Docker and others, its addresses go to each once', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    await docker.existing('blue');
    const other = await site().container('other', 'blue');
    await docker.container('one', ['--network', 'blue'], ...SERVE);
    const [first, second] = await endpointsOf('blue');
    expect(first?.container_id).toBe('other');
    expect(new Set([first?.ip_address, second?.ip_address]).size).toBe(2);
    for (const family of [4, 6] as const) {
      const there = family === 4 ? second?.ip_address : second?.ip6_address;
      expect(await other.dial(there ?? '', { protocol: 'udp' })).toBe('open');
      expect(await dial('one', other.address(family), 'udp')).toBe('open');
      expect(await dial('one', other.address(family), 'tcp')).toBe('open');
    }
  });

  it('cannot be removed while Docker has containers on it, and outlives docker network rm', async () => {
    await site().network('blue');
    await docker.existing('blue');
    await docker.container('one', ['--network', 'blue'], ...IDLE);
    expect((await site().rest.call('DELETE', '/networks/blue')).status).toBe(409);
    await docker.ok('rm', '--force', 'one');
    await docker.ok('network', 'rm', 'blue');
    expect(await networkNames()).toEqual(['blue']);
  });

  it('has addresses of its own alone', async () => {
    await site().network('blue');
    const args = ['--driver', docker.driver, '--subnet', '10.60.1.0/24', '--opt', 'quantum.network=blue'];
    expect(await docker.refused('network', 'create', ...args, 'blue')).toContain(
      '--ipam-opt quantum.network',
    );
  });

  it('that is removed by REST is unknown to docker run, which says what to do', async () => {
    await site().network('blue');
    await docker.existing('blue');
    await site().rest.expect('DELETE', '/networks/blue');
    expect(await docker.refused('run', '--rm', '--network', 'blue', IMAGE, ...IDLE)).toContain(
      'there is no network',
    );
  });
});

describe('docker run', { timeout: 120_000 }, () => {
  it('makes an endpoint that REST shows with the container, its namespace, interface and labels', async () => {
    await site().network('blue');
    await docker.existing('blue');
    const id = await docker.container('one', ['--network', 'blue', '--label', 'app=web'], ...IDLE);
    // The name that Docker gives the interface is found a moment after the container runs.
    await expect
      .poll(() => endpointsOf('blue'), { timeout: 20_000 })
      .toMatchObject([{ interface_name: 'eth0' }]);
    const [endpoint] = await endpointsOf('blue');
    const format = '{{json .NetworkSettings}}';
    const settings = JSON.parse(await docker.ok('inspect', '--format', format, 'one'));
    expect(endpoint).toMatchObject({
      container_id: id,
      state: 'ready',
      namespace: 'default',
      labels: { app: 'web' },
      netns_path: settings.SandboxKey,
      ip_address: settings.Networks.blue.IPAddress,
      ip6_address: settings.Networks.blue.GlobalIPv6Address,
      mac_address: settings.Networks.blue.MacAddress,
      gateway: settings.Networks.blue.Gateway,
      gateway6: settings.Networks.blue.IPv6Gateway,
    });
    expect(await site().rest.expect('GET', `/networks/blue/containers/${id}`)).toEqual(endpoint);
  });

  it('takes labels and namespace from options first, then from the container, and none from its image', async () => {
    await site().network('blue');
    await docker.existing('blue');
    const driver = 'driver-opt=quantum.labels=app=api;tier=back';
    const labels = [
      '--label',
      'app=web',
      '--label',
      'stage=prod',
      '--label',
      'odd=a b',
      '--label',
      'com.docker.x=1',
    ];
    await docker.container('one', ['--network', `name=blue,${driver}`, ...labels], ...IDLE);
    await docker.container('two', ['--network', 'blue', '--label', 'quantum.namespace=shop'], ...IDLE);
    const option = 'driver-opt=quantum.namespace=ops';
    await docker.container(
      'three',
      ['--network', `name=blue,${option}`, '--label', 'quantum.namespace=x'],
      ...IDLE,
    );
    expect((await endpointsOf('blue')).map(({ namespace, labels }) => [namespace, labels])).toEqual([
      ['default', { app: 'api', tier: 'back', stage: 'prod' }],
      ['shop', {}],
      ['ops', {}],
    ]);
  });

  it('gives the address and MAC address that are asked for', async () => {
    await site().network('blue');
    await docker.existing('blue');
    const args = ['--ip', '10.60.1.77', '--ip6', 'fd00:60:1::77', '--mac-address', '02:00:00:00:00:77'];
    await docker.container('one', ['--network', 'blue', ...args], ...IDLE);
    expect(await endpointsOf('blue')).toMatchObject([
      { ip_address: '10.60.1.77', ip6_address: 'fd00:60:1::77', mac_address: '02:00:00:00:00:77' },
    ]);
  });

  it('with what cannot be is refused, and nothing of it stays', async () => {
    await site().network('blue');
    await docker.existing('blue');
    await docker.container('holder', ['--network', 'blue', '--ip', '10.60.1.2'], ...IDLE);
    const before = await site().state();
    const option = (text: string) => ['--network', `name=blue,driver-opt=${text}`];
    const rows: [reason: string, args: string[]][] = [
      ['10.60.1.2 is in use', ['--network', 'blue', '--ip', '10.60.1.2']],
      ['10.99.0.1', ['--network', 'blue', '--ip', '10.99.0.1']],
      ['name the port of the node', ['--network', 'blue', '--publish', '80']],
      ['quantum.lables is not known', option('quantum.lables=a=b')],
      ['quantum.labels', option('quantum.labels=-')],
      ['quantum.namespace', option('quantum.namespace=A!')],
    ];
    for (const [reason, args] of rows) {
      expect(await docker.refused('run', ...args, IMAGE, ...IDLE)).toContain(reason);
    }
    expect(await site().state()).toEqual(before);
  });

  it('with -p opens a port of the node for whom policies let in, and docker rm closes it', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    await docker.existing('blue');
    const other = await site().container('other', 'blue');
    await docker.container('one', ['--network', 'blue', '--publish', '8080:80'], ...SERVE);
    const mappings = () => site().rest.expect<{ port_mappings: object[] }>('GET', '/nat/port-mappings');
    expect(await mappings()).toMatchObject({
      port_mappings: [{ network: 'blue', host_port: 8080, container_port: 80, protocol: 'TCP' }],
    });
    expect(await other.dial(other.gateway(4), { port: 8080 })).toBe('open');
    await docker.ok('rm', '--force', 'one');
    expect(await mappings()).toEqual({ port_mappings: [] });
    expect(await other.dial(other.gateway(4), { port: 8080 })).not.toBe('open');
  });

  it('puts one container on several networks, each under the name of its interface', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    await site().network('green', { isolation_mode: 'peer' });
    for (const name of ['blue', 'green']) await docker.existing(name);
    const id = await docker.container('one', ['--network', 'blue'], ...IDLE);
    await docker.ok('network', 'connect', 'green', 'one');
    await expect
      .poll(() => endpointsOf('green'), { timeout: 20_000 })
      .toMatchObject([{ container_id: id, interface_name: 'eth1', state: 'ready' }]);
    for (const name of ['blue', 'green']) {
      const other = await site().container(`on-${name}`, name);
      expect(await dial('one', other.address(4), 'udp')).toBe('open');
    }
    await docker.ok('network', 'disconnect', 'blue', 'one');
    expect((await endpointsOf('blue')).map(({ container_id }) => container_id)).toEqual(['on-blue']);
  });

  it('leaves nothing behind when containers end, fail to start, or are started again', async () => {
    await site().network('blue');
    await docker.existing('blue');
    const before = await site().state();
    for (let round = 0; round < 3; round++) {
      await docker.ok('run', '--rm', '--network', 'blue', IMAGE, 'sleep', '0');
      expect((await docker.run('run', '--rm', '--network', 'blue', IMAGE, '/nothing')).code).not.toBe(0);
    }
    const id = await docker.container('one', ['--network', 'blue'], ...IDLE);
    await docker.ok('restart', '--time', '0', 'one');
    expect(await endpointsOf('blue')).toMatchObject([{ container_id: id, state: 'ready' }]);
    await docker.ok('rm', '--force', 'one');
    const after = await site().state();
    expect({ ...after, api: { ...after.api, identities: [] } }).toEqual({
      ...before,
      api: { ...before.api, identities: [] },
    });
  });
});
