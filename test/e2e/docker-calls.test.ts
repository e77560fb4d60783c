/**
 * Calls of Docker's protocol that no Docker makes: in any order, several at once, again, for networks and endpoints that
 * are not there. Whatever comes, each is answered, the node stays in order, and in the end nothing is left.
 */
import { expect, it } from 'vitest';
import type { Container } from '../support/containers.js';
import { callDriver } from '../support/docker-driver.js';
import { whenOrderly } from '../support/order.js';
import { random } from '../support/random.js';
import { useSite } from '../support/site.js';

const site = useSite({ settings: { docker_socket: 'none' } });

const SEED = Math.floor(Math.random() * 2 ** 31);
const STEPS = 60;
const AT_ONCE = 4;
/** Steps between two looks at the node. */
const LOOK = 15;

const pick = random(SEED);
const any = <T>(of: readonly T[]): T => of[pick(of.length)] as T;

const idsOf = (letters: string) => [...letters].map((letter) => letter.repeat(64));
const NETWORKS = idsOf('abc');
const ENDPOINTS = idsOf('123');
/** Of the networks; the last one is none. */
const RANGES = ['10.60.1.0/24', '10.61.0.0/24', '10.61.0.128/25', '10.63.0.0/24'];

/** A call; resolves whether it is refused or not. Rejects when it is not answered. */
async function call(method: string, body: object): Promise<{ refused?: string }> {
  try {
    return (await callDriver(site().daemon, method, body)).json as object;
  } catch (error) {
    if (error instanceof Error && !('code' in error)) return { refused: error.message };
    throw error;
  }
}

const reference = () => ({ NetworkID: any(NETWORKS), EndpointID: any(ENDPOINTS) });

function someCall(
  boxes: readonly Container[],
  reserved: [pool: string, address: string][],
): Promise<unknown> {
  const paths = [
    ...boxes.map(({ netns }) => netns.path),
    '/nonexistent',
    '/proc/self/ns/net',
    '/proc/self/ns/uts',
  ];
  const calls: (() => Promise<unknown>)[] = [
    () => {
      const Pool = any(RANGES);
      const shares = pick(2) === 0;
      return call('NetworkDriver.CreateNetwork', {
        NetworkID: any(NETWORKS),
        Options: {
          'com.docker.network.generic': shares ? { 'quantum.network': 'blue' } : { 'quantum.name': 'own' },
        },
        IPv4Data: [{ AddressSpace: any(['quantum', 'LocalDefault']), Pool, Gateway: '' }],
      });
    },
    () => call('NetworkDriver.DeleteNetwork', { NetworkID: any(NETWORKS) }),
    () =>
      call('NetworkDriver.CreateEndpoint', {
        ...reference(),
        Interface: {
          Address: any(['', '10.60.1.9/24', '10.61.0.9/24', '10.60.1.1/24']),
          AddressIPv6: any(['', 'fd00:60:1::9/64']),
          MacAddress: any(['', '02:00:00:00:00:09', '01:00:00:00:00:09']),
        },
        Options: any([
          {},
          { 'com.docker.network.portmap': [{ Proto: 6, Port: 80, HostPort: 8080 }] },
          { 'quantum.labels': 'app=web' },
        ]),
      }),
    () => call('NetworkDriver.Join', { ...reference(), SandboxKey: any(paths) }),
    () => call('NetworkDriver.Leave', reference()),
    () => call('NetworkDriver.DeleteEndpoint', reference()),
    () => call('NetworkDriver.EndpointOperInfo', reference()),
    () => call('NetworkDriver.ProgramExternalConnectivity', reference()),
    () => call('NetworkDriver.RevokeExternalConnectivity', reference()),
    async () => {
      const PoolID = any(RANGES);
      const { Address } = (await call('IpamDriver.RequestAddress', {
        PoolID,
        Address: any(['', '10.60.1.9', '10.61.0.200', '::1']),
      })) as { Address?: string };
      if (Address !== undefined) reserved.push([PoolID, Address.split('/')[0] ?? '']);
    },
    () => call('IpamDriver.ReleaseAddress', { PoolID: any(RANGES), Address: '10.60.1.9' }),
    () => call('IpamDriver.RequestPool', { AddressSpace: 'quantum', Pool: any(RANGES) }),
    () => call('IpamDriver.ReleasePool', { PoolID: any(RANGES) }),
  ];
  return any(calls)();
}

