import { ETHERTYPE, linkLayerOption, type Packet, packet } from '../../support/packet.js';
import type { Row } from '../../support/row.js';
import type { Scenario } from '../../support/scenario.js';
import { outgoing } from '../../support/scenario-frames.js';
import { GATEWAY, type TestEndpoint } from '../../support/scenario-parties.js';

const BROADCAST_MAC = 'ff:ff:ff:ff:ff:ff';
const STRANGER = '02:66:66:66:66:66';

const syn = (s: Scenario) => outgoing(s.a, '10.7.0.12').tcp();

function framed(s: Scenario, source: string): Packet {
  return packet().ethernet({ source, destination: s.a.gatewayMac });
}

function arp(s: Scenario, fields: Partial<Parameters<Packet['arp']>[0]> = {}): Packet {
  const { mac, ip4 = '' } = s.a;
  return packet()
    .ethernet({ source: mac, destination: BROADCAST_MAC })
    .arp({ senderMac: mac, senderIp: ip4, targetIp: GATEWAY[4], ...fields });
}

interface Nd {
  sender?: TestEndpoint;
  source?: string;
  destination?: string;
  ttl?: number;
}
function nd(s: Scenario, fields: Partial<Parameters<Packet['neighbour']>[0]> = {}, over: Nd = {}): Packet {
  const { source = s.a.ip6 ?? '', destination = 'ff02::1:ff00:1', ttl = 255 } = over;
  return packet()
    .ethernet({ source: s.a.mac, destination: '33:33:ff:00:00:01' })
    .ip({ source, destination, ttl })
    .neighbour({ target: GATEWAY[6], ...fields });
}

