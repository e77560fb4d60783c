/** A service stands for the containers that its selector picks, for everybody whom their policies let in. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { Service } from '../../src/model/service.js';
import { type Container, FAMILIES, type Family, type Host } from '../support/containers.js';
import type { Outside } from '../support/outside.js';
import { useSite } from '../support/site.js';
import { Stream } from '../support/stream.js';

const site = useSite({ settings: { uplink: 'auto', events_burst: 10_000, events_per_second: 10_000 } });

const NODE_PORT = 30080;
const NODE_PORT_UDP = 30053;
const TRIES = 24;

let outside: Outside;
let client: Container;
let backends: Container[];

beforeEach(async () => {
  outside = await site().outside({ isUplink: true });
  const uplink = async () => (await site().rest.expect<{ uplink?: object }>('GET', '/readyz')).uplink;
  await expect.poll(uplink).toMatchObject({ interface: 'uplink', ip6_address: outside.nodeAddress(6) });
  await site().network('blue', { isolation_mode: 'none', options: { masquerade: true } });
  await site().network('green', { isolation_mode: 'none', options: { masquerade: true } });
  client = await site().container('client', 'green');
  backends = [];
  for (const id of ['w1', 'w2', 'w3']) {
    backends.push(await site().container(id, 'blue', { labels: { app: 'web' } }));
  }
});

const apply = (more: object = {}) =>
  site().rest.expect<Service>('POST', '/services', {
    name: 'web',
    selector: { matchLabels: { app: 'web' } },
    ports: [
      { port: 8000, target_port: 80, node_port: NODE_PORT },
      { port: 5300, target_port: 53, protocol: 'UDP', node_port: NODE_PORT_UDP },
    ],
    ...more,
  });
const addressOf = (service: Service, family: Family) =>
  (family === 4 ? service.ip_address : service.ip6_address) ?? '';

/** Which containers have answered new connections, and how often. */
async function served(
  from: Host,
  address: string,
  port: number,
  times = TRIES,
): Promise<Record<string, number>> {
  const countOf = async (container: Container) =>
    site()
      .packets({ container, direction: 'egress', reason: 'NONE' })
      .then((packets) => [container.id, packets]);
  const before = Object.fromEntries(await Promise.all(backends.map(countOf)));
  for (let round = 0; round < times; round++) expect(await from.dial(address, { port })).toBe('open');
  const after = Object.fromEntries(await Promise.all(backends.map(countOf)));
  return Object.fromEntries(
    Object.entries(after)
      .map(([id, packets]): [string, number] => [id, Number(packets) - Number(before[id])])
      .filter(([, packets]) => packets > 0),
  );
}

