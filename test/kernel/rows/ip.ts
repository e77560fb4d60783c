import { type Packet, packet } from '../../support/packet.js';
import type { Row } from '../../support/row.js';
import type { Scenario } from '../../support/scenario.js';
import { incoming, outgoing } from '../../support/scenario-frames.js';
import {
  addressOf,
  FAMILIES,
  type Family,
  GATEWAY,
  NOBODY,
  NODE,
  type TestEndpoint,
  UPLINK,
  WORLD,
} from '../../support/scenario-parties.js';
import { v4, v6 } from './ip-headers.js';

const A = { 4: '10.7.0.11', 6: 'fd00:7::b' } as const;
const B = { 4: '10.7.0.12', 6: 'fd00:7::c' } as const;

/** With a's MAC, from any address to any. */
function spoofed(s: Scenario, source: string, destination: string): Packet {
  return packet().ethernet({ source: s.a.mac, destination: s.a.gatewayMac }).ip({ source, destination });
}

const FALSE_SOURCES: Record<Family, Record<string, string>> = {
  4: {
    anothers: B[4],
    gateways: GATEWAY[4],
    nobodys: NOBODY[4],
    worlds: WORLD[4],
    nodes: NODE[4],
    unspecified: '0.0.0.0',
    loopback: '127.0.0.1',
    broadcast: '255.255.255.255',
    multicast: '224.0.0.1',
    other_networks: '10.8.0.13',
  },
  6: {
    anothers: B[6],
    gateways: GATEWAY[6],
    nobodys: NOBODY[6],
    worlds: WORLD[6],
    nodes: NODE[6],
    unspecified: '::',
    loopback: '::1',
    multicast: 'ff02::1',
    other_networks: 'fd00:8::d',
    own_link_local: 'fe80::ff:fe00:b',
    anothers_link_local: 'fe80::ff:fe00:c',
    compatible: '::a07:b',
  },
};

/** Addresses that are no destination, or not for this sender. */
const DESTINATIONS: Record<Family, Record<string, [string, string]>> = {
  4: {
    loopback: ['127.0.0.1', 'BAD_DESTINATION'],
    loopback_net: ['127.255.255.254', 'BAD_DESTINATION'],
    unspecified: ['0.0.0.0', 'BAD_DESTINATION'],
    this_net: ['0.1.2.3', 'BAD_DESTINATION'],
    reserved: ['240.0.0.1', 'BAD_DESTINATION'],
    almost_broadcast: ['255.255.255.254', 'BAD_DESTINATION'],
    multicast: ['224.0.0.251', 'MULTICAST'],
    multicast_end: ['239.255.255.255', 'MULTICAST'],
    broadcast: ['255.255.255.255', 'BROADCAST'],
    subnet_broadcast: ['10.7.0.255', 'BROADCAST'],
    subnet_base: ['10.7.0.0', 'BROADCAST'],
    nobody: [NOBODY[4], 'NO_SUCH_ENDPOINT'],
    nobody_elsewhere: ['10.8.0.99', 'NO_SUCH_ENDPOINT'],
    other_subnet_broadcast: ['10.8.0.255', 'NO_SUCH_ENDPOINT'],
  },
  6: {
    loopback: ['::1', 'BAD_DESTINATION'],
    unspecified: ['::', 'BAD_DESTINATION'],
    compatible: ['::a07:c', 'BAD_DESTINATION'],
    link_local: ['fe80::1', 'BAD_DESTINATION'],
    link_local_end: ['febf::1', 'BAD_DESTINATION'],
    multicast: ['ff02::fb', 'MULTICAST'],
    multicast_global: ['ff0e::1', 'MULTICAST'],
    multicast_node: ['ff01::1', 'MULTICAST'],
    nobody: [NOBODY[6], 'NO_SUCH_ENDPOINT'],
    nobody_elsewhere: ['fd00:8::99', 'NO_SUCH_ENDPOINT'],
  },
};

const SOURCES_FROM_OUTSIDE = {
  ...FALSE_SOURCES[4],
  ...Object.fromEntries(Object.entries(FALSE_SOURCES[6]).map(([name, address]) => [`${name}_6`, address])),
};