/** Frames, ARP and neighbour discovery that lie about who sends them, or that nobody answers. */
export const ethernetRows: Row[] = [
  { name: 'ethernet-nobodys_interface-UNKNOWN_ENDPOINT', at: (s) => s.spare[0] ?? 0, frame: syn },
  {
    name: 'ethernet-nobodys_interface_inbound-UNKNOWN_ENDPOINT',
    at: (s) => s.spare[0] ?? 0,
    from: () => 0,
    frame: syn,
  },
  {
    name: 'ethernet-vlan-VLAN_TAGGED',
    frame: (s) => framed(s, s.a.mac).vlan().ipv4({ source: '10.7.0.11', destination: '10.7.0.12' }).tcp(),
  },
  {
    name: 'ethernet-vlan_id_0-VLAN_TAGGED',
    frame: (s) =>
      framed(s, s.a.mac)
        .vlan({ id: 0 })
        .arp({ senderMac: s.a.mac, senderIp: '10.7.0.11', targetIp: GATEWAY[4] }),
  },
  {
    name: 'ethernet-qinq-VLAN_TAGGED',
    frame: (s) =>
      framed(s, s.a.mac)
        .vlan({ tag: ETHERTYPE.QINQ })
        .vlan()
        .ipv4({ source: '10.7.0.11', destination: '10.7.0.12' })
        .tcp(),
  },
  {
    name: 'ethernet-vlan_inbound-VLAN_TAGGED',
    from: () => 0,
    frame: (s) =>
      framed(s, s.a.gatewayMac).vlan().ipv4({ source: GATEWAY[4], destination: '10.7.0.11' }).tcp(),
  },
  ...[
    0x0026, 0x05dc, 0x0600, 0x8035, 0x8847, 0x8863, 0x88a2, 0x88cc, 0x88e5, 0x88f7, 0x9100, 0x9200, 0x0000,
    0xffff,
  ].map((type) => ({
    name: `ethernet-type_${type.toString(16)}-UNKNOWN_ETHERTYPE`,
    frame: (s: Scenario) =>
      packet().ethernet({ source: s.a.mac, destination: s.a.gatewayMac, type }).payload(60),
  })),
  {
    name: 'ethernet-arp_inbound-UNKNOWN_ETHERTYPE',
    from: () => 0,
    frame: (s) =>
      packet()
        .ethernet({ source: s.a.gatewayMac, destination: s.a.mac })
        .arp({ senderMac: s.a.gatewayMac, senderIp: GATEWAY[4], targetIp: '10.7.0.11' }),
  },

  ...Object.entries({
    anothers: (s: Scenario) => s.b.mac,
    gateways: (s: Scenario) => s.a.gatewayMac,
    strangers: () => STRANGER,
    zero: () => '00:00:00:00:00:00',
    broadcast: () => BROADCAST_MAC,
    multicast: () => '01:00:5e:00:00:01',
  }).flatMap(([whose, mac]): Row[] => [
    {
      name: `ip4-mac_${whose}-SPOOFED_MAC`,
      frame: (s) => framed(s, mac(s)).ip({ source: '10.7.0.11', destination: '10.7.0.12' }).tcp(),
    },
    {
      name: `ip6-mac_${whose}-SPOOFED_MAC`,
      frame: (s) => framed(s, mac(s)).ip({ source: 'fd00:7::b', destination: 'fd00:7::c' }).tcp(),
    },
    {
      name: `arp-mac_${whose}-SPOOFED_MAC`,
      frame: (s) =>
        framed(s, mac(s)).arp({ senderMac: s.a.mac, senderIp: '10.7.0.11', targetIp: GATEWAY[4] }),
    },
  ]),
  ...[0, 1, 2, 3, 4, 5].map(
    (byte): Row => ({
      name: `ip4-mac_byte_${byte}-SPOOFED_MAC`,
      frame: (s) =>
        syn(s).edit((bytes) => bytes.map((value, at) => (at === 6 + byte ? value ^ 0x80 : value))),
    }),
  ),

  { name: 'arp-request-PASS', frame: (s) => arp(s) },
  { name: 'arp-sender_mac_anothers-SPOOFED_ARP', frame: (s) => arp(s, { senderMac: s.b.mac }) },
  { name: 'arp-sender_mac_gateways-SPOOFED_ARP', frame: (s) => arp(s, { senderMac: s.a.gatewayMac }) },
  { name: 'arp-sender_ip_anothers-SPOOFED_ARP', frame: (s) => arp(s, { senderIp: '10.7.0.12' }) },
  { name: 'arp-sender_ip_gateways-SPOOFED_ARP', frame: (s) => arp(s, { senderIp: GATEWAY[4] }) },
  {
    name: 'arp-gratuitous_for_gateway-SPOOFED_ARP',
    frame: (s) => arp(s, { senderIp: GATEWAY[4], targetIp: GATEWAY[4] }),
  },
  {
    name: 'arp-reply_as_gateway-SPOOFED_ARP',
    frame: (s) => arp(s, { operation: 2, senderIp: GATEWAY[4], targetIp: '10.7.0.12', targetMac: s.b.mac }),
  },
  {
    name: 'arp-reply_with_anothers_mac-SPOOFED_ARP',
    frame: (s) => arp(s, { operation: 2, senderMac: s.b.mac }),
  },
  {
    name: 'arp-probe_with_anothers_mac-SPOOFED_ARP',
    frame: (s) => arp(s, { senderMac: s.b.mac, senderIp: '0.0.0.0' }),
  },
  {
    name: 'arp-honest_reply-ARP_REJECTED',
    frame: (s) => arp(s, { operation: 2, targetIp: '10.7.0.12', targetMac: s.b.mac }),
  },
  { name: 'arp-gratuitous-ARP_REJECTED', frame: (s) => arp(s, { targetIp: '10.7.0.11' }) },
  {
    name: 'arp-probe_for_own-ARP_REJECTED',
    frame: (s) => arp(s, { senderIp: '0.0.0.0', targetIp: '10.7.0.11' }),
  },
  {
    name: 'arp-probe_for_another-ARP_REJECTED',
    frame: (s) => arp(s, { senderIp: '0.0.0.0', targetIp: '10.7.0.12' }),
  },
  { name: 'arp-outside_the_network-ARP_REJECTED', frame: (s) => arp(s, { targetIp: '10.8.0.13' }) },
  { name: 'arp-for_the_world-ARP_REJECTED', frame: (s) => arp(s, { targetIp: '198.18.0.9' }) },
  ...[0, 3, 4, 8, 9, 256, 0xffff].map(
    (operation): Row => ({
      name: `arp-operation_${operation}-ARP_REJECTED`,
      frame: (s) => arp(s, { operation }),
    }),
  ),
  { name: 'arp-hardware_type-TRUNCATED', frame: (s) => arp(s, { hardwareType: 6 }) },
  { name: 'arp-protocol_type-TRUNCATED', frame: (s) => arp(s, { protocolType: ETHERTYPE.IPV6 }) },
  { name: 'arp-hardware_length-TRUNCATED', frame: (s) => arp(s, { hardwareLength: 8 }) },
  { name: 'arp-protocol_length-TRUNCATED', frame: (s) => arp(s, { protocolLength: 16 }) },
  {
    name: 'arp-without_ipv4-ARP_REJECTED',
    before: (s) => s.add({ ...withoutIp4(s.a) }),
    frame: (s) => arp(s),
  },

  { name: 'nd-solicitation-PASS', frame: (s) => nd(s, { options: linkLayerOption(1, s.a.mac) }) },
  {
    name: 'nd-source_mac_anothers-SPOOFED_ND',
    frame: (s) => nd(s, { options: linkLayerOption(1, s.b.mac) }),
  },
  {
    name: 'nd-source_mac_gateways-SPOOFED_ND',
    frame: (s) => nd(s, { options: linkLayerOption(1, s.a.gatewayMac) }),
  },
  {
    name: 'nd-target_mac_anothers-SPOOFED_ND',
    frame: (s) => nd(s, { options: linkLayerOption(2, s.b.mac) }),
  },
  {
    name: 'nd-second_option_lies-SPOOFED_ND',
    frame: (s) => nd(s, { options: [...linkLayerOption(1, s.a.mac), ...linkLayerOption(1, s.b.mac)] }),
  },
  {
    name: 'nd-long_source_mac-SPOOFED_ND',
    frame: (s) => nd(s, { options: [1, 2, 2, 0, 0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0] }),
  },
  { name: 'nd-source_anothers-SPOOFED_ND', frame: (s) => nd(s, {}, { source: 'fd00:7::c' }) },
  { name: 'nd-source_gateways-SPOOFED_ND', frame: (s) => nd(s, {}, { source: GATEWAY[6] }) },
  {
    name: 'nd-source_anothers_link_local-SPOOFED_ND',
    frame: (s) => nd(s, {}, { source: 'fe80::ff:fe00:c' }),
  },
  {
    name: 'nd-advertises_anothers-SPOOFED_ND',
    frame: (s) => nd(s, { type: 136, target: 'fd00:7::c', flags: 0x60 }),
  },
  {
    name: 'nd-advertises_gateway-SPOOFED_ND',
    frame: (s) => nd(s, { type: 136, target: GATEWAY[6], flags: 0xe0, options: linkLayerOption(2, s.a.mac) }),
  },
  {
    name: 'nd-probe_for_anothers-SPOOFED_ND',
    frame: (s) => nd(s, { target: 'fd00:7::c' }, { source: '::' }),
  },
  { name: 'nd-probe_for_own-ND_REJECTED', frame: (s) => nd(s, { target: 'fd00:7::b' }, { source: '::' }) },
  {
    name: 'nd-probe_for_own_link_local-ND_REJECTED',
    frame: (s) => nd(s, { target: 'fe80::ff:fe00:b' }, { source: '::' }),
  },
  { name: 'nd-advertises_own-ND_REJECTED', frame: (s) => nd(s, { type: 136, target: 'fd00:7::b' }) },
  {
    name: 'nd-advertises_own_link_local-ND_REJECTED',
    frame: (s) => nd(s, { type: 136, target: 'fe80::ff:fe00:b' }),
  },
  { name: 'nd-for_own-ND_REJECTED', frame: (s) => nd(s, { target: 'fd00:7::b' }) },
  { name: 'nd-outside_the_network-ND_REJECTED', frame: (s) => nd(s, { target: 'fd00:8::d' }) },
  { name: 'nd-for_link_local-ND_REJECTED', frame: (s) => nd(s, { target: 'fe80::1' }) },
  { name: 'nd-for_multicast-ND_REJECTED', frame: (s) => nd(s, { target: 'ff02::1' }) },
  { name: 'nd-routed-ND_REJECTED', frame: (s) => nd(s, {}, { ttl: 254 }) },
  { name: 'nd-code-ND_REJECTED', frame: (s) => nd(s, { code: 1 }) },
  { name: 'nd-option_of_length_0-TRUNCATED', frame: (s) => nd(s, { options: [1, 0, 0, 0, 0, 0, 0, 0] }) },
  { name: 'nd-option_beyond_the_end-TRUNCATED', frame: (s) => nd(s, { options: [14, 2, 0, 0, 0, 0, 0, 0] }) },
  { name: 'nd-half_an_option-TRUNCATED', frame: (s) => nd(s, { options: [14, 1, 0, 0] }) },
  {
    name: 'nd-four_options-PASS',
    frame: (s) => nd(s, { options: [1, 2, 3, 4].flatMap(() => linkLayerOption(1, s.a.mac)) }),
  },
  {
    name: 'nd-too_many_options-TRUNCATED',
    frame: (s) => nd(s, { options: Array.from({ length: 40 }, () => linkLayerOption(1, s.a.mac)).flat() }),
  },
  {
    name: 'nd-without_target-TRUNCATED',
    frame: (s) => outgoing(s.a, 'ff02::1', { ttl: 255 }).icmpv6({ type: 135, body: [1, 2, 3, 4] }),
  },
  {
    name: 'nd-fragmented-ND_REJECTED',
    frame: (s) =>
      outgoing(s.a, 'fd00:7::1', { ttl: 255 })
        .fragment({ more: true, id: 5 })
        .neighbour({ target: GATEWAY[6] }),
  },
  {
    name: 'nd-behind_atomic_fragment-ND_REJECTED',
    frame: (s) =>
      outgoing(s.a, 'fd00:7::1', { ttl: 255 }).fragment({ id: 5 }).neighbour({ target: GATEWAY[6] }),
  },
  ...[133, 134, 137].flatMap((type): Row[] => [
    {
      name: `nd-type_${type}-ROUTER_ADVERTISEMENT`,
      frame: (s) => outgoing(s.a, 'ff02::2', { ttl: 255 }).icmpv6({ type, body: new Uint8Array(48) }),
    },
    {
      name: `nd-type_${type}_unicast-ROUTER_ADVERTISEMENT`,
      frame: (s) => outgoing(s.a, 'fd00:7::c', { ttl: 255 }).icmpv6({ type, body: new Uint8Array(48) }),
    },
    {
      name: `nd-type_${type}_behind_options-ROUTER_ADVERTISEMENT`,
      frame: (s) =>
        outgoing(s.a, 'fd00:7::c', { ttl: 255 })
          .extension(0)
          .extension(60)
          .icmpv6({ type, body: new Uint8Array(48) }),
    },
    {
      name: `nd-type_${type}_fragmented-ROUTER_ADVERTISEMENT`,
      frame: (s) =>
        outgoing(s.a, 'fd00:7::c', { ttl: 255 })
          .fragment({ more: true })
          .icmpv6({ type, body: new Uint8Array(48) }),
    },
    {
      name: `nd-type_${type}_link_local-ROUTER_ADVERTISEMENT`,
      frame: (s) =>
        packet()
          .ethernet({ source: s.a.mac, destination: '33:33:00:00:00:01' })
          .ip({ source: 'fe80::ff:fe00:b', destination: 'ff02::1', ttl: 255 })
          .icmpv6({ type, body: new Uint8Array(48) }),
    },
  ]),
];

function withoutIp4({ ip4: _, ...endpoint }: TestEndpoint): TestEndpoint {
  return endpoint;
}
