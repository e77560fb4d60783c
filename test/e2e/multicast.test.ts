/** Multicast and broadcast: off unless the network's options say so, then judged for each receiver, and never beyond. */
import { describe, expect, it } from 'vitest';
import type { Container, Host } from '../support/containers.js';
import type { Lines } from '../support/lines.js';
import { packet } from '../support/packet.js';
import type { NetworkInput } from '../support/rest.js';
import { useSite } from '../support/site.js';

const site = useSite();

const PORT = '5000';
const GROUPS = {
  'IPv4 multicast': '239.1.2.3',
  'IPv6 multicast': 'ff05::1:3',
  broadcast: '255.255.255.255',
} as const;
type Kind = keyof typeof GROUPS;
const KINDS = Object.keys(GROUPS) as Kind[];

/** The reason for which it is dropped where the options do not allow it. */
const reasonOf = (kind: Kind) => (kind === 'broadcast' ? 'BROADCAST' : 'MULTICAST');
const allowing = (kind: Kind): NetworkInput['options'] =>
  kind === 'broadcast' ? { broadcast: true } : { multicast: true };

/** Broadcast to the network: its last address. */
const subnetBroadcast = (container: Container) => container.address(4).replace(/[0-9]+$/, '255');

/** Receivers of a group or broadcast address. A container without broadcast socket listens to everything. */
async function join(hosts: readonly Host[], address: string): Promise<Lines[]> {
  return Promise.all(
    hosts.map((host) =>
      host.start('groups', 'join', host.id === 'host' ? 'lo' : 'eth0', address, PORT).ready(),
    ),
  );
}

function cast(from: Container, address: string, text: string): Promise<string> {
  const route = from.output('ip', 'route', 'replace', '255.255.255.255/32', 'dev', 'eth0');
  return route.then(() => from.cast(address, PORT, text));
}

describe.each(KINDS)('%s', (kind) => {
  const group = GROUPS[kind];

  it('is blocked by default, even where everything else is allowed', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const [a, b] = [await site().container('a', 'blue'), await site().container('b', 'blue')];
    const capture = await b.capture();
    const before = await site().packets({ container: a, reason: reasonOf(kind) });
    for (const address of kind === 'broadcast' ? [group, subnetBroadcast(a)] : [group]) {
      await cast(a, address, 'x');
    }
    await expect.poll(() => site().packets({ container: a, reason: reasonOf(kind) })).toBeGreaterThan(before);
    expect(await capture.stop()).toEqual([]);
  });

  it('reaches every endpoint of the network when its options allow it, and nobody else', async () => {
    await site().network('blue', { isolation_mode: 'none', options: allowing(kind) });
    await site().network('red', { isolation_mode: 'none', options: allowing(kind) });
    const [a, b, c] = [
      await site().container('a', 'blue'),
      await site().container('b', 'blue'),
      await site().container('c', 'blue'),
    ];
    const stranger = await site().container('stranger', 'red');
    const receivers = await join([b, c], group);
    const own = await a.capture();
    const elsewhere = await stranger.capture();
    await cast(a, group, 'hello');
    for (const lines of receivers) {
      expect(await lines.find((line) => line === 'hello', 5000)).toBe('hello');
    }
    expect(await elsewhere.stop()).toEqual([]);
    expect((await own.stop()).filter(({ bytes }) => bytes.includes('hello'))).toEqual([]);
    for (const lines of receivers) expect(lines.all.filter((line) => line === 'hello')).toHaveLength(1);
  });

  it('reaches only those whose policy lets them receive it, and only if the sender may send to them', async () => {
    await site().network('blue', { isolation_mode: 'peer', options: allowing(kind) });
    const make = (id: string) => site().container(id, 'blue', { labels: { app: id } });
    const [a, good, closed, unnamed] = [
      await make('a'),
      await make('good'),
      await make('closed'),
      await make('unnamed'),
    ];
    const selects = (name: string) => ({ podSelector: { matchLabels: { app: name } } });
    await site().rest.apply({
      name: 'egress',
      spec: {
        ...selects('a'),
        policyTypes: ['Egress'],
        egress: [{ to: [selects('good'), selects('closed')] }],
      },
    });
    await site().rest.apply({ name: 'ingress', spec: { ...selects('closed'), ingress: [] } });
    const captures = await Promise.all([closed, unnamed].map((container) => container.capture()));
    const [receiver] = await join([good], group);
    await cast(a, group, 'hello');
    expect(await receiver?.find((line) => line === 'hello', 5000)).toBe('hello');
    for (const capture of captures) expect(await capture.stop()).toEqual([]);
  });

  it('is blocked in mode full whatever the options say', async () => {
    await site().network('blue', { options: allowing(kind) });
    const [a, b] = [await site().container('a', 'blue'), await site().container('b', 'blue')];
    const capture = await b.capture();
    await cast(a, group, 'hello');
    await expect
      .poll(() => site().packets({ container: b, direction: 'ingress', reason: 'POLICY_EGRESS' }))
      .toBeGreaterThan(0);
    expect(await capture.stop()).toEqual([]);
  });
});

it('a group or broadcast address is no source', async () => {
  await site().network('blue', { isolation_mode: 'none', options: { multicast: true, broadcast: true } });
  const [a, b] = [await site().container('a', 'blue'), await site().container('b', 'blue')];
  const capture = await b.capture();
  const frames = ['239.1.2.3', '255.255.255.255', 'ff05::1:3'].map((source) =>
    packet()
      .ethernet({ source: a.endpoint.mac_address, destination: site().gatewayMac(a) })
      .ip({ source, destination: b.address(source.includes(':') ? 6 : 4) })
      .udp()
      .bytes(),
  );
  await a.sendFrames(frames);
  await expect.poll(() => site().packets({ container: a, reason: 'SPOOFED_IP' })).toBe(3);
  expect(await capture.stop()).toEqual([]);
});