describe.each(FAMILIES)('IPv%i:', (family) => {
  it('containers of any network, and clients outside by the node port, are spread over its containers', async () => {
    const service = await apply();
    const address = addressOf(service, family);
    expect(Object.keys(await served(client, address, 8000))).toHaveLength(3);
    expect(Object.keys(await served(outside, outside.nodeAddress(family), NODE_PORT))).toHaveLength(3);
    expect(await client.dial(address, { port: 5300, protocol: 'udp' })).toBe('open');
    const udp = { port: NODE_PORT_UDP, protocol: 'udp' } as const;
    expect(await outside.dial(outside.nodeAddress(family), udp)).toBe('open');
  });

  it('a container reaches itself through its own service', async () => {
    const service = await apply({ selector: { matchLabels: { app: 'self' } } });
    const self = await site().container('self', 'blue', { labels: { app: 'self' } });
    expect(await self.dial(addressOf(service, family), { port: 8000 })).toBe('open');
  });

  it('a client keeps its container while the service wants that', async () => {
    const service = await apply({ session_affinity: 'client_ip' });
    expect(Object.keys(await served(client, addressOf(service, family), 8000))).toHaveLength(1);
    expect(Object.keys(await served(outside, outside.nodeAddress(family), NODE_PORT))).toHaveLength(1);
  });

  it('without a container clients are refused at once, also at a port that it does not have', async () => {
    const service = await apply({ selector: { matchLabels: { app: 'none' } } });
    const address = addressOf(service, family);
    expect(await client.dial(address, { port: 8000 })).toBe('refused');
    expect(await client.dial(address, { port: 5300, protocol: 'udp' })).toBe('refused');
    expect(await client.dial(address, { port: 8001 })).toBe('refused');
    expect(await outside.dial(outside.nodeAddress(family), { port: NODE_PORT })).toBe('refused');
  });

  it('the policy of a container judges the client, not the service', async () => {
    const service = await apply();
    const from = [{ podSelector: { matchLabels: { app: 'friend' } } }];
    await site().rest.apply({
      ...{ name: 'friends', spec: { podSelector: { matchLabels: { app: 'web' } }, ingress: [{ from }] } },
    });
    const address = addressOf(service, family);
    expect(await client.dial(address, { port: 8000, expected: 'blocked' })).toBe('blocked');
    const friend = await site().container('friend', 'green', { labels: { app: 'friend' } });
    expect(await friend.dial(address, { port: 8000 })).toBe('open');
  });

  it('what would become of a packet to it is explained by the container that it would reach', async () => {
    const service = await apply();
    const from = [{ podSelector: { matchLabels: { app: 'friend' } } }];
    const explain = (to: string, port: number) =>
      site().rest.expect('POST', '/explain', { from: 'client', to, port });
    const allowed = { verdict: 'allowed', agreed: true };
    expect(await explain(addressOf(service, family), 8000)).toMatchObject(allowed);
    expect(await explain(outside.nodeAddress(family), NODE_PORT)).toMatchObject(allowed);
    expect(await explain(outside.nodeAddress(family), 9)).toMatchObject(allowed);
    await site().rest.apply({
      ...{ name: 'friends', spec: { podSelector: { matchLabels: { app: 'web' } }, ingress: [{ from }] } },
    });
    const denied = { verdict: 'dropped', reason: 'POLICY_INGRESS', agreed: true };
    expect(await explain(addressOf(service, family), 8000)).toMatchObject(denied);
    expect(await explain(outside.nodeAddress(family), NODE_PORT)).toMatchObject(denied);
    expect(await explain(addressOf(service, family), 8001)).toMatchObject({ reason: 'NO_SERVICE' });
  });

  it('whoever is connected to a container that goes learns it with the next word', async () => {
    const one = await site().container('one', 'blue', { labels: { app: 'one' } });
    const service = await apply({ selector: { matchLabels: { app: 'one' } } });
    const node = outside.nodeAddress(family);
    const streams = await Promise.all([
      Stream.open(client.netns, addressOf(service, family), 8000),
      Stream.open(client.netns, node, NODE_PORT),
      client.stream(one, family),
      Stream.open(outside.netns, node, NODE_PORT),
    ]);
    try {
      for (const stream of streams) expect(await stream.echoes()).toBe(true);
      await one.disconnect();
      expect(await Promise.all(streams.map((stream) => stream.isReset()))).toEqual(streams.map(() => true));
    } finally {
      for (const stream of streams) stream[Symbol.dispose]();
    }
  });

  it('datagrams leave a container that serves no longer, and connections do not', async () => {
    const service = await apply();
    const address = addressOf(service, family);
    const streams = await Promise.all(backends.map(() => Stream.open(client.netns, address, 8000)));
    try {
      const datagram = async (): Promise<string | undefined> => {
        const count = (container: Container) =>
          site().packets({ container, direction: 'egress', reason: 'NONE' });
        const before = await Promise.all(backends.map(count));
        expect(await client.dial(address, { port: 5300, protocol: 'udp', from: 40404 })).toBe('open');
        const after = await Promise.all(backends.map(count));
        return backends.find((_, at) => after[at] !== before[at])?.id;
      };
      const first = await datagram();
      expect(await datagram()).toBe(first);
      const left = backends.find(({ id }) => id === first);
      await left?.relabel({ labels: {} });
      await expect.poll(datagram, { timeout: 5000 }).not.toBe(first);
      for (const stream of streams) expect(await stream.echoes()).toBe(true);
    } finally {
      for (const stream of streams) stream[Symbol.dispose]();
    }
  });

  it('open connections stay with their container while others come and go, also over a restart', async () => {
    const service = await apply();
    const address = addressOf(service, family);
    const streams = await Promise.all([1, 2, 3, 4].map(() => Stream.open(client.netns, address, 8000)));
    try {
      const echo = async () => (await Promise.all(streams.map((stream) => stream.echoes()))).every(Boolean);
      expect(await echo()).toBe(true);
      await site().container('w4', 'blue', { labels: { app: 'web' } });
      expect(await echo()).toBe(true);
      await site().daemon.kill();
      expect(await echo()).toBe(true);
      expect(await client.dial(address, { port: 8000 })).toBe('open');
      await site().daemon.start();
      expect(await echo()).toBe(true);
      expect(await client.dial(address, { port: 8000 })).toBe('open');
    } finally {
      for (const stream of streams) stream[Symbol.dispose]();
    }
  });
});

