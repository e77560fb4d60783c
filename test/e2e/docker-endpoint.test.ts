/**
 * An endpoint of Docker, step by step: what passes after each of the calls that Docker makes, and after what Docker does
 * with the interface itself. Nobody is asked whose it is: it is who its options say.
 */
import { rmSync } from 'node:fs';
import { beforeEach, describe, expect, it } from 'vitest';
import { queueKinds } from '../../src/bridge/queue-kinds.js';
import type { Endpoint } from '../../src/model/endpoint.js';
import { BpfLink, tcxSupported } from '../../src/native/bpf.js';
import { type Container, Host } from '../support/containers.js';
import { callDriver } from '../support/docker-driver.js';
import { passBy } from '../support/pass-by.js';
import { useSite } from '../support/site.js';

const site = useSite({ settings: { docker_socket: 'none' } });

const NETWORK = 'a'.repeat(64);
const KEY = 'b'.repeat(64);
const REFERENCE = { NetworkID: NETWORK, EndpointID: KEY };
const ADDRESS = '10.60.1.9';
/** The daemon looks every 5 s. */
const SOON = { timeout: 15_000, interval: 100 };
const LONG = { timeout: 60_000 };

async function call<T = object>(method: string, body: object): Promise<T> {
  return (await callDriver(site().daemon, method, body)).json as T;
}

const create = (options: Record<string, string> = {}) =>
  call('NetworkDriver.CreateEndpoint', {
    ...REFERENCE,
    Interface: { Address: `${ADDRESS}/24` },
    Options: options,
  });
const joinSandbox = (box: Host) =>
  call<{ InterfaceName: { SrcName: string } }>('NetworkDriver.Join', {
    ...REFERENCE,
    SandboxKey: box.netns.path,
  });

/** What Docker does with the interface that Join has named. */
async function move(box: Host, name: string): Promise<void> {
  const { host } = site();
  await host.output('ip', 'link', 'set', name, 'netns', box.netns.name, 'name', 'eth0');
  await box.output('ip', 'address', 'add', `${ADDRESS}/24`, 'dev', 'eth0');
  await box.output('ip', 'link', 'set', 'eth0', 'up');
  await box.output('ip', 'route', 'add', 'default', 'via', '10.60.1.1');
}

async function theirs(): Promise<Endpoint[]> {
  const { endpoints } = await site().rest.expect<{ endpoints: Endpoint[] }>('GET', '/endpoints');
  return endpoints.filter(({ container_id }) => container_id === KEY);
}

let other: Container;
beforeEach(async () => {
  const { cidr } = await site().network('blue', { isolation_mode: 'none', cidr6: undefined });
  other = await site().container('other', 'blue');
  await call('NetworkDriver.CreateNetwork', {
    NetworkID: NETWORK,
    Options: { 'com.docker.network.generic': { 'quantum.network': 'blue' } },
    IPv4Data: [{ AddressSpace: 'quantum', Pool: cidr, Gateway: '10.60.1.1/24' }],
  });
});

