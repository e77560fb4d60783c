import { type Packet, packet, TCP } from '../../support/packet.js';
import type { Row } from '../../support/row.js';
import type { Scenario } from '../../support/scenario.js';
import { incoming, outgoing } from '../../support/scenario-frames.js';
import { UPLINK, WORLD } from '../../support/scenario-parties.js';

const A = { 4: '10.7.0.11', 6: 'fd00:7::b' } as const;
const B = { 4: '10.7.0.12', 6: 'fd00:7::c' } as const;

/** From a to b, with any field. */
export const v4 = (s: Scenario, fields: Partial<Parameters<Packet['ipv4']>[0]> = {}) =>
  packet()
    .ethernet({ source: s.a.mac, destination: s.a.gatewayMac })
    .ipv4({ source: A[4], destination: B[4], ...fields });
export const v6 = (s: Scenario, fields: Partial<Parameters<Packet['ipv6']>[0]> = {}) =>
  packet()
    .ethernet({ source: s.a.mac, destination: s.a.gatewayMac })
    .ipv6({ source: A[6], destination: B[6], ...fields });

const IP4_OPTIONS: [string, number[], string][] = [
  ['lsrr', [131, 7, 4, 10, 8, 0, 13], 'SOURCE_ROUTED'],
  ['ssrr', [137, 7, 4, 10, 8, 0, 13], 'SOURCE_ROUTED'],
  ['lsrr_behind_nops', [1, 1, 1, 131, 7, 4, 10, 8, 0, 13], 'SOURCE_ROUTED'],
  ['ssrr_behind_timestamp', [68, 8, 5, 0, 0, 0, 0, 0, 137, 3, 4], 'SOURCE_ROUTED'],
  ['lsrr_in_last_byte', [...new Array(39).fill(1), 131], 'SOURCE_ROUTED'],
  ['length_0', [7, 0], 'MALFORMED_IP'],
  ['length_1', [7, 1], 'MALFORMED_IP'],
  ['beyond_the_header', [7, 9, 4, 0], 'MALFORMED_IP'],
  ['type_in_last_byte', [1, 1, 1, 7], 'MALFORMED_IP'],
  ['record_route', [7, 7, 4, 0, 0, 0, 0], 'PASS'],
  ['nops', new Array(40).fill(1), 'PASS'],
  ['end', [0, 131, 7, 4], 'PASS'],
  ['router_alert', [148, 4, 0, 0], 'PASS'],
];

