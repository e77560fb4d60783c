/** Ports of the node lead to containers, for whom the policies let in, and nobody else. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { PortMapping, PortMappingRequest } from '../../src/model/port-mapping.js';
import { type Container, FAMILIES, type Host, type Verdict } from '../support/containers.js';
import type { Outside } from '../support/outside.js';
import { addressBytes } from '../support/packet.js';
import { useSite } from '../support/site.js';
import { Stream } from '../support/stream.js';
import { trafficProgram } from '../support/traffic.js';

const site = useSite({ settings: { uplink: 'auto' } });

/** The ports of the node, TCP and UDP, that lead to what containers serve. */
const TCP = 8080;
const UDP = 5353;

let outside: Outside;
let a: Container;

beforeEach(async () => {
  outside = await site().outside({ isUplink: true });
  const uplink = async () => (await site().rest.expect<{ uplink?: object }>('GET', '/readyz')).uplink;
  await expect.poll(uplink).toMatchObject({ interface: 'uplink', ip6_address: outside.nodeAddress(6) });
  await site().network('blue', { isolation_mode: 'none', options: { masquerade: true } });
  a = await site().container('a', 'blue', { labels: { app: 'a' } });
});

const map = (more: Partial<PortMappingRequest> = {}) =>
  site().rest.expect<PortMapping>('POST', '/nat/port-mappings', {
    ...{ network: 'blue', container_id: 'a', host_port: TCP, container_port: 80 },
    ...more,
  });
const publish = async () => [await map(), await map({ protocol: 'UDP', host_port: UDP, container_port: 53 })];
const refused = async (more: object) => {
  const body = { network: 'blue', container_id: 'a', host_port: TCP, container_port: 80, ...more };
  const { status, json } = await site().rest.call('POST', '/nat/port-mappings', body);
  return { status, ...(json as { error: { code: string; message: string } }).error };
};

/** What becomes of TCP and UDP to the published ports. */
async function reach(from: Host, address: string, expected: Verdict = 'open'): Promise<Verdict[]> {
  return Promise.all([
    from.dial(address, { port: TCP, expected }),
    from.dial(address, { port: UDP, protocol: 'udp', expected }),
  ]);
}
const BOTH_OPEN = ['open', 'open'];

describe.each(FAMILIES)('IPv%i:', (family) => {
  const node = () => outside.nodeAddress(family);

  it('clients outside, of the same network and of another reach the container', async () => {
    await publish();
    await site().network('green', { isolation_mode: 'none' });
    const b = await site().container('b', 'blue');
    const c = await site().container('c', 'green');
    expect(await reach(outside, node())).toEqual(BOTH_OPEN);
    expect(await reach(b, node())).toEqual(BOTH_OPEN);
    expect(await reach(c, node())).toEqual(BOTH_OPEN);
    expect(await reach(b, a.gateway(family))).toEqual(BOTH_OPEN);
    expect(await reach(a, node())).toEqual(BOTH_OPEN);
  });

  it('the policy judges the client as who it is', async () => {
    await publish();
    const b = await site().container('b', 'blue', { labels: { app: 'b' } });
    const cidr = `${outside.address(family)}/${family === 4 ? 32 : 128}`;
    const ingress = [{ from: [{ ipBlock: { cidr } }] }];
    await site().rest.apply({
      name: 'outside',
      spec: { podSelector: { matchLabels: { app: 'a' } }, ingress },
    });
    expect(await reach(outside, node())).toEqual(BOTH_OPEN);
    expect(await reach(b, node(), 'blocked')).toEqual(['blocked', 'blocked']);
    const friends = [{ from: [{ podSelector: { matchLabels: { app: 'b' } } }] }];
    await site().rest.apply({
      ...{ name: 'outside', spec: { podSelector: { matchLabels: { app: 'a' } }, ingress: friends } },
    });
    expect(await reach(outside, node(), 'blocked')).toEqual(['blocked', 'blocked']);
    expect(await reach(b, node())).toEqual(BOTH_OPEN);
  });

  it("clients of the node's own may have the ports that are published, and neither is harmed", async () => {
    // Ports of this test's own: what a client has had is not free at once.
    const port = 8090 + family;
    await map({ host_port: port });
    await map({ host_port: port, container_port: 53, protocol: 'UDP' });
    using stream = await Stream.open(outside.netns, node(), port);
    for (const protocol of ['tcp', 'udp'] as const) {
      expect(await site().host.dial(outside, { family, protocol, from: port })).toBe('open');
      expect(await outside.dial(node(), { port, protocol })).toBe('open');
    }
    expect(await stream.echoes()).toBe(true);
  });

  it('a router on the way to the client that carries less is heard by the container', async () => {
    await publish();
    using beyond = outside.beyond();
    await beyond.narrow(1300);
    using stream = await Stream.open(beyond.netns, node(), TCP);
    expect(await stream.transfer(1 << 20)).toBe(true);
    expect(
      await a.output('ip', `-${family}`, 'route', 'get', beyond.address(family), 'from', a.address(family)),
    ).toContain('mtu 1300');
  });

  it('datagrams that are sent in fragments come through, and so do their answers', async () => {
    await publish();
    expect(await outside.dial(node(), { port: UDP, protocol: 'udp', bytes: 4000 })).toBe('open');
    const b = await site().container('b', 'blue');
    expect(await b.dial(node(), { port: UDP, protocol: 'udp', bytes: 4000 })).toBe('open');
  });

  it('a trace from outside shows the node before the container, if the policy lets it in', async () => {
    await publish();
    const hops = async (protocol: string, port: number, most: number) =>
      (await outside.output(trafficProgram('hops'), protocol, node(), `${port}`, `${most}`))
        .trim()
        .split('\n');
    expect(await hops('tcp', TCP, 2)).toEqual([node(), 'reached']);
    expect(await hops('udp', UDP, 2)).toEqual([node(), 'reached']);
    await site().rest.apply({ name: 'deny', spec: { podSelector: {}, ingress: [] } });
    expect(await hops('udp', UDP, 1)).toEqual(['silent']);
  });

  it('the container sees the address of the client', async () => {
    await publish();
    const capture = await a.capture();
    expect(await outside.dial(node(), { port: TCP })).toBe('open');
    const hex = (await capture.stop()).map(({ bytes }) => bytes.toString('hex')).join(' ');
    expect(hex).toContain(Buffer.from(addressBytes(outside.address(family))).toString('hex'));
  });

  it('open connections go on when the daemon is killed, and new ones are made', async () => {
    await publish();
    using stream = await Stream.open(outside.netns, node(), TCP);
    expect(await stream.echoes()).toBe(true);
    await site().daemon.kill();
    expect(await stream.echoes()).toBe(true);
    expect(await reach(outside, node())).toEqual(BOTH_OPEN);
    await site().daemon.start();
    expect(await stream.echoes()).toBe(true);
    expect(await reach(outside, node())).toEqual(BOTH_OPEN);
  });

  it('a mapping of one address leads from there alone', async () => {
    await map({ host_ip: node() });
    expect(await outside.dial(node(), { port: TCP })).toBe('open');
    const b = await site().container('b', 'blue');
    expect(await b.dial(a.gateway(family), { port: TCP })).not.toBe('open');
  });
});