it('follows containers that go, and that become somebody else', async () => {
  const service = await apply();
  const address = addressOf(service, 4);
  await backends[0]?.relabel({ labels: {} });
  await backends[1]?.disconnect();
  backends.splice(1, 1);
  expect(Object.keys(await served(client, address, 8000))).toEqual(['w3']);
  await backends[0]?.relabel({ labels: { app: 'web' } });
  expect(Object.keys(await served(client, address, 8000)).sort()).toEqual(['w1', 'w3']);
});

it('that is replaced or removed has what it had last', async () => {
  const service = await apply();
  const address = addressOf(service, 4);
  expect(await apply({ ports: [{ port: 8001, target_port: 80 }] })).toMatchObject({ ip_address: address });
  expect(await client.dial(address, { port: 8001 })).toBe('open');
  expect(await client.dial(address, { port: 8000 })).toBe('refused');
  expect(await outside.dial(outside.nodeAddress(4), { port: NODE_PORT })).toBe('refused');
  await site().rest.expect('DELETE', '/services/default/web');
  expect(await client.dial(address, { port: 8001 })).not.toBe('open');
});

describe('is refused, and nothing changes:', () => {
  const refused = async (path: string, body: object) => {
    const { status, json } = await site().rest.call('POST', path, body);
    return { status, ...(json as { error: { code: string; message: string } }).error };
  };
  const SERVICE = { name: 'web', selector: { matchLabels: { app: 'web' } }, ports: [{ port: 80 }] };

  it('a service without a selector, inside a network, or at an address of the node', async () => {
    expect(await refused('/services', { ...SERVICE, selector: undefined })).toMatchObject({ status: 400 });
    expect(await refused('/services', { ...SERVICE, ip_address: '10.60.1.200' })).toMatchObject({
      ...{ status: 409, code: 'SERVICE_ADDRESS_INVALID', message: expect.stringMatching(/network blue/) },
    });
    expect(await refused('/services', { ...SERVICE, ip_address: outside.nodeAddress(4) })).toMatchObject({
      ...{ status: 409, code: 'SERVICE_ADDRESS_INVALID' },
    });
    expect(await site().rest.expect('GET', '/services')).toEqual({ services: [] });
  });

  it('a network over the address of a service, and the end of one that a service names', async () => {
    await site().network('red');
    await apply({ ip_address: '10.97.0.1', network: 'red' });
    expect(await refused('/networks', { name: 'over', cidr: '10.97.0.0/24' })).toMatchObject({
      ...{ status: 409, code: 'CIDR_OVERLAP', message: expect.stringMatching(/service default\/web/) },
    });
    expect(await site().rest.call('DELETE', '/networks/red')).toMatchObject({ status: 409 });
  });
});
