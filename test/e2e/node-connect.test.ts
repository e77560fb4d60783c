/** The node's own processes reach port mappings and services, and nobody else's sockets are touched. */
import { readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BpfLink } from '../../src/native/bpf.js';
import { type Container, FAMILIES, type Family, Host, TCP_PORT } from '../support/containers.js';
import { Daemon } from '../support/daemon.js';
import { NodeFrontends } from '../support/node-frontends.js';
import { useSite } from '../support/site.js';
import { Stream } from '../support/stream.js';
import { trafficProgram } from '../support/traffic.js';

const PORT = 8080;
const SERVED = 7;
const WAYS = ['tcp', 'udp', 'datagram'] as const;
type Way = (typeof WAYS)[number];
/** Every address of the node, of the family. */
const ANY = { 4: '0.0.0.0', 6: '::' } as const;
const LOOPBACK = { 4: '127.0.0.1', 6: '::1' } as const;
const PATIENCE_MS = { blocked: 300, other: 5000 };

const site = useSite({ settings: { uplink: 'auto' } });
let frontends: NodeFrontends;
let a: Container;

/** What a program there sees, for each time that it asks. */
async function ask(
  from: Host,
  way: Way,
  address: string,
  { port = PORT, times = 1, expected = '' } = {},
): Promise<string[]> {
  const patience = String(expected === 'blocked' ? PATIENCE_MS.blocked : PATIENCE_MS.other);
  const output = await from.output(
    trafficProgram('names'),
    ...['ask', way, address, String(port), patience, String(times)],
  );
  return output.trim().split('\n');
}

/** The same by each way. */
async function asked(from: Host, address: string, options?: { port?: number; expected?: string }) {
  return Promise.all(WAYS.map(async (way) => (await ask(from, way, address, options))[0]));
}

/** A socket that is not connected hears nothing of a port where nobody listens. */
const NOBODY = ['refused', 'refused', 'blocked'];
const all = (text: string) => WAYS.map(() => text);
const from = (name: string, address: string, port = PORT) => all(`${name} from ${address} ${port}`);
const serveName = (host: Host, name: string, port = SERVED) =>
  host.start('names', 'serve', name, String(port)).ready();
const backend = (container: Container, family: Family) => ({
  address: container.address(family),
  port: SERVED,
});

/** A container that answers with its name. */
async function named(id: string, network = 'blue'): Promise<Container> {
  const container = site().bare(id);
  await Promise.all([container.connect(network), serveName(container, id)]);
  return container;
}

/** As a client of the daemon opens a port, so that the next daemon knows it too. */
async function open(container: Container): Promise<void> {
  const mapping = { network: 'blue', container_id: container.id, host_port: PORT, container_port: SERVED };
  for (const protocol of ['TCP', 'UDP'])
    await site().rest.expect('POST', '/nat/port-mappings', { ...mapping, protocol });
}

/** Ids of the links and of their programs, by pin. */
function links({ bpffs }: Daemon): Record<string, { id: number; programId: number }> {
  const pins = readdirSync(`${bpffs}/links`).filter((name) => name.startsWith('node_'));
  return Object.fromEntries(
    pins.map((name) => {
      using link = BpfLink.fromPin(`${bpffs}/links/${name}`);
      const { id, programId } = link.info();
      return [name, { id, programId }];
    }),
  );
}

beforeEach(async () => {
  frontends = new NodeFrontends(site().daemon);
  await site().network('blue', { isolation_mode: 'none' });
  a = await named('a');
});
afterEach(() => frontends?.[Symbol.dispose]());

