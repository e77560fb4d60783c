import { type Packet, PROTOCOL, packet } from '../../support/packet.js';
import type { Row } from '../../support/row.js';
import type { Scenario } from '../../support/scenario.js';
import { addressOf, FAMILIES, type Family, type TestEndpoint } from '../../support/scenario-parties.js';

const B = { 4: '10.7.0.12', 6: 'fd00:7::c' } as const;

interface Part {
  offset?: number;
  more?: boolean;
  id?: number;
  protocol?: number;
  from?: TestEndpoint;
}

/** The headers of a fragment from a to b. */
export function part(
  s: Scenario,
  family: Family,
  { offset = 0, more = false, id = 77, protocol, from = s.a }: Part,
) {
  const frame = packet().ethernet({ source: from.mac, destination: from.gatewayMac });
  const ends = { source: addressOf(from, family), destination: B[family] };
  if (family === 6) {
    return frame
      .ipv6(ends)
      .fragment({ offset, more, id, ...(protocol === undefined ? {} : { next: protocol }) });
  }
  const fields = { ...ends, id, fragmentOffset: offset, moreFragments: more };
  return frame.ipv4({ ...fields, ...(protocol === undefined ? {} : { protocol }) });
}

const HEADERS = {
  udp: [PROTOCOL.UDP, (at: Packet) => at.udp({ length: 1000 })],
  tcp: [PROTOCOL.TCP, (at: Packet) => at.tcp()],
  sctp: [PROTOCOL.SCTP, (at: Packet) => at.sctp()],
} as const;
type Transport = keyof typeof HEADERS;

