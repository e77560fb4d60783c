/** Delivery between containers of a node: straight into the receiver, whole, and with the errors that belong to it. */
import { describe, expect, it } from 'vitest';
import { FAMILIES, type Family, unlike } from '../support/containers.js';
import { PROTOCOL, packet, TCP } from '../support/packet.js';
import { useSite } from '../support/site.js';

const site = useSite();

async function pair(mode: 'peer' | 'none' = 'peer', mtu?: number) {
  await site().network('blue', { isolation_mode: mode, options: mtu === undefined ? {} : { mtu } });
  return Promise.all([site().container('a', 'blue'), site().container('b', 'blue')]);
}

/** What the IP layer of the node has seen of a family. */
async function hostCounters(family: Family): Promise<Record<string, string | undefined>> {
  const file = family === 4 ? '/proc/self/net/snmp' : '/proc/self/net/snmp6';
  const text = await site().host.output('cat', file);
  if (family === 6)
    return Object.fromEntries(text.split('\n').map((line) => /^(\S+)\s+(.*)$/.exec(line)?.slice(1) ?? []));
  const [names = '', values = ''] = text.split('\n').filter((line) => line.startsWith('Ip:'));
  const numbers = values.split(' ');
  return Object.fromEntries(names.split(' ').map((name, index) => [name, numbers[index]]));
}

describe.each(FAMILIES)('delivery, IPv%i:', (family) => {
  it('the stack and the bridge of the host see nothing of it', async () => {
    const [a, b] = await pair();
    using stream = await a.stream(b, family);
    expect(await stream.echoes()).toBe(true);
    const capture = await site().host.capture();
    const before = await hostCounters(family);
    expect(await stream.transfer(8 << 20)).toBe(true);
    const after = await hostCounters(family);
    const names =
      family === 4 ? ['InReceives', 'ForwDatagrams', 'OutRequests'] : ['Ip6InReceives', 'Ip6OutRequests'];
    // The node may have a few packets of its own to send meanwhile; the transfer has hundreds.
    for (const name of names) {
      expect([name, Number(after[name]) - Number(before[name]) < 20]).toEqual([name, true]);
    }
    const frames = await capture.stop();
    expect(frames.filter((frame) => frame.interface.startsWith('qnbr'))).toEqual([]);
  });

  it('a large transfer each way arrives whole', async () => {
    const [a, b] = await pair();
    using there = await a.stream(b, family);
    using back = await b.stream(a, family);
    expect(await Promise.all([there.transfer(128 << 20), back.transfer(128 << 20)])).toEqual([true, true]);
  });

  it('datagrams larger than the MTU travel in fragments, through all of the UDP sizes', async () => {
    const [a, b] = await pair();
    const sizes = [1, 1400, 1472, 1473, 8192, 32_000, 65_000];
    for (const bytes of sizes) {
      expect([bytes, await a.dial(b, { family, protocol: 'udp', bytes })]).toEqual([bytes, 'open']);
    }
  });

  it('ICMP echo comes back, also in fragments', async () => {
    const [a, b] = await pair();
    for (const bytes of [0, 56, 1472, 4000, 60_000]) {
      expect([bytes, await a.ping(b, { family, bytes })]).toEqual([bytes, 'open']);
    }
  });

  it('fragments of a datagram that is not allowed do not arrive', async () => {
    const [a, b] = await pair();
    const capture = await b.capture();
    await site().rest.apply({ name: 'tcp', spec: { podSelector: {}, ingress: [{ ports: [{ port: 80 }] }] } });
    expect(await a.dial(b, { family, protocol: 'udp', bytes: 8192, expected: 'blocked' })).toBe('blocked');
    expect(await a.ping(b, { family, bytes: 4000, expected: 'blocked' })).toBe('blocked');
    expect(await capture.stop()).toEqual([]);
    const dropped = await site().packets({ container: a, reason: 'FRAGMENT_WITHOUT_FIRST' });
    expect(dropped).toBeGreaterThanOrEqual(5 + 2);
  });

  it('"port unreachable" reaches the sender', async () => {
    const [a, b] = await pair();
    expect(await a.dial(b, { family, protocol: 'udp', port: 4444 })).toBe('refused');
    expect(await a.dial(b, { family, protocol: 'tcp', port: 4444 })).toBe('refused');
  });

  it('"port unreachable" of host and outside reaches the sender', async () => {
    const [a] = await pair('none');
    const outside = await site().outside();
    expect(await a.dial(a.gateway(family), { family, protocol: 'udp', port: 4444 })).toBe('refused');
    expect(await a.dial(outside, { family, protocol: 'udp', port: 4444 })).toBe('refused');
    expect(await outside.dial(a, { family, protocol: 'udp', port: 4444 })).toBe('refused');
    expect(await site().host.dial(a, { family, protocol: 'udp', port: 4444 })).toBe('refused');
  });

  it('path MTU discovery: the sender learns of a narrow link beyond the node', async () => {
    const [a] = await pair('none');
    const outside = await site().outside();
    site().host.netns.net.configure('uplink', { mtu: 1400 });
    const to = outside.address(family);
    const args = ['-n', '-c', '1', '-W', '5', '-M', 'do', '-s', '1440', to];
    await expect(a.output('ping', ...args)).rejects.toThrow(/exit code 1/);
    const flag = family === 4 ? '-4' : '-6';
    expect(await a.output('ip', flag, 'route', 'get', to)).toContain('mtu 1400');
  });

  it('the MTU of the network is that of the containers', async () => {
    const [a, b] = await pair('peer', 9000);
    expect(a.netns.net.link('eth0')?.mtu).toBe(9000);
    const flags = ['-M', 'do', '-s', String(family === 4 ? 8972 : 8952)];
    expect(await a.output('ping', '-n', '-c', '1', '-W', '5', ...flags, b.address(family))).toContain(
      '1 received',
    );
    using stream = await a.stream(b, family);
    expect(await stream.transfer(16 << 20)).toBe(true);
  });

  it('networks of different MTU reach each other', async () => {
    await site().network('blue', { isolation_mode: 'mesh', peers: ['red'], options: { mtu: 9000 } });
    await site().network('red', { isolation_mode: 'mesh', peers: ['blue'], options: { mtu: 1400 } });
    const [a, b] = [await site().container('a', 'blue'), await site().container('b', 'red')];
    expect(await unlike('open', family, [a, b], [b, a])).toEqual([]);
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      using stream = await from.stream(to, family);
      expect(await stream.transfer(16 << 20)).toBe(true);
      expect(await from.dial(to, { family, protocol: 'udp', bytes: 8192 })).toBe('open');
    }
  });

  it('a container reaches itself without the node', async () => {
    const [a] = await pair('peer');
    expect(await unlike('open', family, [a, a])).toEqual([]);
  });

  it('SCTP is judged by its port', async () => {
    const [a, b] = await pair();
    await site().rest.apply({
      name: 'sctp',
      spec: { podSelector: {}, ingress: [{ ports: [{ protocol: 'SCTP', port: 38412 }] }] },
    });
    const capture = await b.capture();
    const ip = packet()
      .ethernet({ source: a.endpoint.mac_address, destination: site().gatewayMac(a) })
      .ip({ source: a.address(family), destination: b.address(family) });
    const frames = [ip.sctp({ destinationPort: 38412 }), ip.sctp({ destinationPort: 38413 })];
    await a.sendFrames(frames.map((frame) => frame.bytes()));
    await expect.poll(() => site().packets({ container: a, reason: 'POLICY_INGRESS' })).toBe(1);
    const [protocolAt, transportAt] = family === 4 ? [23, 34] : [20, 54];
    const ports = (await capture.stop())
      .filter(({ bytes }) => bytes[protocolAt] === PROTOCOL.SCTP)
      .map(({ bytes }) => bytes.readUInt16BE(transportAt + 2));
    expect(ports).toEqual([38412]);
  });
});