describe.each(FAMILIES)('IPv%i:', (family) => {
  const port = { address: ANY[family], port: PORT };
  beforeEach(() => frontends.publish({ ...port, backends: [backend(a, family)] }));

  it('a mapped port leads to the container at every address of the node, which is what programs see', async () => {
    const { host } = site();
    const outside = await site().outside({ isUplink: true });
    const uplink = outside.nodeAddress(family);
    await expect.poll(() => asked(host, uplink)).toEqual(from('a', uplink));
    for (const address of [LOOPBACK[family], a.gateway(family)])
      expect(await asked(host, address)).toEqual(from('a', address));
    for (const way of ['tcp', 'datagram'] as const)
      expect(await ask(host, way, ANY[family])).toEqual([`a from ${LOOPBACK[family]} ${PORT}`]);
    if (family === 4) {
      expect(await asked(host, '127.1.2.3')).toEqual(from('a', '127.1.2.3'));
      for (const address of ['::ffff:127.0.0.1', `::ffff:${uplink}`])
        expect(await asked(host, address)).toEqual(from('a', address));
    }
    expect(await asked(host, outside.address(family), { expected: 'blocked' })).toEqual(NOBODY);
  });

  it("a container's own sockets are not touched, nor those of another namespace", async () => {
    using elsewhere = new Host('elsewhere');
    for (const other of [a, elsewhere]) {
      expect(await asked(other, LOOPBACK[family], { expected: 'blocked' })).toEqual(NOBODY);
      await serveName(other, 'own', PORT);
      expect(await asked(other, LOOPBACK[family])).toEqual(from('own', LOOPBACK[family]));
    }
  });

  it('a connection keeps its container when the port is given to another one', async () => {
    const [b, c] = [await named('b'), await site().container('c', 'blue')];
    const echo = { address: c.address(family), port: TCP_PORT };
    frontends.publish({ ...port, backends: [echo] });
    using stream = await Stream.open(site().host.netns, LOOPBACK[family], PORT);
    expect(await stream.echoes()).toBe(true);
    frontends.publish({ ...port, backends: [backend(b, family)] });
    expect(await asked(site().host, LOOPBACK[family])).toEqual(from('b', LOOPBACK[family]));
    expect(await stream.echoes()).toBe(true);
    frontends.withdraw(port);
    expect(await asked(site().host, LOOPBACK[family], { expected: 'blocked' })).toEqual(NOBODY);
    expect(await stream.echoes()).toBe(true);
  });

  it('the policy of the container decides', async () => {
    await site().rest.apply({ name: 'deny', spec: { podSelector: {}, ingress: [] } });
    expect(await asked(site().host, LOOPBACK[family], { expected: 'blocked' })).toEqual(all('blocked'));
    expect(await site().packets({ container: a, reason: 'POLICY_INGRESS' })).toBeGreaterThan(0);
    await site().rest.deletePolicy('deny');
    expect(await asked(site().host, LOOPBACK[family])).toEqual(from('a', LOOPBACK[family]));
  });

  it('without a backend, or with one of the other family alone, a port is refused at once', async () => {
    frontends.publish({ ...port, backends: [] });
    expect(await asked(site().host, LOOPBACK[family])).toEqual(all('refused'));
    frontends.publish({ ...port, backends: [backend(a, family === 4 ? 6 : 4)] });
    expect(await asked(site().host, LOOPBACK[family])).toEqual(all('refused'));
  });

  it('other ports are the own ones of the node', async () => {
    await serveName(site().host, 'node', PORT + 1);
    const own = { port: PORT + 1 };
    expect(await asked(site().host, LOOPBACK[family], own)).toEqual(from('node', LOOPBACK[family], PORT + 1));
    expect(await asked(site().host, LOOPBACK[family], { port: PORT + 2, expected: 'blocked' })).toEqual(
      NOBODY,
    );
  });

  it("a service's address leads to its containers, and its other ports are refused", async () => {
    const address = family === 4 ? '10.96.0.10' : 'fd00:96::10';
    frontends.service(address);
    frontends.publish({ address, port: PORT, backends: [backend(a, family)] });
    expect(await asked(site().host, address)).toEqual(from('a', address));
    expect(await asked(site().host, address, { port: PORT + 1 })).toEqual(all('refused'));
  });

  it('an address of the node can have a frontend of its own', async () => {
    const b = await named('b');
    const gateway = a.gateway(family);
    frontends.publish({ address: gateway, port: PORT, backends: [backend(b, family)] });
    expect(await asked(site().host, gateway)).toEqual(from('b', gateway));
    expect(await asked(site().host, LOOPBACK[family])).toEqual(from('a', LOOPBACK[family]));
  });

  it('connections are spread over the backends; a socket that is not connected stays with one', async () => {
    const b = await named('b');
    frontends.publish({ ...port, backends: [backend(a, family), backend(b, family)] });
    const answers = async (way: Way) =>
      new Set(await ask(site().host, way, LOOPBACK[family], { times: 40 })).size;
    expect(await answers('tcp')).toBe(2);
    expect(await answers('udp')).toBe(2);
    expect(await answers('datagram')).toBe(1);
    frontends.publish({
      ...{ ...port, backends: [backend(a, family), backend(b, family)] },
      affinityS: 60,
    });
    expect(await answers('tcp')).toBe(1);
    expect(await answers('udp')).toBe(1);
  });
});

