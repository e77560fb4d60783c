/** The kernel outlives the controller: without a daemon everything goes on, and the next one takes over what it finds. */
import { describe, expect, it } from 'vitest';
import { MetricKey } from '../../src/datapath/abi/generated.js';
import { BpfMap } from '../../src/native/bpf.js';
import { type Container, FAMILIES, lastWords, unlike } from '../support/containers.js';
import { useSite } from '../support/site.js';

const site = useSite();

/** a and b may talk, c may not talk to them. */
async function scene(): Promise<[Container, Container, Container]> {
  await site().network('blue', { isolation_mode: 'peer' });
  const make = (id: string) => site().container(id, 'blue', { labels: { app: id } });
  const all: [Container, Container, Container] = [await make('a'), await make('b'), await make('c')];
  const matchExpressions = [{ key: 'app', operator: 'In', values: ['a', 'b'] }];
  await site().rest.apply({
    name: 'friends',
    spec: { podSelector: { matchExpressions }, ingress: [{ from: [{ podSelector: { matchExpressions } }] }] },
  });
  return all;
}

describe.each(FAMILIES)('without a daemon, IPv%i:', (family) => {
  it.each(['SIGTERM', 'SIGKILL'])('after %s open connections, new ones and policy go on', async (signal) => {
    const [a, b, c] = await scene();
    const { daemon } = site();
    using stream = await a.stream(b, family);
    expect(await stream.echoes()).toBe(true);
    const before = await site().state();
    if (signal === 'SIGKILL') await daemon.kill();
    else expect(await daemon.stop()).toBe(0);

    expect(await stream.echoes()).toBe(true);
    expect(await unlike('open', family, [a, b], [b, a], [a, c])).toEqual([]);
    expect(await unlike('blocked', family, [c, a], [c, b])).toEqual([]);

    await daemon.start();
    expect(await site().state()).toEqual(before);
    expect(await stream.echoes()).toBe(true);
    expect(await unlike('open', family, [a, b], [b, a])).toEqual([]);
    expect(await unlike('blocked', family, [c, a])).toEqual([]);

    // It is a daemon like the one before: what it found obeys it.
    await site().rest.deletePolicy('friends');
    expect(await unlike('open', family, [c, a])).toEqual([]);
    await b.relabel({ labels: { app: 'x' } });
    await b.disconnect();
    expect(b.netns.net.link('eth0')).toBeUndefined();
  });
});

it('while daemons come and go, nothing forbidden passes and nothing allowed is lost', {
  timeout: 120_000,
}, async () => {
  const [a, b, c] = await scene();
  const capture = await a.capture();
  using stream = await a.stream(b);
  const storm = await c.start('hostile', 'sockets', a.address(4), '53').ready();
  let over = false;
  const daemons = async () => {
    for (let round = 0; round < 3; round++) {
      await site().daemon.kill();
      await site().daemon.start();
    }
    over = true;
  };
  const talk = async () => {
    let answers = 0;
    for (; !over; answers++) {
      if (!(await stream.echoes())) return 0;
      if ((await a.dial(b, { protocol: 'udp' })) !== 'open') return 0;
    }
    return answers;
  };
  const [, answers] = await Promise.all([daemons(), talk()]);
  expect(answers).toBeGreaterThan(10);
  expect(await lastWords(storm)).toMatch(/^[0-9]{3,}$/);
  const fromC = (await capture.stop()).filter(({ type, bytes }) => {
    const source = [...bytes.subarray(26, 30)].join('.');
    return type === 0x0800 && source === c.address(4);
  });
  expect(fromC).toEqual([]);
  for (const reason of ['UNKNOWN_ENDPOINT', 'POLICY_MISSING', 'CONNECTION_CUT', 'NO_SUCH_ENDPOINT']) {
    for (const container of [a, b]) {
      expect([reason, await site().packets({ container, reason })]).toEqual([reason, 0]);
    }
  }
});

