/**
 * Identity is proved, not claimed: frames that a container with every right inside of its namespace makes by hand.
 * The network allows everything, so that nothing but the proof of who sent it is in the way.
 */
import { describe, expect, it } from 'vitest';
import { gatewayMac } from '../../src/bridge/mac.js';
import type { Container } from '../support/containers.js';
import { linkLayerOption, type Packet, PROTOCOL, packet, TCP } from '../support/packet.js';
import { useSite } from '../support/site.js';

const site = useSite();

/** Addresses of who is there. */
interface Scene {
  attacker: Container;
  victim: Container;
  bystander: Container;
  gateway: string;
  mac: Record<'attacker' | 'victim' | 'bystander' | 'gateway', string>;
  v4: Record<'attacker' | 'victim' | 'bystander' | 'gateway', string>;
  v6: Record<'attacker' | 'victim' | 'bystander' | 'gateway', string>;
}

async function scene(): Promise<Scene> {
  const network = await site().network('blue', {
    isolation_mode: 'none',
    options: { multicast: false, broadcast: false },
  });
  const [attacker, victim, bystander] = [
    await site().container('attacker', 'blue'),
    await site().container('victim', 'blue'),
    await site().container('bystander', 'blue'),
  ];
  const gateway = gatewayMac(network.id);
  const all = { attacker, victim, bystander };
  const map = <T>(of: (container: Container) => T) =>
    Object.fromEntries(Object.entries(all).map(([name, container]) => [name, of(container)])) as Record<
      keyof typeof all,
      T
    >;
  return {
    ...all,
    gateway,
    mac: { ...map(({ endpoint }) => endpoint.mac_address), gateway },
    v4: { ...map((container) => container.address(4)), gateway: attacker.gateway(4) },
    v6: { ...map((container) => container.address(6)), gateway: attacker.gateway(6) },
  };
}

/** A frame of the attacker but for its payload; `destination` is a MAC address. */
type Build = (scene: Scene, ethernet: Packet) => Packet;

const udp = (ip: Packet) => ip.udp({ destinationPort: 53 }).payload(16);
const fromTo = (source: string, destination: string) => (ethernet: Packet) =>
  udp(ethernet.ip({ source, destination }));
const own4: Build = ({ v4 }, ethernet) => ethernet.ip({ source: v4.attacker, destination: v4.victim });
const own6: Build = ({ v6 }, ethernet) => ethernet.ip({ source: v6.attacker, destination: v6.victim });
/** Neighbour and router discovery must not have passed a router. */
const discovery: Build = ({ v6 }, ethernet) =>
  ethernet.ip({ source: v6.attacker, destination: v6.victim, ttl: 255 });