it('both families use one port at once, as two flows', async () => {
  const [a, b] = await pair();
  const all = await Promise.all(
    FAMILIES.flatMap((family) =>
      Array.from({ length: 20 }, () => a.dial(b, { family, protocol: 'udp', bytes: 3000 })),
    ),
  );
  expect(all.filter((verdict) => verdict !== 'open')).toEqual([]);
});

it('a TCP connection closes in peace, and its port can be used again at once', async () => {
  const [a, b] = await pair();
  const ethernet = packet().ethernet({ source: a.endpoint.mac_address, destination: site().gatewayMac(a) });
  const ip = ethernet.ip({ source: a.address(4), destination: b.address(4) });
  // SYN, RST and SYN again from one port: a new connection, not a remnant of the first.
  const frames = [TCP.SYN, TCP.RST, TCP.SYN].map((flags) => ip.tcp({ flags, sourcePort: 5555, sequence: 7 }));
  const capture = await b.capture();
  await a.sendFrames(frames.map((frame) => frame.bytes()));
  await expect
    .poll(() => site().packets({ container: a, direction: 'egress', reason: 'NONE' }))
    .toBeGreaterThanOrEqual(3);
  // The kernel of a, which knows nothing of this, answers with resets of another sequence.
  const flags = (await capture.stop())
    .filter(({ type, bytes }) => type === 0x0800 && bytes.readUInt32BE(38) === 7)
    .map(({ bytes }) => bytes[47]);
  expect(flags).toEqual([TCP.SYN, TCP.RST, TCP.SYN]);
});