describe('what happened without a daemon is put in order by the next one:', () => {
  it('a container whose namespace has gone is forgotten, and its address is free', async () => {
    const [a, b] = await scene();
    await site().daemon.kill();
    const address = a.address(4);
    a[Symbol.dispose]();
    // The kernel takes a namespace apart in its own time.
    await expect
      .poll(() => site().host.netns.net.link(a.endpoint.host_interface), { timeout: 10_000 })
      .toBeUndefined();
    await site().daemon.start();
    const { endpoints } = await site().rest.expect<{ endpoints: { container_id: string }[] }>(
      'GET',
      '/endpoints',
    );
    expect(endpoints.map(({ container_id }) => container_id).sort()).toEqual(['b', 'c']);
    const next = await site().container('next', 'blue', { ip_address: address, labels: { app: 'a' } });
    expect(await unlike('open', 4, [next, b])).toEqual([]);
  });

  it('programs that were taken off, addresses of the bridge, routes and neighbours', async () => {
    const [a, b, c] = await scene();
    const before = await site().state();
    await site().daemon.stop();
    const { rtnl } = site().host.netns.net;
    const bridge = rtnl.links().find(({ name }) => name.startsWith('qnbr'));
    if (bridge === undefined) throw new Error('no bridge');
    await site().host.output('sh', '-c', `rm ${site().daemon.bpffs}/links/*`);
    rtnl.deleteLink(bridge.index);
    for (const { index, address } of rtnl.neighbours().filter(({ state }) => state === 'permanent')) {
      rtnl.deleteNeighbour({ index, address });
    }
    for (const { destination, index } of rtnl
      .routes()
      .filter(({ destination }) => /\/(32|128)$/.test(destination))) {
      rtnl.deleteRoute({ destination, index });
    }
    rtnl.setLink(a.endpoint.host_interface, { addrGenMode: 'eui64' });
    await site().daemon.start();
    expect(await site().state()).toEqual(before);
    expect(rtnl.link(a.endpoint.host_interface)?.addrGenMode).toBe('none');
    expect(await unlike('open', 4, [a, b], [b, a])).toEqual([]);
    expect(await unlike('blocked', 4, [c, a])).toEqual([]);
  });

  it('interfaces and map entries of nobody are swept; those of others are not', async () => {
    const [a, b] = await scene();
    const before = await site().state();
    await site().daemon.kill();
    const { rtnl } = site().host.netns.net;
    const peerNetns = a.netns.net.handle;
    rtnl.createVeth({ name: 'qn0000ffff', peerName: 'stale', peerNetns, alias: 'quantum:endpoint:65535' });
    rtnl.createBridge({ name: 'qnbr9999', alias: 'quantum:network:9999' });
    rtnl.createVeth({ name: 'qn0000fffe', peerName: 'other', peerNetns, alias: 'of somebody else' });
    rtnl.createBridge({ name: 'qn0000fffd' });
    using endpoints = BpfMap.fromPin(`${site().daemon.bpffs}/maps/qn_endpoints`);
    endpoints.set(Uint8Array.of(255, 255, 0, 0), new Uint8Array(endpoints.info.valueSize));
    await site().daemon.start();
    const names = rtnl.links().map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(['qn0000fffe', 'qn0000fffd']));
    for (const name of ['qn0000fffe', 'qn0000fffd']) rtnl.deleteLink(name);
    expect(await site().state()).toEqual(before);
    expect(await unlike('open', 4, [a, b])).toEqual([]);
  });

  it('counters of endpoints that are gone do not stay in the kernel', async () => {
    const [a, b] = await scene();
    expect(await unlike('open', 4, [a, b])).toEqual([]);
    const { id } = a.endpoint;
    await a.disconnect();
    await site().daemon.kill();
    await site().daemon.start();
    using metrics = BpfMap.fromPin(`${site().daemon.bpffs}/maps/qn_metrics`);
    const counted = () => [...metrics.keys()].map((key) => MetricKey.decode(key).endpointId);
    await expect.poll(counted, { timeout: 15_000, interval: 250 }).not.toContain(id);
    expect(counted()).toContain(b.endpoint.id);
  });
});

it('counters go on counting where they were', async () => {
  const [a, b, c] = await scene();
  expect(await unlike('open', 4, [a, b])).toEqual([]);
  expect(await unlike('blocked', 4, [c, a])).toEqual([]);
  const count = () =>
    Promise.all([
      site().packets({ container: a, reason: 'NONE' }),
      site().packets({ container: c, reason: 'POLICY_INGRESS' }),
    ]);
  const [forwarded = 0, dropped = 0] = await count();
  await site().daemon.restart();
  const [later = 0, laterDropped = 0] = await count();
  expect(later).toBeGreaterThanOrEqual(forwarded);
  expect(laterDropped).toBeGreaterThanOrEqual(dropped);
  expect(dropped).toBeGreaterThan(0);
});
