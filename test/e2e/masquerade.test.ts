/** Containers reach the outside under the node's address, and the node itself notices nothing of it. */
import { readFileSync } from 'node:fs';
import { beforeEach, describe, expect, it } from 'vitest';
import { type Container, FAMILIES, type Host, TCP_PORT, UDP_PORT, unlike } from '../support/containers.js';
import type { Outside } from '../support/outside.js';
import { addressBytes, PROTOCOL, packet, TCP } from '../support/packet.js';
import { useSite } from '../support/site.js';
import { trafficProgram } from '../support/traffic.js';

const site = useSite({ settings: { uplink: 'auto' } });

let outside: Outside;
let a: Container;
let b: Container;

const uplinkState = async () => (await site().rest.expect<{ uplink?: object }>('GET', '/readyz')).uplink;

beforeEach(async () => {
  outside = await site().outside({ isUplink: true });
  await expect.poll(uplinkState).toMatchObject({
    interface: 'uplink',
    ip_address: outside.nodeAddress(4),
    ip6_address: outside.nodeAddress(6),
  });
  await site().network('blue', { isolation_mode: 'none', options: { masquerade: true } });
  [a, b] = [await site().container('a', 'blue'), await site().container('b', 'blue')];
});

describe.each(FAMILIES)('IPv%i:', (family) => {
  it('TCP, UDP and echoes of two containers reach the outside, which sees the node alone', async () => {
    const capture = await outside.capture();
    expect(await unlike('open', family, [a, outside], [b, outside])).toEqual([]);
    const received = (await capture.stop()).map(({ bytes }) => bytes.subarray(0, 54));
    const seen = (address: string) =>
      received.some((bytes) => bytes.includes(Buffer.from(addressBytes(address))));
    expect([a.address(family), b.address(family)].filter(seen)).toEqual([]);
    expect(seen(outside.nodeAddress(family))).toBe(true);
    expect(forwarding()).toEqual(['0', '0']);
  });

  it('two containers with one source port to one place are two connections', async () => {
    const dial = (from: Host) => from.dial(outside, { family, from: 40404 });
    expect(await Promise.all([dial(a), dial(b)])).toEqual(['open', 'open']);
  });

  it("a connection goes on without a daemon, after the next one's start, and under its policy", async () => {
    using stream = await a.stream(outside, family);
    expect(await stream.echoes()).toBe(true);
    await site().daemon.kill();
    expect(await stream.echoes()).toBe(true);
    expect(await unlike('open', family, [b, outside])).toEqual([]);
    await site().daemon.start();
    expect(await stream.echoes()).toBe(true);
    expect(await unlike('open', family, [a, outside])).toEqual([]);

    await site().rest.apply({ name: 'deny', spec: { podSelector: {}, policyTypes: ['Egress'], egress: [] } });
    expect(await unlike('blocked', family, [a, outside], [b, outside])).toEqual([]);
    expect(await stream.echoes(300)).toBe(false);
    await site().rest.deletePolicy('deny');
  });

  it("the node's own connections to the same place go on, and so does who connects to the node", async () => {
    await site().host.serve(`tcp:${TCP_PORT}`, `udp:${UDP_PORT}`);
    using own = await site().host.stream(outside, family);
    expect(await unlike('open', family, [a, outside], [site().host, outside])).toEqual([]);
    expect(await unlike('open', family, [outside, outside.nodeAddress(family)])).toEqual([]);
    expect(await own.echoes()).toBe(true);
  });

  it('a port where nobody listens is refused, as without translation', async () => {
    expect(await a.dial(outside, { family, port: 81 })).toBe('refused');
    expect(await a.dial(outside, { family, port: 81, protocol: 'udp' })).toBe('refused');
  });

  it('large transfers pass a narrow uplink, and larger datagrams find its size', async () => {
    outside.narrow(1400);
    using stream = await a.stream(outside, family);
    expect(await stream.transfer(1 << 20)).toBe(true);
    // The first is too large and is answered so; the next are cut by the sender.
    await a.ping(outside, { family, bytes: 1440, expected: 'blocked' });
    expect(await a.ping(outside, { family, bytes: 1440 })).toBe('open');
    expect(await a.dial(outside, { family, protocol: 'udp', bytes: 1440 })).toBe('open');
    expect(await site().packets({ container: a, reason: 'TOO_BIG' })).toBeGreaterThan(0);
  });

  it('a trace shows the gateway, the routers beyond the node, and who is reached', async () => {
    using beyond = outside.beyond();
    await beyond.serve(`tcp:${TCP_PORT}`, `udp:${UDP_PORT}`);
    const to = beyond.address(family);
    const hops = (protocol: string, port: number) => trace(a, protocol, to, port, 3);
    const way = [a.gateway(family), outside.address(family), 'reached'];
    expect(await hops('udp', UDP_PORT)).toEqual(way);
    expect(await hops('tcp', TCP_PORT)).toEqual(way);
    for (const [at, router] of [a.gateway(family), outside.address(family)].entries()) {
      const text = await a.output('sh', '-c', `ping -n -c 1 -W 2 -t ${at + 1} ${to} || true`);
      expect(text).toContain(router);
      expect(text).toMatch(/[Tt]ime (to live )?exceeded/);
    }
    expect(await a.ping(to)).toBe('open');
  });

  it('a router beyond the node that carries less is heard by the container', async () => {
    using beyond = outside.beyond();
    await beyond.serve(`tcp:${TCP_PORT}`, `udp:${UDP_PORT}`);
    await beyond.narrow(1300);
    using stream = await a.stream(beyond, family);
    expect(await stream.transfer(1 << 20)).toBe(true);
    expect(
      await a.output('ip', `-${family}`, 'route', 'get', beyond.address(family), 'from', a.address(family)),
    ).toContain('mtu 1300');
  });

  it('datagrams that are sent in fragments come through, and so do their answers', async () => {
    expect(await a.dial(outside, { family, protocol: 'udp', bytes: 4000 })).toBe('open');
    const pings = [a, b].map((from) => from.ping(outside, { family, bytes: 4000 }));
    expect(await Promise.all(pings)).toEqual(['open', 'open']);
  });

  it('a RST that somebody guesses changes nothing, and one with the number that is expected is the end', async () => {
    using stream = await a.stream(outside, family);
    expect(await stream.echoes()).toBe(true);
    const capture = await outside.capture();
    expect(await stream.echoes()).toBe(true);
    const question = (await capture.stop()).find(({ bytes }) => bytes.includes('ping'));
    if (question === undefined) throw new Error('no question was heard');
    const tcp = question.bytes.subarray(family === 4 ? 34 : 54);
    /** After the answer. */
    const expected = tcp.readUInt32BE(8) + 4;
    const reset = (sequence: number) =>
      packet()
        .ethernet({ destination: question.sourceMac, source: question.destinationMac })
        .ip({ source: outside.address(family), destination: outside.nodeAddress(family) })
        .tcp({
          sourcePort: TCP_PORT,
          destinationPort: tcp.readUInt16BE(0),
          flags: TCP.RST,
          sequence: sequence >>> 0,
        })
        .bytes();
    const states = async () => {
      const { connections } = await site().rest.expect<{ connections: { state: string }[] }>(
        'GET',
        '/nat/connections?protocol=TCP',
      );
      return connections.map(({ state }) => state);
    };
    const inside = await a.capture();
    await outside.sendFrames([reset(expected + 1), reset(expected + 1_000_000_000)]);
    expect(await stream.echoes()).toBe(true);
    const flags = (await inside.stop()).map(
      ({ bytes }) => bytes[tcp.byteOffset - question.bytes.byteOffset + 13],
    );
    expect(flags.filter((each) => each === TCP.RST)).toHaveLength(2);
    expect(await states()).toEqual(['established']);
    await outside.sendFrames([reset(expected + 4)]);
    await expect.poll(states).toEqual(['closed']);
    expect(await stream.isReset()).toBe(true);
  });
});