it('calls in any order leave the node in order, and in the end as it was', { timeout: 180_000 }, async () => {
  await site().network('blue', { isolation_mode: 'peer' });
  const clean = await site().state();
  const boxes = ['one', 'two'].map((id) => site().bare(id));
  const reserved: [pool: string, address: string][] = [];
  const release = async () => {
    for (const [PoolID, Address] of reserved.splice(0)) {
      expect(await call('IpamDriver.ReleaseAddress', { PoolID, Address })).toEqual({});
    }
  };
  const order = () =>
    whenOrderly(
      site().daemon,
      boxes.map(({ netns }) => netns),
    );
  for (let step = 1; step <= STEPS; step++) {
    await Promise.all(Array.from({ length: AT_ONCE }, () => someCall(boxes, reserved)));
    if (step % LOOK > 0) continue;
    await release();
    expect(await order(), `seed ${SEED}, step ${step}`).toEqual([]);
  }

  for (const EndpointID of ENDPOINTS)
    expect(await call('NetworkDriver.DeleteEndpoint', { NetworkID: NETWORKS[0], EndpointID })).toEqual({});
  for (const NetworkID of NETWORKS)
    expect(await call('NetworkDriver.DeleteNetwork', { NetworkID })).toEqual({});
  expect(await order(), `seed ${SEED}`).toEqual([]);
  const { networks } = await site().rest.expect<{ networks: { name: string }[] }>('GET', '/networks');
  for (const { name } of networks.filter(({ name }) => name !== 'blue')) {
    // One that could not be removed when Docker asked, since a container was on it.
    await site().rest.expect('DELETE', `/networks/${name}`);
  }
  expect(await site().state(), `seed ${SEED}`).toEqual(clean);
});

it('calls with ten thousand options, or very long ones, are answered', async () => {
  await site().network('blue');
  const many = (name: (at: number) => string) =>
    Object.fromEntries(Array.from({ length: 10_000 }, (_, at) => [name(at), 'x']));
  const network = (options: object) => ({
    NetworkID: NETWORKS[0],
    Options: { 'com.docker.network.generic': options },
    IPv4Data: [{ AddressSpace: 'quantum', Pool: '10.61.0.0/24', Gateway: '' }],
  });
  for (const body of [
    network(many((at) => `quantum.x${at}`)),
    network({ 'quantum.labels': 'a=b;'.repeat(50_000) }),
    network({ 'quantum.peers': 'a,'.repeat(50_000) }),
    network({ 'quantum.name': 'x'.repeat(100_000) }),
  ]) {
    const { refused = '' } = await call('NetworkDriver.CreateNetwork', body);
    expect(refused).not.toBe('');
    expect(refused.length).toBeLessThan(1000);
  }
  await call('NetworkDriver.CreateNetwork', {
    NetworkID: NETWORKS[0],
    Options: { 'com.docker.network.generic': { 'quantum.network': 'blue' } },
    IPv4Data: [{ AddressSpace: 'quantum', Pool: '10.60.1.0/24', Gateway: '' }],
  });
  const endpoint = { NetworkID: NETWORKS[0], EndpointID: ENDPOINTS[0] };
  const ports = (count: number) => ({
    'com.docker.network.portmap': Array.from({ length: count }, (_, at) => ({
      Proto: 6,
      Port: at + 1,
      HostPort: at + 1,
    })),
  });
  for (const Options of [
    many((at) => `quantum.x${at}`),
    ports(10_000),
    { 'quantum.labels': 'a=b;'.repeat(50_000) },
  ]) {
    const { refused = '' } = await call('NetworkDriver.CreateEndpoint', { ...endpoint, Options });
    expect(refused).not.toBe('');
    expect(refused.length).toBeLessThan(1000);
  }
  expect(
    await call('NetworkDriver.CreateEndpoint', { ...endpoint, Options: many((at) => `com.example.x${at}`) }),
  ).toMatchObject({ Interface: {} });
  expect(await call('NetworkDriver.DeleteEndpoint', endpoint)).toEqual({});
});