/** Options and protocols of IPv4, extension headers of IPv6. */
export const ipHeaderRows: Row[] = [
  ...[0, 1, 4].map(
    (headerLength): Row => ({
      name: `ip4-ihl_${headerLength}-MALFORMED_IP`,
      frame: (s) => v4(s, { headerLength }).tcp(),
    }),
  ),
  { name: 'ip4-ihl_beyond_total-MALFORMED_IP', frame: (s) => v4(s, { headerLength: 15 }).tcp() },
  { name: 'ip4-total_below_header-MALFORMED_IP', frame: (s) => v4(s, { totalLength: 19 }).tcp() },
  { name: 'ip4-total_0-MALFORMED_IP', frame: (s) => v4(s, { totalLength: 0 }).tcp() },
  ...IP4_OPTIONS.map(
    ([name, options, verdict]): Row => ({
      name: `ip4-option_${name}-${verdict}`,
      frame: (s) => v4(s, { options }).tcp(),
    }),
  ),
  {
    name: 'ip4-option_lsrr_inbound-SOURCE_ROUTED',
    from: () => UPLINK,
    frame: (s) =>
      packet()
        .ethernet({ source: s.a.gatewayMac, destination: s.a.mac })
        .ipv4({ source: WORLD[4], destination: A[4], options: [131, 7, 4, 10, 8, 0, 13] })
        .tcp(),
  },
  { name: 'ip4-not_a_broadcast_in_31-NO_SUCH_ENDPOINT', frame: (s) => outgoing(s.a, '10.7.0.254').udp() },
  ...[0, 2, 4, 41, 43, 44, 47, 50, 51, 58, 59, 60, 89, 103, 112, 115, 136, 137, 253, 255].map(
    (protocol): Row => ({
      name: `ip4-protocol_${protocol}-UNKNOWN_PROTOCOL`,
      frame: (s) => v4(s, { protocol }).payload(64),
    }),
  ),

  { name: 'ip6-payload_0-MALFORMED_IP', frame: (s) => v6(s, { payloadLength: 0 }).tcp() },
  {
    name: 'ip6-jumbogram-MALFORMED_IP',
    frame: (s) =>
      v6(s, { payloadLength: 0 })
        .extension(0, { data: [0xc2, 4, 0, 1, 0, 0] })
        .tcp(),
  },
  { name: 'ip6-mapped_source-MALFORMED_IP', frame: (s) => v6(s, { source: '::ffff:a07:b' }).tcp() },
  {
    name: 'ip6-mapped_destination-MALFORMED_IP',
    frame: (s) => v6(s, { destination: '::ffff:10.7.0.12' }).tcp(),
  },
  {
    name: 'ip6-mapped_both-MALFORMED_IP',
    frame: (s) => v6(s, { source: '::ffff:a07:b', destination: '::ffff:10.7.0.12' }).tcp(),
  },
  {
    name: 'ip6-mapped_source_inbound-MALFORMED_IP',
    from: () => 0,
    frame: (s) => incoming(s.a, '::ffff:10.7.0.1').tcp(),
  },
  ...[1, 2, 4, 41, 47, 50, 89, 103, 112, 115, 136, 253, 255].map(
    (protocol): Row => ({
      name: `ip6-protocol_${protocol}-UNKNOWN_PROTOCOL`,
      frame: (s) => v6(s, { nextHeader: protocol }).payload(64),
    }),
  ),
  ...[51, 135, 59, 139, 140].flatMap((protocol): Row[] => [
    { name: `ip6-extension_${protocol}-EXTENSION_HEADERS`, frame: (s) => v6(s).extension(protocol).tcp() },
    {
      name: `ip6-options_then_${protocol}-EXTENSION_HEADERS`,
      frame: (s) => v6(s).extension(60).extension(protocol).tcp(),
    },
  ]),
  ...[0, 2, 3, 4].map(
    (type): Row => ({
      name: `ip6-routing_type_${type}-SOURCE_ROUTED`,
      frame: (s) =>
        v6(s)
          .extension(43, { units: 2, data: [type, 1] })
          .tcp(),
    }),
  ),
  {
    name: 'ip6-routing_behind_options-SOURCE_ROUTED',
    frame: (s) => v6(s).extension(0).extension(60).extension(43).tcp(),
  },
  {
    name: 'ip6-routing_in_fragment-SOURCE_ROUTED',
    frame: (s) => v6(s).fragment({ more: true }).extension(43).tcp(),
  },
  { name: 'ip6-hop_by_hop-PASS', frame: (s) => v6(s).extension(0).tcp() },
  { name: 'ip6-hop_by_hop_second-EXTENSION_HEADERS', frame: (s) => v6(s).extension(60).extension(0).tcp() },
  { name: 'ip6-hop_by_hop_twice-EXTENSION_HEADERS', frame: (s) => v6(s).extension(0).extension(0).tcp() },
  {
    name: 'ip6-hop_by_hop_in_fragment-EXTENSION_HEADERS',
    frame: (s) => v6(s).fragment({}).extension(0).tcp(),
  },
  { name: 'ip6-six_headers-PASS', frame: (s) => chain(v6(s), 6).tcp() },
  { name: 'ip6-seven_headers-EXTENSION_HEADERS', frame: (s) => chain(v6(s), 7).tcp() },
  { name: 'ip6-thirty_headers-EXTENSION_HEADERS', frame: (s) => chain(v6(s), 30).tcp() },
  {
    name: 'ip6-two_fragment_headers-EXTENSION_HEADERS',
    frame: (s) => v6(s).fragment({ more: true, id: 1 }).fragment({ more: true, id: 1 }).tcp(),
  },
  {
    name: 'ip6-atomic_then_fragment-EXTENSION_HEADERS',
    frame: (s) => v6(s).fragment({ id: 1 }).fragment({ more: true, id: 2 }).tcp(),
  },
  {
    name: 'ip6-atomic_twice-EXTENSION_HEADERS',
    frame: (s) => v6(s).fragment({ id: 1 }).fragment({ id: 1 }).tcp(),
  },
  {
    name: 'ip6-fragment_then_atomic-EXTENSION_HEADERS',
    frame: (s) => v6(s).fragment({ more: true, id: 1 }).fragment({ id: 1 }).tcp(),
  },
  {
    name: 'ip6-options_longer_than_packet-TRUNCATED',
    frame: (s) =>
      v6(s)
        .extension(60)
        .edit((bytes) => bytes.map((byte, at) => (at === 55 ? 255 : byte))),
  },
  { name: 'ip6-options_to_the_end-TRUNCATED', frame: (s) => v6(s).extension(60, { next: 6 }) },
  {
    name: 'ip6-options_over_tcp-TRUNCATED',
    frame: (s) => v6(s).extension(60, { next: 6, units: 1 }).payload(4),
  },
  {
    name: 'ip6-options_skip_tcp-TRUNCATED',
    frame: (s) => v6(s).extension(60).tcp({ flags: TCP.SYN }).setByte(55, 2),
  },
];
function chain(base: Packet, length: number): Packet {
  return Array.from({ length }).reduce<Packet>((at) => at.extension(60), base);
}