it('hooks are in force without a daemon, and the next one takes the same links over', {
  timeout: 60_000,
}, async () => {
  const { daemon, host } = site();
  await open(a);
  const before = links(daemon);
  expect(Object.keys(before)).toHaveLength(8);
  await daemon.kill();
  expect(await asked(host, LOOPBACK[4])).toEqual(from('a', LOOPBACK[4]));
  await daemon.start();
  const after = links(daemon);
  for (const [name, { id, programId }] of Object.entries(before)) {
    expect(after[name]?.id).toBe(id);
    expect(after[name]?.programId).not.toBe(programId);
  }
  expect(await asked(host, LOOPBACK[4])).toEqual(from('a', LOOPBACK[4]));
  expect(await daemon.rest.expect('GET', '/readyz')).toMatchObject({
    node_connect: { cgroup: expect.stringMatching(/^\/sys\/fs\/cgroup/) },
  });
});

it('with cgroup_root none, or none there, nothing is attached, and /readyz says so', {
  timeout: 120_000,
}, async () => {
  const { daemon, host } = site();
  await open(a);
  for (const [cgroup_root, message] of [
    ['none', 'the setting cgroup_root is none'],
    ['/tmp', '/tmp is no cgroup of version 2'],
  ] as const) {
    await daemon.stop();
    await daemon.start({ settings: { cgroup_root } });
    expect(links(daemon)).toEqual({});
    expect(await daemon.rest.expect('GET', '/readyz')).toMatchObject({ node_connect: { message } });
    expect(await asked(host, LOOPBACK[4], { expected: 'blocked' })).toEqual(NOBODY);
  }
  await daemon.restart();
  expect(await asked(host, LOOPBACK[4])).toEqual(from('a', LOOPBACK[4]));
});

it('a pin that is lost is attached again', async () => {
  const { daemon } = site();
  const before = links(daemon);
  using link = BpfLink.fromPin(`${daemon.bpffs}/links/node_connect4`);
  link.unpin(`${daemon.bpffs}/links/node_connect4`);
  await expect.poll(() => Object.keys(links(daemon)), { timeout: 20_000 }).toEqual(Object.keys(before));
});

it('daemons of two namespaces are independent, also of one that is gone but for its hooks', {
  timeout: 60_000,
}, async () => {
  await using other = await Daemon.start();
  const host = new Host('other', other.netns);
  using others = new NodeFrontends(other);
  frontends.publish({ address: ANY[4], port: PORT, backends: [backend(a, 4)] });
  expect(await asked(host, LOOPBACK[4], { expected: 'blocked' })).toEqual(NOBODY);
  others.publish({ address: ANY[4], port: PORT, backends: [] });
  others.publish({ address: ANY[4], port: PORT + 1, backends: [] });
  await serveName(site().host, 'node', PORT + 1);
  const unharmed = async () => {
    expect(await asked(site().host, LOOPBACK[4])).toEqual(from('a', LOOPBACK[4]));
    expect(await asked(site().host, LOOPBACK[4], { port: PORT + 1 })).toEqual(
      from('node', LOOPBACK[4], PORT + 1),
    );
  };
  await unharmed();
  await other.kill();
  other.netns.close();
  expect(Object.keys(links(other))).toHaveLength(8);
  await unharmed();
});