/** Who sends to whom, and the lengths that IP headers claim. */
export const ipRows: Row[] = [
  ...FAMILIES.flatMap((family): Row[] => [
    { name: `ip${family}-honest-PASS`, frame: (s) => outgoing(s.a, B[family]).tcp() },
    { name: `ip${family}-padded-PASS`, frame: (s) => outgoing(s.a, B[family]).tcp().pad(6) },
    ...Object.entries(FALSE_SOURCES[family]).map(
      ([whose, source]): Row => ({
        name: `ip${family}-source_${whose}-SPOOFED_IP`,
        frame: (s) => spoofed(s, source, B[family]).tcp(),
      }),
    ),
    {
      name: `ip${family}-source_anothers_to_world-SPOOFED_IP`,
      frame: (s) => spoofed(s, B[family], WORLD[family]).udp(),
    },
    {
      name: `ip${family}-source_anothers_reply-SPOOFED_IP`,
      before: (s) => void s.send(s.b, outgoing(s.b, addressOf(s.c, family)).udp()),
      at: (s) => s.a,
      frame: (s) =>
        spoofed(s, addressOf(s.c, family), B[family]).udp({ sourcePort: 53, destinationPort: 40000 }),
    },
    {
      name: `ip${family}-endpoint_without_it-SPOOFED_IP`,
      before: (s) => s.add(without(s.a, family)),
      frame: (s) => outgoing(s.a, B[family]).tcp(),
    },
    {
      name: `ip${family}-endpoint_without_it_unspecified-SPOOFED_IP`,
      before: (s) => s.add(without(s.a, family)),
      frame: (s) => spoofed(s, family === 4 ? '0.0.0.0' : '::', B[family]).tcp(),
    },
    ...Object.entries(DESTINATIONS[family]).map(
      ([name, [destination, reason]]): Row => ({
        name: `ip${family}-to_${name}-${reason}`,
        frame: (s) => outgoing(s.a, destination).udp(),
      }),
    ),
    { name: `ip${family}-ttl_0-MALFORMED_IP`, frame: (s) => outgoing(s.a, B[family], { ttl: 0 }).tcp() },
    { name: `ip${family}-ttl_1-PASS`, frame: (s) => outgoing(s.a, B[family], { ttl: 1 }).tcp() },
    {
      name: `ip${family}-claims_one_more_byte-TRUNCATED`,
      frame: (s) => (family === 4 ? v4(s, { totalLength: 41 }).tcp() : v6(s, { payloadLength: 21 }).tcp()),
    },
    {
      name: `ip${family}-claims_65535-TRUNCATED`,
      frame: (s) =>
        family === 4 ? v4(s, { totalLength: 65535 }).tcp() : v6(s, { payloadLength: 65535 }).tcp(),
    },
    {
      name: `ip${family}-claims_less_than_tcp-TRUNCATED`,
      frame: (s) => (family === 4 ? v4(s, { totalLength: 39 }).tcp() : v6(s, { payloadLength: 19 }).tcp()),
    },
    {
      name: `ip${family}-claims_less_than_udp-TRUNCATED`,
      frame: (s) => (family === 4 ? v4(s, { totalLength: 27 }).udp() : v6(s, { payloadLength: 7 }).udp()),
    },
    ...[0, 5, 7, 15].map(
      (version): Row => ({
        name: `ip${family}-version_${version}-MALFORMED_IP`,
        frame: (s) => (family === 4 ? v4(s, { version }).tcp() : v6(s, { version }).tcp()),
      }),
    ),
    {
      name: `ip${family}-other_family_inside-MALFORMED_IP`,
      frame: (s) =>
        packet()
          .ethernet({ source: s.a.mac, destination: s.a.gatewayMac, type: family === 4 ? 0x0800 : 0x86dd })
          .ip({ source: A[family === 4 ? 6 : 4], destination: B[family === 4 ? 6 : 4] })
          .tcp(),
    },
    {
      name: `ip${family}-inbound_not_for_it-NOT_FOR_ENDPOINT`,
      from: () => 0,
      frame: (s) =>
        packet()
          .ethernet({ source: s.a.gatewayMac, destination: s.a.mac })
          .ip({ source: GATEWAY[family], destination: B[family] })
          .tcp(),
    },
    {
      name: `ip${family}-inbound_for_nobody-NOT_FOR_ENDPOINT`,
      from: () => UPLINK,
      frame: (s) =>
        packet()
          .ethernet({ source: s.a.gatewayMac, destination: s.a.mac })
          .ip({ source: WORLD[family], destination: NOBODY[family] })
          .tcp(),
    },
    {
      name: `ip${family}-inbound_to_link_broadcast-${family === 4 ? 'BROADCAST' : 'MULTICAST'}`,
      from: () => UPLINK,
      frame: (s) =>
        packet()
          .ethernet({ source: s.a.gatewayMac, destination: s.a.mac })
          .ip({ source: WORLD[family], destination: family === 4 ? '255.255.255.255' : 'ff02::1' })
          .udp(),
    },
    {
      name: `ip${family}-inbound_to_multicast_from_outside-NOT_FOR_ENDPOINT`,
      from: () => UPLINK,
      before: (s) => s.add({ ...s.a, flags: 3 }),
      frame: (s) =>
        packet()
          .ethernet({ source: s.a.gatewayMac, destination: s.a.mac })
          .ip({ source: WORLD[family], destination: family === 4 ? '224.0.0.251' : 'ff02::fb' })
          .udp(),
    },
    {
      name: `ip${family}-inbound_to_unspecified-BAD_DESTINATION`,
      from: () => UPLINK,
      before: (s) => s.add(without(s.a, family)),
      frame: (s) =>
        packet()
          .ethernet({ source: s.a.gatewayMac, destination: s.a.mac })
          .ip({ source: WORLD[family], destination: family === 4 ? '0.0.0.0' : '::' })
          .tcp(),
    },
    {
      name: `ip${family}-from_outside_own-BAD_SOURCE`,
      from: () => UPLINK,
      frame: (s) => incoming(s.a, A[family]).tcp(),
    },
    {
      name: `ip${family}-from_world-PASS`,
      from: () => UPLINK,
      frame: (s) => incoming(s.a, WORLD[family]).tcp(),
    },
    { name: `ip${family}-from_node-PASS`, from: () => 0, frame: (s) => incoming(s.a, NODE[family]).tcp() },
    {
      name: `ip${family}-from_gateway-PASS`,
      from: () => 0,
      frame: (s) => incoming(s.a, GATEWAY[family]).tcp(),
    },
  ]),
  ...Object.entries(SOURCES_FROM_OUTSIDE).flatMap(([whose, source]): Row[] =>
    whose.startsWith('worlds')
      ? []
      : [
          {
            name: `ip${source.includes(':') ? 6 : 4}-from_outside_${whose.replace('_6', '')}-BAD_SOURCE`,
            from: () => UPLINK,
            frame: (s) => incoming(s.a, source).tcp(),
          },
        ],
  ),
];

/** The endpoint with only the other family. */
function without({ ip4, ip6, linkLocal, ...rest }: TestEndpoint, family: Family): TestEndpoint {
  if (family === 4) return { ...rest, ...(ip6 ? { ip6 } : {}), ...(linkLocal ? { linkLocal } : {}) };
  return { ...rest, ...(ip4 ? { ip4 } : {}) };
}