it('a mapping that is removed leads nowhere, and what was open goes on', async () => {
  const [tcp] = await publish();
  using stream = await Stream.open(outside.netns, outside.nodeAddress(4), TCP);
  await site().rest.expect('DELETE', `/nat/port-mappings/${tcp?.id}`);
  expect(await outside.dial(outside.nodeAddress(4), { port: TCP })).toBe('refused');
  expect(await stream.echoes()).toBe(true);
});

it('the ports of a container are published with it, and gone with it', async () => {
  const ports = [
    { container_port: 80, host_port: TCP },
    { container_port: 53, host_port: UDP, protocol: 'UDP' as const },
  ];
  const b = await site().container('b', 'blue', { ports });
  expect(await reach(outside, outside.nodeAddress(4))).toEqual(BOTH_OPEN);
  await b.disconnect();
  expect(await outside.dial(outside.nodeAddress(4), { port: TCP })).toBe('refused');
  expect(await site().rest.expect('GET', '/nat/port-mappings')).toEqual({ port_mappings: [] });
});

it('in a network that lets nobody in, the answer says so, and nobody comes in', async () => {
  await site().network('closed', { isolation_mode: 'full' });
  await site().container('shut', 'closed', { labels: { app: 'shut' } });
  const made = await map({ network: 'closed', container_id: 'shut' });
  expect(made).toMatchObject({ reachable_from_outside: false, hint: expect.stringMatching(/policy/) });
  expect(await outside.dial(outside.nodeAddress(4), { port: TCP, expected: 'blocked' })).toBe('blocked');
  await site().rest.apply({
    name: 'let-in',
    spec: {
      podSelector: {},
      ingress: [{ from: [{ ipBlock: { cidr: '198.18.0.0/24' } }], ports: [{ port: 80 }] }],
    },
  });
  expect(await site().rest.expect('GET', `/nat/port-mappings/${made.id}`)).toMatchObject({
    reachable_from_outside: true,
  });
  expect(await outside.dial(outside.nodeAddress(4), { port: TCP })).toBe('open');
});

describe('is refused, and nothing changes:', () => {
  it('a port that a process of the node listens on, which is named', async () => {
    await site().host.serve(`tcp:${TCP}`);
    expect(await refused({})).toMatchObject({
      ...{
        status: 409,
        code: 'NODE_PORT_IN_USE',
        message: expect.stringMatching(/process \S+ \(pid \d+, user 0\)/),
      },
    });
    expect(await outside.dial(outside.nodeAddress(4), { port: TCP })).toBe('open');
  });

  it('the port of another mapping, whose container is named', async () => {
    await map();
    expect(await refused({})).toMatchObject({
      ...{
        status: 409,
        code: 'NODE_PORT_IN_USE',
        message: expect.stringMatching(/container a in network blue/),
      },
    });
  });

  it('a container whose port is taken, as a whole', async () => {
    await map();
    const b = site().bare('b');
    const ports = [
      { container_port: 1, host_port: 9999 },
      { container_port: 80, host_port: TCP },
    ];
    await expect(b.connect('blue', { ports })).rejects.toThrow(/NODE_PORT_IN_USE/);
    expect(b.netns.net.link('eth0')).toBeUndefined();
    expect(await site().rest.expect('GET', '/nat/port-mappings')).toMatchObject({
      port_mappings: [{ container_id: 'a' }],
    });
  });

  it("an unknown container, an address that is not the node's, a port of masqueraded connections", async () => {
    expect(await refused({ container_id: 'nobody' })).toMatchObject({
      status: 404,
      code: 'CONTAINER_NOT_FOUND',
    });
    expect(await refused({ host_ip: '198.18.0.77' })).toMatchObject({ status: 400, code: 'INVALID_REQUEST' });
    expect(await refused({ host_port: 61000 })).toMatchObject({ status: 409, code: 'NODE_PORT_IN_USE' });
    expect(await refused({ host_port: 65536 })).toMatchObject({ status: 400 });
    expect(await refused({ host_port: 0 })).toMatchObject({ status: 400 });
  });
});