const ROWS: [what: string, reason: string, build: Build][] = [
  ["another's IPv4 address", 'SPOOFED_IP', ({ v4 }, e) => fromTo(v4.bystander, v4.victim)(e)],
  ["another's IPv6 address", 'SPOOFED_IP', ({ v6 }, e) => fromTo(v6.bystander, v6.victim)(e)],
  ["the victim's own IPv4 address", 'SPOOFED_IP', ({ v4 }, e) => fromTo(v4.victim, v4.victim)(e)],
  ["the victim's own IPv6 address", 'SPOOFED_IP', ({ v6 }, e) => fromTo(v6.victim, v6.victim)(e)],
  ["the gateway's IPv4 address", 'SPOOFED_IP', ({ v4 }, e) => fromTo(v4.gateway, v4.victim)(e)],
  ["the gateway's IPv6 address", 'SPOOFED_IP', ({ v6 }, e) => fromTo(v6.gateway, v6.victim)(e)],
  ['an IPv4 address of the outside', 'SPOOFED_IP', ({ v4 }, e) => fromTo('198.18.0.9', v4.victim)(e)],
  ['an IPv6 address of the outside', 'SPOOFED_IP', ({ v6 }, e) => fromTo('fd00:198::9', v6.victim)(e)],
  ['no IPv4 address', 'SPOOFED_IP', ({ v4 }, e) => fromTo('0.0.0.0', v4.victim)(e)],
  ['no IPv6 address', 'SPOOFED_IP', ({ v6 }, e) => fromTo('::', v6.victim)(e)],
  ['the IPv4 loopback address', 'SPOOFED_IP', ({ v4 }, e) => fromTo('127.0.0.1', v4.victim)(e)],
  ['the IPv6 loopback address', 'SPOOFED_IP', ({ v6 }, e) => fromTo('::1', v6.victim)(e)],
  ['an IPv4-mapped IPv6 address', 'MALFORMED_IP', ({ v6 }, e) => fromTo('::ffff:10.60.1.9', v6.victim)(e)],
  ['a link-local address as unicast', 'SPOOFED_IP', ({ v6 }, e) => fromTo('fe80::1', v6.victim)(e)],

  ['a VLAN tag', 'VLAN_TAGGED', (s, e) => udp(own4(s, e.vlan({ id: 7 })))],
  ['a VLAN tag of priority alone', 'VLAN_TAGGED', (s, e) => udp(own6(s, e.vlan({ id: 0 })))],
  ['two VLAN tags', 'VLAN_TAGGED', (s, e) => udp(own4(s, e.vlan({ tag: 0x88a8 }).vlan({ id: 7 })))],

  [
    "ARP that gives another's address",
    'SPOOFED_ARP',
    ({ mac, v4 }, e) =>
      e.arp({ operation: 2, senderMac: mac.attacker, senderIp: v4.bystander, targetIp: v4.victim }),
  ],
  [
    "ARP that gives the gateway's address",
    'SPOOFED_ARP',
    ({ mac, v4 }, e) =>
      e.arp({ operation: 2, senderMac: mac.attacker, senderIp: v4.gateway, targetIp: v4.victim }),
  ],
  [
    "ARP that asks in another's name",
    'SPOOFED_ARP',
    ({ mac, v4 }, e) => e.arp({ senderMac: mac.attacker, senderIp: v4.bystander, targetIp: v4.victim }),
  ],
  [
    "ARP with another's MAC address inside",
    'SPOOFED_ARP',
    ({ mac, v4 }, e) => e.arp({ senderMac: mac.bystander, senderIp: v4.attacker, targetIp: v4.victim }),
  ],
  [
    'an ARP reply that nobody asked for',
    'ARP_REJECTED',
    ({ mac, v4 }, e) =>
      e.arp({ operation: 2, senderMac: mac.attacker, senderIp: v4.attacker, targetIp: v4.victim }),
  ],
  [
    'gratuitous ARP',
    'ARP_REJECTED',
    ({ mac, v4 }, e) => e.arp({ senderMac: mac.attacker, senderIp: v4.attacker, targetIp: v4.attacker }),
  ],
  [
    "a neighbour advertisement of another's address",
    'SPOOFED_ND',
    (s, e) =>
      discovery(s, e).neighbour({
        type: 136,
        flags: 0x20,
        target: s.v6.bystander,
        options: linkLayerOption(2, s.mac.attacker),
      }),
  ],
  [
    "a neighbour advertisement of the gateway's address",
    'SPOOFED_ND',
    (s, e) =>
      discovery(s, e).neighbour({
        type: 136,
        flags: 0xa0,
        target: s.v6.gateway,
        options: linkLayerOption(2, s.mac.attacker),
      }),
  ],
  [
    "a neighbour solicitation with another's MAC address",
    'SPOOFED_ND',
    (s, e) =>
      discovery(s, e).neighbour({ target: s.v6.victim, options: linkLayerOption(1, s.mac.bystander) }),
  ],
  [
    'a probe for an address of another',
    'SPOOFED_ND',
    (s, e) =>
      e.ip({ source: '::', destination: 'ff02::1:ff00:3', ttl: 255 }).neighbour({ target: s.v6.victim }),
  ],
  [
    'a router advertisement',
    'ROUTER_ADVERTISEMENT',
    (s, e) => discovery(s, e).icmpv6({ type: 134 }).payload(16),
  ],
  [
    'a router advertisement to everybody',
    'ROUTER_ADVERTISEMENT',
    (s, e) =>
      e.ip({ source: s.v6.attacker, destination: 'ff02::1', ttl: 255 }).icmpv6({ type: 134 }).payload(16),
  ],
  ['a router solicitation', 'ROUTER_ADVERTISEMENT', (s, e) => discovery(s, e).icmpv6({ type: 133 })],
  ['an IPv6 redirect', 'ROUTER_ADVERTISEMENT', (s, e) => discovery(s, e).icmpv6({ type: 137 }).payload(32)],
  ['an IPv4 redirect', 'ROUTER_ADVERTISEMENT', (s, e) => own4(s, e).icmp({ type: 5, code: 1 }).payload(28)],
  ['an IPv4 router advertisement', 'ROUTER_ADVERTISEMENT', (s, e) => own4(s, e).icmp({ type: 9 }).payload(8)],
  [
    'an answer of a DHCP server',
    'DHCP_FROM_CONTAINER',
    (s, e) => own4(s, e).udp({ sourcePort: 67, destinationPort: 68 }).payload(240),
  ],
  [
    'a DHCP request to everybody',
    'DHCP_FROM_CONTAINER',
    (_, e) =>
      e
        .ip({ source: '0.0.0.0', destination: '255.255.255.255' })
        .udp({ sourcePort: 68, destinationPort: 67 })
        .payload(240),
  ],
  [
    'an answer of a DHCPv6 server',
    'DHCP_FROM_CONTAINER',
    (s, e) => own6(s, e).udp({ sourcePort: 547, destinationPort: 546 }).payload(64),
  ],
  ['an unknown protocol over Ethernet', 'UNKNOWN_ETHERTYPE', (_, e) => e.payload(64)],
  [
    'an IPv4 source route',
    'SOURCE_ROUTED',
    ({ v4 }, e) =>
      udp(
        e.ipv4({
          source: v4.attacker,
          destination: v4.victim,
          options: [131, 7, 4, 10, 60, 1, 9],
        }),
      ),
  ],
  ['an IPv6 routing header', 'SOURCE_ROUTED', (s, e) => udp(own6(s, e).extension(PROTOCOL.ROUTING))],
  ['IPv4 inside IPv4', 'UNKNOWN_PROTOCOL', (s, e) => udp(own4(s, own4(s, e)))],
  ['IPv6 inside IPv6', 'UNKNOWN_PROTOCOL', (s, e) => udp(own6(s, own6(s, e)))],
  [
    'TCP of no connection',
    'NO_CONNECTION',
    (s, e) => own4(s, e).tcp({ flags: TCP.ACK, destinationPort: 80 }),
  ],
  [
    'a TCP reset of no connection',
    'NO_CONNECTION',
    (s, e) => own6(s, e).tcp({ flags: TCP.RST, destinationPort: 80 }),
  ],
  [
    'an ICMP error about no connection',
    'ICMP_UNRELATED',
    (s, e) =>
      own4(s, e).icmp({ type: 3, code: 3 }).payload(fromTo(s.v4.victim, s.v4.attacker)(packet()).bytes()),
  ],
  [
    'an ICMP error about a connection of others',
    'ICMP_UNRELATED',
    (s, e) =>
      own4(s, e).icmp({ type: 3, code: 4 }).payload(fromTo(s.v4.victim, s.v4.bystander)(packet()).bytes()),
  ],
  [
    'a fragment of no datagram',
    'FRAGMENT_WITHOUT_FIRST',
    (s, e) =>
      e
        .ipv4({ source: s.v4.attacker, destination: s.v4.victim, fragmentOffset: 1480, protocol: 17 })
        .payload(64),
  ],
];