/** Who answers probes of each hop limit, up to so many. */
async function trace(
  from: Host,
  protocol: string,
  to: string,
  port: number,
  most: number,
): Promise<string[]> {
  const program = trafficProgram('hops');
  return (await from.output(program, protocol, to, `${port}`, `${most}`)).trim().split('\n');
}

it('without an uplink the reason says so', async () => {
  const { rtnl } = site().host.netns.net;
  rtnl.deleteRoute({ destination: 'default4' });
  rtnl.deleteRoute({ destination: 'default6' });
  await expect.poll(uplinkState).toEqual({ message: 'the node has no default route' });
  expect(await unlike('blocked', 4, [a, outside])).toEqual([]);
  expect(await site().packets({ container: a, reason: 'NO_UPLINK' })).toBeGreaterThan(0);
});

it('when the node gets another address new connections leave under it, and open ones go on', async () => {
  const { rtnl } = site().host.netns.net;
  const index = rtnl.link('uplink')?.index ?? 0;
  using stream = await a.stream(outside);
  rtnl.addAddress({ index, address: '198.18.0.3/24' });
  const via = outside.address(4);
  rtnl.addRoute({ destination: 'default4', via, index, source: '198.18.0.3', replace: true });
  await expect.poll(uplinkState).toMatchObject({ ip_address: '198.18.0.3' });
  const capture = await outside.capture();
  expect(await a.dial(outside)).toBe('open');
  const sources = (await capture.stop()).map(({ bytes }) => bytes.subarray(26, 30));
  expect(sources.some((source) => source.equals(Buffer.from(addressBytes('198.18.0.3'))))).toBe(true);
  expect(await stream.echoes()).toBe(true);
});