describe('an endpoint of Docker', () => {
  it.skipIf(!tcxSupported())('is guarded again wherever its interface is by then', LONG, async () => {
    using box = new Host('box');
    await create();
    const [{ host_interface } = { host_interface: '' }] = await theirs();
    const name = host_interface.replace(/^qn/, 'qp');
    const pin = `${site().daemon.bpffs}/links/${host_interface}_leave_container`;
    const guarded = () => {
      using link = BpfLink.openPin(pin);
      return link?.info().ifindex;
    };
    const endGuard = () => {
      using link = BpfLink.fromPin(pin);
      link.detach();
      expect(link.info().ifindex).toBe(0);
    };
    // Not in the container yet that it is for.
    await joinSandbox(box);
    const staged = site().host.netns.net.link(name)?.index;
    endGuard();
    await expect.poll(guarded, SOON).toBe(staged);
    await site().daemon.kill();
    rmSync(pin);
    await site().daemon.start();
    expect(guarded()).toBe(staged);
    await move(box, name);
    endGuard();
    await expect.poll(guarded, SOON).toBe(box.netns.net.link('eth0')?.index);
  });

  it('passes nothing when it has been made, nor when its interface is used before Docker has named the container', async () => {
    using box = new Host('box');
    await create();
    const [endpoint] = await theirs();
    expect(endpoint?.state).toBe('creating');
    await move(box, endpoint?.host_interface.replace(/^qn/, 'qp') ?? '');
    expect(await box.dial(other, { protocol: 'udp', expected: 'blocked' })).toBe('blocked');
    expect(await other.dial(ADDRESS, { protocol: 'udp', expected: 'blocked' })).toBe('blocked');
    expect(await site().packets({ reason: 'UNKNOWN_ENDPOINT' })).toBeGreaterThan(0);
  });

  it('passes what policies allow as soon as it has its address, and is found under its name', async () => {
    using box = new Host('box');
    await create();
    const { InterfaceName } = await joinSandbox(box);
    await call('NetworkDriver.ProgramExternalConnectivity', REFERENCE);
    await move(box, InterfaceName.SrcName);
    expect(await box.dial(other, { protocol: 'udp' })).toBe('open');
    expect(await theirs()).toMatchObject([
      { state: 'ready', netns_path: box.netns.path, interface_name: 'eth0' },
    ]);
  });

  it('has taken the guard of its own side along: what passes the program by reaches nobody', async () => {
    using box = new Host('box');
    await create();
    const { InterfaceName } = await joinSandbox(box);
    await move(box, InterfaceName.SrcName);
    await box.output('ip', 'route', 'replace', '255.255.255.255/32', 'dev', 'eth0');
    await passBy(box);
    await box.cast('255.255.255.255', '5000', 'past');
    await expect.poll(() => site().packets({ reason: 'UNJUDGED' })).toBeGreaterThan(0);
  });

  it('has the limits of its options, on the side too that Docker takes into the container', async () => {
    using box = new Host('box');
    await create({ 'quantum.egress_rate': '20000000', 'quantum.ingress_rate': '10000000' });
    const { InterfaceName } = await joinSandbox(box);
    await move(box, InterfaceName.SrcName);
    const [endpoint] = await theirs();
    expect(endpoint?.options).toEqual({
      bandwidth: { egress_rate: 20_000_000, ingress_rate: 10_000_000 },
    });
    const queue = (where: Host, name = '') => where.output('tc', 'qdisc', 'show', 'dev', name);
    expect(await queue(site().host, endpoint?.host_interface)).toContain(`qdisc ${queueKinds().host} `);
    const expected = `qdisc ${queueKinds().container} `;
    await expect.poll(() => queue(box, 'eth0'), { timeout: 10_000 }).toContain(expected);
    await call('NetworkDriver.DeleteEndpoint', REFERENCE);
  });

  it('passes nothing any more when it has left', async () => {
    using box = new Host('box');
    await create();
    const { InterfaceName } = await joinSandbox(box);
    await call('NetworkDriver.ProgramExternalConnectivity', REFERENCE);
    await move(box, InterfaceName.SrcName);
    const stream = await box.dial(other, { protocol: 'tcp' });
    expect(stream).toBe('open');
    await call('NetworkDriver.Leave', REFERENCE);
    expect(await box.dial(other, { protocol: 'udp', expected: 'blocked' })).toBe('blocked');
    expect(await theirs()).toMatchObject([{ state: 'creating' }]);
    await call('NetworkDriver.DeleteEndpoint', REFERENCE);
    expect(await theirs()).toEqual([]);
    expect(box.netns.net.link('eth0')).toBeUndefined();
  });

  it('is there once when it is asked for twice, and joins one sandbox', async () => {
    using box = new Host('box');
    using stranger = new Host('stranger');
    await create();
    await create();
    expect(await theirs()).toHaveLength(1);
    await joinSandbox(box);
    await joinSandbox(box);
    await expect(joinSandbox(stranger)).rejects.toThrow('another sandbox');
    await expect(create()).rejects.toThrow('exists');
    await expect(site().rest.patch('blue', 'nobody', { labels: {} })).rejects.toThrow('404');
  });

  it('outlives the daemon at each step', async () => {
    using box = new Host('box');
    const restart = async () => {
      await site().daemon.kill();
      await site().daemon.start();
    };
    await create();
    await restart();
    const { InterfaceName } = await joinSandbox(box);
    await restart();
    await expect.poll(theirs).toMatchObject([{ state: 'ready' }]);
    await move(box, InterfaceName.SrcName);
    await restart();
    expect(await box.dial(other, { protocol: 'udp' })).toBe('open');
    await call('NetworkDriver.DeleteEndpoint', REFERENCE);
    expect(await theirs()).toEqual([]);
  }, 60_000);

  it('cannot be told to be somebody else before it is known who it is', async () => {
    await create();
    const answer = await site().rest.call('PATCH', `/networks/blue/containers/${KEY}`, {
      labels: { a: 'b' },
    });
    expect(answer.status).toBe(503);
    await call('NetworkDriver.DeleteEndpoint', REFERENCE);
  });
});
