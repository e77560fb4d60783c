/** What comes in by the uplink and is taken from nobody, by XDP or, where that does not run, by TC. */

import { SERVICE } from '../../support/frontends.js';
import { type Packet, PROTOCOL, packet, TCP } from '../../support/packet.js';
import type { Row } from '../../support/row.js';
import type { Scenario } from '../../support/scenario.js';
import {
  addressOf,
  FAMILIES,
  type Family,
  GATEWAY,
  NOBODY,
  NODE,
  WORLD,
} from '../../support/scenario-parties.js';

const MACS = { source: '02:aa:00:00:00:01', destination: '02:aa:00:00:00:02' };
const PORT = 80;
const TARGET = 8080;

const ip = (source: string, destination: string) => packet().ethernet(MACS).ip({ source, destination });
const udp = (source: string, destination: string) => ip(source, destination).udp().payload(8);

/** On no wire, by family. */
const NO_SOURCES = {
  4: { loopback: '127.0.0.1', multicast: '224.0.0.5', broadcast: '255.255.255.255' },
  6: { loopback: '::1', multicast: 'ff02::1', mapped: '::ffff:192.0.2.1' },
} as const;
const NO_DESTINATIONS = {
  4: { loopback: '127.0.0.1' },
  6: { loopback: '::1', mapped: '::ffff:192.0.2.1' },
} as const;
const RANGES = {
  4: { holds: ['198.18.0.9/32', '198.18.0.0/16', '128.0.0.0/1'], not: ['198.18.0.8/32', '198.19.0.0/16'] },
  6: { holds: ['fd99::9/128', 'fd99::/16', '8000::/1'], not: ['fd99::8/128', 'fd9a::/16', '::/1'] },
} as const;

function malformed(family: Family): Record<string, Packet> {
  const ends = { source: WORLD[family], destination: NODE[family] };
  const base = packet().ethernet(MACS);
  if (family === 4) {
    return {
      'version_of_the_other_family-MALFORMED_IP': base.ipv4({ ...ends, version: 6 }).udp(),
      'header_shorter_than_a_header-MALFORMED_IP': base.ipv4({ ...ends, headerLength: 4 }).udp(),
      'length_shorter_than_the_header-MALFORMED_IP': base.ipv4({ ...ends, totalLength: 19 }).udp(),
      'options_cut_short-TRUNCATED': base.ipv4({ ...ends, headerLength: 15, totalLength: 60 }).udp(),
      'length_beyond_the_frame-TRUNCATED': base.ipv4({ ...ends, totalLength: 29 }).udp(),
    };
  }
  return {
    'version_of_the_other_family-MALFORMED_IP': base.ipv6({ ...ends, version: 4 }).udp(),
    'length_beyond_the_frame-TRUNCATED': base.ipv6({ ...ends, payloadLength: 9 }).udp(),
  };
}

export const inboundRows: Row[] = (['from_uplink', 'uplink_xdp'] as const).flatMap((by) =>
  FAMILIES.flatMap((family): Row[] => {
    const name = (text: string) => `ip${family}-${by}_${text}`;
    const node = NODE[family];
    const row = (text: string, frame: Packet): Row => ({ name: name(text), by, frame: () => frame });
    const rows = [
      ...Object.entries(malformed(family)).map(([text, frame]) => row(text, frame)),
      ...Object.entries(NO_SOURCES[family]).map(([kind, source]) =>
        row(`from_${kind}-BAD_SOURCE`, udp(source, node)),
      ),
      ...Object.entries(NO_DESTINATIONS[family]).map(([kind, destination]) =>
        row(`to_${kind}-BAD_DESTINATION`, udp(WORLD[family], destination)),
      ),
      row('from_an_address_of_a_network-BAD_SOURCE', udp(NOBODY[family], node)),
      {
        name: name('from_a_container-BAD_SOURCE'),
        by,
        frame: (s: Scenario) => udp(addressOf(s.a, family), node),
      },
      {
        name: name('from_a_service-BAD_SOURCE'),
        by,
        before: (s: Scenario) =>
          s.frontend({ address: SERVICE[family], port: PORT, protocol: PROTOCOL.UDP, backends: [] }),
        frame: () => udp(SERVICE[family], node),
      },
    ];
    const denied = RANGES[family].holds.map(
      (range): Row => ({
        name: name(`from_${range}-DENIED_SOURCE`),
        by,
        before: (s) => s.denyFrom(...RANGES[family].not, range),
        frame: () => udp(WORLD[family], node),
      }),
    );
    // No test run makes a packet of the stack's that is as short.
    const short = udp(WORLD[family], node).truncate(14 + (family === 4 ? 19 : 39));
    return [
      ...rows,
      ...(by === 'uplink_xdp' ? [row('header_cut_short-TRUNCATED', short)] : []),
      ...denied,
      {
        name: name('denied_and_of_no_known_protocol-DENIED_SOURCE'),
        by,
        before: (s) => s.denyFrom(RANGES[family].holds[0]),
        frame: () =>
          packet().ethernet(MACS).ip({ source: WORLD[family], destination: node, protocol: 47 }).payload(9),
      },
    ];
  }),
);

export const INBOUND_LIMITS = {
  settings: { inbound_new_per_second: 1, inbound_new_burst: 3, events_burst: 1_000_000 },
};

/** Of an endpoint that takes three new connections at once. */
export const inboundRateRows: Row[] = FAMILIES.flatMap((family): Row[] => {
  const opening = (port: number) =>
    ip(WORLD[family], NODE[family]).tcp({ sourcePort: port, destinationPort: PORT, flags: TCP.SYN });
  const opened = (count: number) => (s: Scenario) => {
    s.masquerade(s.a, s.b);
    s.frontend({
      address: NODE[family],
      port: PORT,
      protocol: PROTOCOL.TCP,
      backends: [{ address: addressOf(s.b, family), port: TARGET }],
    });
    for (let at = 0; at < count; at++) s.answer(opening(40000 + at));
  };
  const common = { by: 'from_uplink', at: (s: Scenario) => s.b, frame: () => opening(41000) } as const;
  return [
    { ...common, name: `ip${family}-third_connection_at_once-PASS`, before: opened(2) },
    { ...common, name: `ip${family}-fourth_connection_at_once-INBOUND_RATE`, before: opened(3) },
    {
      name: `ip${family}-fourth_connection_at_once_by_the_stack-INBOUND_RATE`,
      before: opened(3),
      at: (s) => s.b,
      from: (s) => s.outside,
      frame: (s) =>
        packet()
          .ethernet({ source: s.b.gatewayMac, destination: s.b.mac })
          .ip({ source: WORLD[family], destination: addressOf(s.b, family) })
          .tcp(),
    },
    {
      name: `ip${family}-connection_of_the_node_after_them-PASS`,
      before: opened(3),
      at: (s) => s.b,
      from: () => 0,
      frame: (s) =>
        packet()
          .ethernet({ source: s.b.gatewayMac, destination: s.b.mac })
          .ip({ source: GATEWAY[family], destination: addressOf(s.b, family) })
          .tcp(),
    },
  ];
});