describe('a network with a source address of its own', () => {
  const OWN = { 4: '198.19.7.7', 6: 'fd00:199::77' } as const;
  const options = { masquerade: true, source_address: OWN[4], source_address6: OWN[6] };

  async function own(): Promise<Container> {
    // The node has it on no interface: what is sent there is routed to the node.
    for (const family of FAMILIES) {
      const destination = `${OWN[family]}/${family === 4 ? 32 : 128}`;
      outside.netns.net.rtnl.addRoute({ destination, via: outside.nodeAddress(family) });
    }
    await site().network('green', { isolation_mode: 'none', options });
    return site().container('c', 'green');
  }

  it.each(FAMILIES)(
    'leaves under that, and others do not, over IPv%i, also after a restart',
    async (family) => {
      const c = await own();
      const from = (container: Container) => {
        const at = family === 4 ? 26 : 22;
        return async () => {
          const capture = await outside.capture();
          expect(await unlike('open', family, [container, outside])).toEqual([]);
          // TCP alone: neighbour discovery is the node's own.
          const all = (await capture.stop()).map((packet) => packet.bytes);
          const bytes = all.filter((frame) => frame[family === 4 ? 23 : 20] === PROTOCOL.TCP);
          return [OWN[family], outside.nodeAddress(family)].map((address) =>
            bytes.some((frame) =>
              frame.subarray(at, at + (family === 4 ? 4 : 16)).equals(addressBytes(address)),
            ),
          );
        };
      };
      expect(await from(c)()).toEqual([true, false]);
      expect(await from(a)()).toEqual([false, true]);
      await site().daemon.kill();
      await site().daemon.start();
      expect(await from(c)()).toEqual([true, false]);
    },
  );

  it('is refused inside of a network, and no network may be made over it', async () => {
    await own();
    const { rest } = site();
    const inside = { name: 'x', cidr: '10.61.0.0/24', options: { source_address: '10.61.0.9' } };
    expect(await rest.call('POST', '/networks', inside)).toMatchObject({
      status: 409,
      json: { error: { code: 'CIDR_OVERLAP', details: [{ path: 'options.source_address' }] } },
    });
    expect(await rest.call('POST', '/networks', { name: 'x', cidr: '198.19.7.0/24' })).toMatchObject({
      status: 409,
      json: { error: { code: 'CIDR_OVERLAP' } },
    });
  });
});

function forwarding(): string[] {
  return site().host.netns.net.run(() =>
    ['/proc/sys/net/ipv4/ip_forward', '/proc/sys/net/ipv6/conf/all/forwarding'].map((path) =>
      readFileSync(path, 'utf8').trim(),
    ),
  );
}