function rowsOf(family: Family): Row[] {
  const ip = `ip${family}`;
  const first = (s: Scenario, transport: Transport = 'udp', fields: Part = {}) =>
    HEADERS[transport][1](part(s, family, { more: true, ...fields })).payload(24);
  const later = (s: Scenario, fields: Part = {}, transport: Transport = 'udp') =>
    part(s, family, { offset: 32, protocol: HEADERS[transport][0], ...fields }).payload(40);
  const seen =
    (transport: Transport = 'udp', fields: Part = {}) =>
    (s: Scenario) =>
      void s.send(s.a, first(s, transport, fields));
  const echo = { protocol: family === 4 ? PROTOCOL.ICMP : PROTOCOL.ICMPV6 };
  const echoFirst = (s: Scenario) => {
    const at = part(s, family, { more: true });
    return (family === 4 ? at.icmp({ type: 8, id: 5 }) : at.icmpv6({ type: 128, id: 5 })).payload(24);
  };
  /** Lies in the header of each transport, by the offset of the later fragment. */
  const overlaps: [Transport, number, boolean][] = [
    ['udp', 8, false],
    ['tcp', 8, true],
    ['tcp', 16, true],
    ['tcp', 24, false],
    ['sctp', 8, true],
    ['sctp', 16, false],
  ];
  return [
    ...(['udp', 'tcp', 'sctp'] as const).flatMap((transport): Row[] => [
      { name: `${ip}-first_${transport}-PASS`, frame: (s) => first(s, transport) },
      {
        name: `${ip}-later_${transport}-PASS`,
        before: seen(transport),
        frame: (s) => later(s, {}, transport),
      },
      {
        name: `${ip}-later_${transport}_without_first-FRAGMENT_WITHOUT_FIRST`,
        frame: (s) => later(s, {}, transport),
      },
    ]),
    ...overlaps.map(
      ([transport, offset, bad]): Row => ({
        name: `${ip}-later_${transport}_at_${offset}-${bad ? 'FRAGMENT_OVERLAP' : 'PASS'}`,
        before: seen(transport),
        frame: (s) => later(s, { offset }, transport),
      }),
    ),
    {
      name: `${ip}-later_of_other_id-FRAGMENT_WITHOUT_FIRST`,
      before: seen(),
      frame: (s) => later(s, { id: 78 }),
    },
    {
      name: `${ip}-later_of_other_protocol-FRAGMENT_WITHOUT_FIRST`,
      before: seen(),
      frame: (s) => later(s, { protocol: PROTOCOL.TCP }),
    },
    {
      name: `${ip}-later_of_unknown_protocol-FRAGMENT_WITHOUT_FIRST`,
      before: seen(),
      frame: (s) => later(s, { protocol: 89 }),
    },
    {
      name: `${ip}-later_from_another-FRAGMENT_WITHOUT_FIRST`,
      before: seen(),
      at: (s) => s.c,
      frame: (s) => later(s, { from: s.c }),
    },
    {
      name: `${ip}-later_spoofed-SPOOFED_IP`,
      before: seen(),
      at: (s) => s.c,
      frame: (s) =>
        packet()
          .ethernet({ source: s.c.mac, destination: s.c.gatewayMac })
          .edit(() => {
            const bytes = later(s).bytes();
            bytes.set([2, 0, 0, 0, 0, s.c.id], 6);
            return bytes;
          }),
    },
    {
      name: `${ip}-later_by_other_endpoint-FRAGMENT_WITHOUT_FIRST`,
      before: (s) => {
        seen()(s);
        for (const { key, value } of s.programs.fragments.entries()) {
          s.programs.fragments.delete(key);
          s.programs.fragments.set(s.b.id, { ...value, endpointId: s.b.id });
        }
      },
      frame: (s) => later(s),
    },
    {
      name: `${ip}-later_while_the_table_is_given_away-FRAGMENT_WITHOUT_FIRST`,
      before: (s) => {
        seen()(s);
        for (const { key, value } of s.programs.fragments.entries())
          s.programs.fragments.set(key, { ...value, endpointId: s.b.id });
      },
      frame: (s) => later(s),
    },
    {
      name: `${ip}-later_too_late-FRAGMENT_WITHOUT_FIRST`,
      before: (s) => {
        seen()(s);
        for (const { key, value } of s.programs.fragments.entries())
          s.programs.fragments.set(key, {
            ...value,
            slot: value.slot.map((slot) => ({ ...slot, expiresNs: slot.expiresNs && 1n })),
          });
      },
      frame: (s) => later(s),
    },
    {
      name: `${ip}-later_of_forgotten_flow-FRAGMENT_WITHOUT_FIRST`,
      before: (s) => {
        seen()(s);
        s.programs.conntrack.clear();
      },
      frame: (s) => later(s),
    },
    {
      name: `${ip}-later_of_cut_flow-CONNECTION_CUT`,
      before: (s) => {
        seen()(s);
        s.newEpoch(() => {});
      },
      frame: (s) => later(s),
    },
    {
      name: `${ip}-later_of_denied_first-FRAGMENT_WITHOUT_FIRST`,
      before: (s) => {
        s.rule({ subject: s.b, direction: 'ingress', verdict: 'deny', precedence: 900 });
        seen()(s);
      },
      frame: (s) => later(s),
    },
    {
      name: `${ip}-later_inbound_without_first-FRAGMENT_WITHOUT_FIRST`,
      at: (s) => s.b,
      from: (s) => s.a.ifindex,
      before: seen(),
      frame: (s) => later(s),
    },
    {
      name: `${ip}-second_first_to_forbidden_port-POLICY_INGRESS_DENY`,
      before: (s) => {
        seen()(s);
        s.rule({
          subject: s.b,
          direction: 'ingress',
          protocol: PROTOCOL.UDP,
          port: 22,
          verdict: 'deny',
          precedence: 900,
        });
      },
      frame: (s) => part(s, family, { more: true }).udp({ destinationPort: 22, length: 1000 }).payload(24),
    },
    {
      name: `${ip}-first_of_7_bytes_udp-TRUNCATED`,
      frame: (s) => part(s, family, { more: true, protocol: PROTOCOL.UDP }).payload(7),
    },
    ...[8, 16, 19].map(
      (length): Row => ({
        name: `${ip}-first_of_${length}_bytes_tcp-TRUNCATED`,
        frame: (s) => part(s, family, { more: true, protocol: PROTOCOL.TCP }).payload(length),
      }),
    ),
    {
      name: `${ip}-first_of_8_bytes_sctp-TRUNCATED`,
      frame: (s) => part(s, family, { more: true, protocol: PROTOCOL.SCTP }).payload(8),
    },
    {
      name: `${ip}-first_not_opening-NO_CONNECTION`,
      frame: (s) => part(s, family, { more: true }).tcp({ flags: 16 }).payload(40),
    },
    {
      name: `${ip}-first_dhcp-DHCP_FROM_CONTAINER`,
      frame: (s) =>
        part(s, family, { more: true })
          .udp({ destinationPort: family === 4 ? 67 : 547, length: 300 })
          .payload(40),
    },
    { name: `${ip}-first_echo-PASS`, frame: echoFirst },
    {
      name: `${ip}-later_echo-PASS`,
      before: (s) => void s.send(s.a, echoFirst(s)),
      frame: (s) => later(s, echo),
    },
    { name: `${ip}-later_routing_message-FRAGMENT_WITHOUT_FIRST`, frame: (s) => later(s, echo) },
    {
      name: `${ip}-copy_fragmented-FRAGMENT_WITHOUT_FIRST`,
      at: (s) => s.b,
      from: (s) => s.a.ifindex,
      before: (s) => s.add({ ...s.b, flags: 3 }),
      frame: (s) => flooded(s, family),
    },
  ];
}

