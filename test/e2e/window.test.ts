/** No window: neither before, nor while, nor after an interface is made or taken away does a packet slip through. */
import { describe, expect, it } from 'vitest';
import { gatewayMac } from '../../src/bridge/mac.js';
import type { Network } from '../../src/model/network.js';
import type { Capture, Frame } from '../support/capture.js';
import { type Container, FAMILIES, type Family, lastWords, unlike } from '../support/containers.js';
import { packet } from '../support/packet.js';
import { useSite } from '../support/site.js';

const site = useSite();

const ROUNDS = 5;
const ATTACKER_MAC = '06:00:00:00:00:66';

/** The n-th address of the network's range. */
function addressOf(network: Network, family: Family, n: number): string {
  return family === 4
    ? `${network.cidr?.replace(/0\/24$/, '')}${n}`
    : `${network.cidr6?.replace('/64', '')}${n}`;
}

const addresses = (network: Network, n: number) => ({
  ip_address: addressOf(network, 4, n),
  ip6_address: addressOf(network, 6, n),
});

/** Frames that would be right if they were allowed, to whatever MAC address might work. */
function framesTo(network: Network, victim: Container | undefined, family: Family): string[] {
  const source = addressOf(network, family, 66);
  const destination = addressOf(network, family, 10);
  const macs = [
    gatewayMac(network.id),
    victim?.endpoint.mac_address ?? '06:00:00:00:00:10',
    'ff:ff:ff:ff:ff:ff',
  ];
  return macs.flatMap((mac) => {
    const ip = packet().ethernet({ source: ATTACKER_MAC, destination: mac }).ip({ source, destination });
    const frames = [ip.udp({ destinationPort: 53 }).payload(32), ip.tcp({ destinationPort: 80 })];
    return frames.map((frame) => Buffer.from(frame.bytes()).toString('hex'));
  });
}

async function storm(attacker: Container, network: Network, victim: Container | undefined, family: Family) {
  const target = addressOf(network, family, 10);
  return Promise.all([
    attacker.start('hostile', 'frames', 'eth0', ...framesTo(network, victim, family)).ready(),
    attacker.start('hostile', 'sockets', target, '53').ready(),
    attacker.start('hostile', 'sockets', target, '80').ready(),
  ]);
}

/** What of the captured frames another container can have sent. */
async function strangers(capture: Capture): Promise<Frame[]> {
  return (await capture.stop()).filter(({ type }) => type === 0x0800 || type === 0x86dd);
}

describe.each(FAMILIES)('in a network of mode full, IPv%i:', (family) => {
  it('a container that sends from before it has an interface until it has none reaches nobody', async () => {
    const network = await site().network('blue');
    const victim = await site().container('victim', 'blue', addresses(network, 10));
    const capture = await victim.capture();
    const attacker = site().bare('attacker');
    await site().host.serve('udp:53');
    const storms = await storm(attacker, network, victim, family);
    for (let round = 0; round < ROUNDS; round++) {
      await attacker.connect('blue', { mac_address: ATTACKER_MAC, ...addresses(network, 66) });
      await expect
        .poll(() => site().packets({ container: attacker, reason: 'POLICY_EGRESS' }))
        .toBeGreaterThan(200);
      await attacker.disconnect();
    }
    for (const one of storms) expect(await lastWords(one)).toMatch(/^[0-9]{3,}$/);
    expect(await strangers(capture)).toEqual([]);
  });

  it('a container that is connected under fire receives nothing, from its first moment to its last', async () => {
    const network = await site().network('blue');
    const attacker = site().bare('attacker');
    await attacker.connect('blue', { mac_address: ATTACKER_MAC, ...addresses(network, 66) });
    const victim = site().bare('victim');
    const capture = await victim.capture();
    await victim.serve('udp:53', 'tcp:80');
    const storms = await storm(attacker, network, undefined, family);
    const fromHost = site().host.start('hostile', 'sockets', addressOf(network, family, 10), '53');
    storms.push(await fromHost.ready());
    for (let round = 0; round < ROUNDS; round++) {
      const before = await site().packets({
        container: attacker,
        direction: 'egress',
        reason: 'POLICY_EGRESS',
      });
      await victim.connect('blue', { mac_address: '06:00:00:00:00:10', ...addresses(network, 10) });
      await expect
        .poll(() => site().packets({ container: attacker, direction: 'egress', reason: 'POLICY_EGRESS' }))
        .toBeGreaterThan(before + 200);
      await expect
        .poll(() => site().packets({ container: victim, direction: 'ingress', reason: 'POLICY_INGRESS' }))
        .toBeGreaterThan(200);
      await victim.disconnect();
    }
    for (const one of storms) expect(await lastWords(one)).toMatch(/^[0-9]{3,}$/);
    expect(await strangers(capture)).toEqual([]);
  });

  it('a container that sets its interface up by itself gains nothing', async () => {
    const network = await site().network('blue');
    const victim = await site().container('victim', 'blue', addresses(network, 10));
    const capture = await victim.capture();
    const attacker = site().bare('attacker');
    // It takes the interface up, gives itself its future address and routes, again and again.
    const script = `while :; do
      ip link set eth0 up; ip addr add ${addressOf(network, family, 66)}/${family === 4 ? 24 : 64} dev eth0 nodad
    done 2>/dev/null`;
    attacker.netns.spawn('sh', ['-c', script.replace('nodad', family === 4 ? '' : 'nodad')]);
    const storms = await storm(attacker, network, victim, family);
    for (let round = 0; round < ROUNDS; round++) {
      const path = `/networks/blue/containers`;
      const answer = await site().rest.call('POST', path, {
        container_id: 'attacker',
        netns_path: attacker.netns.path,
        mac_address: ATTACKER_MAC,
        ...addresses(network, 66),
      });
      // Its own doing may make the call fail, and then nothing of it may stay.
      expect([201, 409, 500]).toContain(answer.status);
      if (answer.status === 201) await site().rest.disconnect('blue', 'attacker');
      expect(attacker.netns.net.link('eth0')).toBeUndefined();
    }
    for (const one of storms) await lastWords(one);
    expect(await strangers(capture)).toEqual([]);
  });
});

describe.each(FAMILIES)('in a network of mode peer, IPv%i:', (family) => {
  it('whoever may talk can do so as soon as the call has returned: no packet is lost', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const a = await site().container('a', 'blue');
    for (let round = 0; round < ROUNDS; round++) {
      const b = site().bare(`b-${round}`);
      await b.serve('tcp:80', 'udp:53');
      await b.connect('blue');
      // One datagram each way, which nobody repeats, is what makes this a proof.
      expect(await unlike('open', family, [a, b], [b, a], [site().host, b])).toEqual([]);
    }
  });

  it('relabelling lets the next packet through', async () => {
    await site().network('blue');
    const [a, b] = [await site().container('a', 'blue'), await site().container('b', 'blue')];
    await site().rest.apply({
      name: 'friends',
      spec: {
        podSelector: { matchLabels: { friend: 'yes' } },
        policyTypes: ['Ingress', 'Egress'],
        ingress: [{ from: [{ podSelector: { matchLabels: { friend: 'yes' } } }] }],
        egress: [{ to: [{ podSelector: { matchLabels: { friend: 'yes' } } }] }],
      },
    });
    for (let round = 0; round < ROUNDS; round++) {
      await Promise.all([a, b].map((one) => one.relabel({ labels: { friend: 'yes' } })));
      expect(await unlike('open', family, [a, b])).toEqual([]);
      await b.relabel({ labels: {} });
      expect(await unlike('blocked', family, [a, b], [b, a])).toEqual([]);
    }
  });
});