describe('the victim never sees, and the reason is counted:', () => {
  it.each(ROWS)('%s (%s)', async (_, reason, build) => {
    const all = await scene();
    const { attacker, victim, bystander, mac } = all;
    const captures = [await victim.capture(), await bystander.capture()];
    const frames = [mac.gateway, mac.victim, 'ff:ff:ff:ff:ff:ff'].map((destination) =>
      build(all, packet().ethernet({ source: mac.attacker, destination })).bytes(),
    );
    await attacker.sendFrames(frames);
    await expect.poll(() => site().packets({ container: attacker, reason })).toBe(frames.length);
    for (const capture of captures) expect(await capture.stop()).toEqual([]);
    for (const kind of ['egress', 'ingress'] as const) {
      expect(await site().packets({ container: attacker, direction: kind, reason: 'NONE' })).toBe(0);
    }
  });

  it.each(['bystander', 'gateway', 'victim'] as const)(
    'the MAC address of the %s (SPOOFED_MAC)',
    async (who) => {
      const all = await scene();
      const { attacker, victim, mac, v4, v6 } = all;
      const capture = await victim.capture();
      const ethernet = packet().ethernet({ source: mac[who], destination: mac.gateway });
      const frames = [
        fromTo(v4.attacker, v4.victim)(ethernet),
        fromTo(v6.attacker, v6.victim)(ethernet),
        ethernet.arp({ senderMac: mac[who], senderIp: v4.attacker, targetIp: v4.victim }),
      ].map((frame) => frame.bytes());
      await attacker.sendFrames(frames);
      await expect
        .poll(() => site().packets({ container: attacker, reason: 'SPOOFED_MAC' }))
        .toBe(frames.length);
      expect(await capture.stop()).toEqual([]);
    },
  );

  it('but for what is honest: the same frames without the lie arrive', async () => {
    const all = await scene();
    const { attacker, victim, mac } = all;
    const capture = await victim.capture();
    const ethernet = packet().ethernet({ source: mac.attacker, destination: mac.gateway });
    await attacker.sendFrames(
      [udp(own4(all, ethernet)), udp(own6(all, ethernet))].map((frame) => frame.bytes()),
    );
    await expect
      .poll(() => site().packets({ container: attacker, direction: 'egress', reason: 'NONE' }))
      .toBeGreaterThanOrEqual(2);
    const isUdp = (bytes: Buffer) => bytes[bytes[12] === 0x08 ? 23 : 20] === PROTOCOL.UDP;
    const frames = (await capture.stop()).filter(({ bytes }) => isUdp(bytes));
    expect(frames.map(({ type }) => type)).toEqual([0x0800, 0x86dd]);
    for (const { sourceMac, destinationMac } of frames) {
      expect({ sourceMac, destinationMac }).toEqual({ sourceMac: mac.gateway, destinationMac: mac.victim });
    }
  });
});

it('nobody can break into a connection of others', async () => {
  const { attacker, victim, bystander, mac, v4 } = await scene();
  using stream = await bystander.stream(victim, 4);
  expect(await stream.echoes()).toBe(true);
  const ethernet = packet().ethernet({ source: mac.attacker, destination: mac.gateway });
  const resets: Uint8Array[] = [];
  for (let port = 32768; port < 33768; port++) {
    const reset = ethernet
      .ip({ source: v4.bystander, destination: v4.victim })
      .tcp({ flags: TCP.RST, sourcePort: port, destinationPort: 80 });
    resets.push(reset.bytes());
  }
  await attacker.sendFrames(resets);
  await expect.poll(() => site().packets({ container: attacker, reason: 'SPOOFED_IP' })).toBe(resets.length);
  expect(await stream.echoes()).toBe(true);
});