/** A first fragment to everyone, as it comes to b. */
function flooded(s: Scenario, family: Family): Packet {
  const everyone = family === 4 ? '224.0.0.251' : 'ff02::fb';
  const at = packet().ethernet({ source: s.b.gatewayMac, destination: s.b.mac });
  if (family === 4)
    return at
      .ipv4({ source: '10.7.0.11', destination: everyone, moreFragments: true })
      .udp({ length: 500 })
      .payload(40);
  return at
    .ipv6({ source: 'fd00:7::b', destination: everyone })
    .fragment({ more: true })
    .udp({ length: 500 })
    .payload(40);
}

/** Fragments that try to get past the judge of the first one. */
export const fragmentRows: Row[] = [
  ...FAMILIES.flatMap(rowsOf),
  {
    name: 'ip6-options_count_as_header-FRAGMENT_OVERLAP',
    before: (s) =>
      void s.send(s.a, part(s, 6, { more: true }).extension(60).udp({ length: 500 }).payload(24)),
    frame: (s) => part(s, 6, { offset: 8, protocol: 60 }).payload(40),
  },
  {
    name: 'ip6-later_behind_options-PASS',
    before: (s) =>
      void s.send(s.a, part(s, 6, { more: true }).extension(60).udp({ length: 500 }).payload(24)),
    frame: (s) => part(s, 6, { offset: 40, protocol: 60 }).payload(40),
  },
  {
    name: 'ip6-first_ends_in_options-TRUNCATED',
    frame: (s) => part(s, 6, { more: true }).extension(60, { next: 17 }),
  },
  {
    name: 'ip6-first_ends_within_options-TRUNCATED',
    frame: (s) =>
      part(s, 6, { more: true })
        .extension(60, { next: 17, units: 3 })
        .truncate(14 + 40 + 8 + 16)
        .edit((bytes) => bytes.map((byte, at) => (at === 19 ? 24 : byte))),
  },
  { name: 'ip6-atomic_fragment-PASS', frame: (s) => part(s, 6, {}).udp() },
  {
    name: 'ip4-dont_fragment-PASS',
    frame: (s) =>
      packet()
        .ethernet({ source: s.a.mac, destination: s.a.gatewayMac })
        .ipv4({ source: '10.7.0.11', destination: B[4], dontFragment: true })
        .udp(),
  },
];
