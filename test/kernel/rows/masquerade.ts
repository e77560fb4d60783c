/** Packets to the outside that cannot leave under the node's address. */
import { type Packet, PROTOCOL, packet, TCP } from '../../support/packet.js';
import type { Row } from '../../support/row.js';
import type { Scenario } from '../../support/scenario.js';
import { outgoing } from '../../support/scenario-frames.js';
import { addressOf, FAMILIES, type Family, NODE, WORLD } from '../../support/scenario-parties.js';

const udp = (s: Scenario, family: Family, sourcePort = 40000): Packet =>
  outgoing(s.a, WORLD[family]).udp({ sourcePort }).payload(8);

const otherUplink = (s: Scenario) => ({ ifindex: s.spare[1] ?? 0, ip4: '10.99.9.5', ip6: 'fd00:99:9::5' });

/** All but that family. */
const OTHER = { 4: { ip6: NODE[6] }, 6: { ip4: NODE[4] } } as const;

export const masqueradeRows: Row[] = FAMILIES.flatMap((family): Row[] => {
  const ip = `ip${family}`;
  const before = (s: Scenario) => s.masquerade(s.a);
  return [
    { name: `${ip}-to_the_world-PASS`, before, frame: (s) => udp(s, family) },
    { name: `${ip}-to_the_world_unmasqueraded-PASS`, action: 'PASS', frame: (s) => udp(s, family) },
    {
      name: `${ip}-without_an_uplink-NO_UPLINK`,
      before: (s) => {
        before(s);
        s.uplink({});
      },
      frame: (s) => udp(s, family),
    },
    {
      name: `${ip}-known_flow_without_an_uplink-NO_UPLINK`,
      before: (s) => {
        before(s);
        s.send(s.a, udp(s, family));
        s.uplink({});
      },
      frame: (s) => udp(s, family),
    },
    {
      name: `${ip}-a_route_nowhere-NO_ROUTE`,
      before: (s) => {
        before(s);
        s.routed([{ ifindex: s.outside, ip4: NODE[4], ip6: NODE[6] }, otherUplink(s)]);
      },
      answered: true,
      frame: (s) => udp(s, family),
    },
    {
      name: `${ip}-connection_of_another_uplink-ROUTE_CHANGED`,
      before: (s) => {
        before(s);
        s.send(s.a, outgoing(s.a, WORLD[family]).tcp());
        s.uplink(otherUplink(s));
      },
      answered: true,
      frame: (s) => outgoing(s.a, WORLD[family]).tcp({ flags: TCP.ACK }),
    },
    {
      name: `${ip}-connection_whose_address_moved_to_another_uplink-PASS`,
      before: (s) => {
        before(s);
        s.send(s.a, outgoing(s.a, WORLD[family]).tcp());
        s.uplink({ ...otherUplink(s), ip4: NODE[4], ip6: NODE[6] });
      },
      frame: (s) => outgoing(s.a, WORLD[family]).tcp({ flags: TCP.ACK }),
    },
    {
      name: `${ip}-datagram_of_another_uplink-PASS`,
      before: (s) => {
        before(s);
        s.send(s.a, udp(s, family));
        s.uplink(otherUplink(s));
      },
      frame: (s) => udp(s, family),
    },
    {
      name: `${ip}-uplink_without_the_family-NO_UPLINK_ADDRESS`,
      before: (s) => {
        before(s);
        s.uplink({ ifindex: s.outside, ...OTHER[family] });
      },
      frame: (s) => udp(s, family),
    },
    { name: `${ip}-masqueraded_sctp-PASS`, before, frame: (s) => outgoing(s.a, WORLD[family]).sctp() },
    { name: `${ip}-sctp_in_fragments-NAT_PROTOCOL`, before, frame: (s) => sctpFragment(s, family) },
    {
      name: `${ip}-last_hop-HOP_LIMIT`,
      before,
      answered: true,
      frame: (s) => outgoing(s.a, WORLD[family], { ttl: 1 }).udp().payload(8),
    },
    {
      name: `${ip}-larger_than_the_uplink-TOO_BIG`,
      before,
      answered: true,
      frame: (s) => outgoing(s.a, WORLD[family]).udp().payload(1500),
    },
    { name: `${ip}-as_large_as_the_uplink-PASS`, before, frame: (s) => fullSize(s, family) },
  ];
});

/** The first of several. */
function sctpFragment({ a }: Scenario, family: Family): Packet {
  const macs = packet().ethernet({ source: a.mac, destination: a.gatewayMac });
  const ends = { source: addressOf(a, family), destination: WORLD[family] };
  const ip =
    family === 4
      ? macs.ipv4({ ...ends, id: 7, moreFragments: true, protocol: PROTOCOL.SCTP })
      : macs.ipv6(ends).fragment({ offset: 0, more: true, id: 7, next: PROTOCOL.SCTP });
  return ip.sctp();
}

function fullSize(s: Scenario, family: Family): Packet {
  return outgoing(s.a, WORLD[family])
    .udp()
    .payload(1500 - (family === 4 ? 20 : 40) - 8);
}

/** Of programs that may take one port of the node. */
export const onePortRows: Row[] = FAMILIES.flatMap((family): Row[] => {
  const ip = `ip${family}`;
  const first = (s: Scenario) => {
    s.masquerade(s.a);
    s.send(s.a, udp(s, family));
  };
  return [
    { name: `${ip}-second_flow_to_one_place-NAT_PORTS`, before: first, frame: (s) => udp(s, family, 40001) },
    {
      name: `${ip}-second_flow_to_another_port-PASS`,
      before: first,
      frame: (s) => outgoing(s.a, WORLD[family]).udp({ sourcePort: 40001, destinationPort: 54 }).payload(8),
    },
    {
      name: `${ip}-second_flow_of_another_protocol-PASS`,
      before: first,
      frame: (s) => outgoing(s.a, WORLD[family]).tcp({ sourcePort: 40001, destinationPort: 53 }),
    },
  ];
});
