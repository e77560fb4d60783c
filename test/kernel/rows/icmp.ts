import { type Packet, packet } from '../../support/packet.js';
import type { Row } from '../../support/row.js';
import type { Scenario } from '../../support/scenario.js';
import { incoming, outgoing } from '../../support/scenario-frames.js';
import {
  addressOf,
  FAMILIES,
  type Family,
  GATEWAY,
  NODE,
  type TestEndpoint,
  UPLINK,
  WORLD,
  WORLD_ROUTER,
} from '../../support/scenario-parties.js';

/** Unreachable, with the start of the packet that it is about. */
export function unreachable(base: Packet, family: Family, about: Uint8Array, type?: number): Packet {
  return family === 4
    ? base.icmp({ type: type ?? 3, code: 3, body: about })
    : base.icmpv6({ type: type ?? 1, code: 4, body: about });
}

/** The IP packet that a frame carries, cut as a router does. */
export function quoted(frame: Packet, length = 128): Uint8Array {
  return frame.bytes().slice(14, 14 + length);
}

const udp = (from: TestEndpoint, to: string) => outgoing(from, to).udp().payload(8);

function relatedRows(family: Family): Row[] {
  const ip = `icmp${family}`;
  const header = family === 4 ? 20 : 40;
  const to = { b: family === 4 ? '10.7.0.12' : 'fd00:7::c', c: family === 4 ? '10.8.0.13' : 'fd00:8::d' };
  const opened = (frame: (s: Scenario) => Packet) => (s: Scenario) => void s.send(s.a, frame(s));
  const toB = (s: Scenario) => udp(s.a, to.b);
  const toC = (s: Scenario) => udp(s.a, to.c);
  const toWorld = (s: Scenario) => udp(s.a, WORLD[family]);
  const fromB = (s: Scenario, about: Uint8Array, type?: number) =>
    unreachable(outgoing(s.b, addressOf(s.a, family)), family, about, type);
  const fromWorld = (s: Scenario, about: Uint8Array, source: string = WORLD_ROUTER[family]) =>
    unreachable(incoming(s.a, source), family, about);
  const b = { at: (s: Scenario) => s.b };
  const outside = { from: () => UPLINK };
  const host = { from: () => 0 };
  const errors = family === 4 ? [3, 11, 12] : [1, 2, 3, 4];
  const echo = (s: Scenario) =>
    family === 4
      ? outgoing(s.a, to.b).icmp({ type: 8, id: 9 })
      : outgoing(s.a, to.b).icmpv6({ type: 128, id: 9 });
  /** What b sends back about its own packet: the quote must have been sent by the receiver. */
  const backwards = (s: Scenario) =>
    packet()
      .ethernet({ source: s.b.mac, destination: s.b.gatewayMac })
      .ip({ source: addressOf(s.b, family), destination: addressOf(s.a, family) })
      .udp({ sourcePort: 53, destinationPort: 40000 });
  return [
    ...errors.map(
      (type): Row => ({
        name: `${ip}-error_${type}_of_receiver-PASS`,
        ...b,
        before: opened(toB),
        frame: (s) => fromB(s, quoted(toB(s)), type),
      }),
    ),
    ...errors.map(
      (type): Row => ({
        name: `${ip}-error_${type}_about_nothing-ICMP_UNRELATED`,
        ...b,
        frame: (s) => fromB(s, quoted(toB(s)), type),
      }),
    ),
    {
      name: `${ip}-error_of_opener-PASS`,
      before: opened(toB),
      frame: (s) => unreachable(outgoing(s.a, to.b), family, quoted(backwards(s))),
    },
    {
      name: `${ip}-error_about_echo-PASS`,
      ...b,
      before: opened(echo),
      frame: (s) => fromB(s, quoted(echo(s))),
    },
    {
      name: `${ip}-error_to_world-PASS`,
      action: 'PASS',
      before: (s) => void s.receive(s.a, incoming(s.a, WORLD[family]).udp(), UPLINK),
      frame: (s) =>
        unreachable(outgoing(s.a, WORLD[family]), family, quoted(incoming(s.a, WORLD[family]).udp())),
    },
    {
      name: `${ip}-quotes_own_packet-ICMP_UNRELATED`,
      ...b,
      before: opened(toB),
      frame: (s) => fromB(s, quoted(backwards(s))),
    },
    {
      name: `${ip}-quotes_flow_of_others-ICMP_UNRELATED`,
      ...b,
      before: opened(toC),
      frame: (s) => fromB(s, quoted(toC(s))),
    },
    {
      name: `${ip}-quotes_flow_to_world-ICMP_UNRELATED`,
      ...b,
      before: opened(toWorld),
      frame: (s) => fromB(s, quoted(toWorld(s))),
    },
    {
      name: `${ip}-to_another_than_it_quotes-ICMP_UNRELATED`,
      ...b,
      before: opened(toB),
      frame: (s) => unreachable(outgoing(s.b, to.c), family, quoted(toB(s))),
    },
    {
      name: `${ip}-quotes_other_port-ICMP_UNRELATED`,
      ...b,
      before: opened(toB),
      frame: (s) => fromB(s, quoted(outgoing(s.a, to.b).udp({ destinationPort: 54 }))),
    },
    {
      name: `${ip}-quotes_other_protocol-ICMP_UNRELATED`,
      ...b,
      before: opened(toB),
      frame: (s) => fromB(s, quoted(outgoing(s.a, to.b).tcp({ destinationPort: 53 }))),
    },
    {
      name: `${ip}-quotes_nothing-ICMP_UNRELATED`,
      ...b,
      before: opened(toB),
      frame: (s) => fromB(s, new Uint8Array()),
    },
    {
      name: `${ip}-quotes_ip_header_alone-ICMP_UNRELATED`,
      ...b,
      before: opened(toB),
      frame: (s) => fromB(s, quoted(toB(s), header)),
    },
    {
      name: `${ip}-quotes_7_bytes_of_udp-ICMP_UNRELATED`,
      ...b,
      before: opened(toB),
      frame: (s) => fromB(s, quoted(toB(s), header + 7)),
    },
    {
      name: `${ip}-quotes_8_bytes_of_udp-PASS`,
      ...b,
      before: opened(toB),
      frame: (s) => fromB(s, quoted(toB(s), header + 8)),
    },
    {
      name: `${ip}-quotes_an_error-ICMP_UNRELATED`,
      ...b,
      before: opened(toB),
      frame: (s) => fromB(s, quoted(unreachable(outgoing(s.a, to.b), family, quoted(backwards(s))))),
    },
    {
      name: `${ip}-quotes_garbage-ICMP_UNRELATED`,
      ...b,
      before: opened(toB),
      frame: (s) => fromB(s, new Uint8Array(60).fill(0xa5)),
    },
    {
      name: `${ip}-quotes_expired_ttl-PASS`,
      ...outside,
      before: opened(toWorld),
      frame: (s) => fromWorld(s, quoted(outgoing(s.a, WORLD[family], { ttl: 0 }).udp().payload(8))),
    },
    {
      name: `${ip}-about_expired_flow-ICMP_UNRELATED`,
      ...b,
      before: (s) => {
        opened(toB)(s);
        s.expireFlows();
      },
      frame: (s) => fromB(s, quoted(toB(s))),
    },
    {
      name: `${ip}-about_cut_flow-CONNECTION_CUT`,
      ...b,
      before: (s) => {
        opened(toB)(s);
        s.newEpoch(() => {});
      },
      frame: (s) => fromB(s, quoted(toB(s))),
    },
    {
      name: `${ip}-about_flow_judged_again-PASS`,
      ...b,
      before: (s) => {
        opened(toB)(s);
        s.newEpoch((slot) => s.allowAll(slot));
      },
      frame: (s) => fromB(s, quoted(toB(s))),
    },
    {
      name: `${ip}-claims_anothers_source-SPOOFED_IP`,
      at: (s) => s.c,
      before: opened(toB),
      frame: (s) =>
        unreachable(
          packet()
            .ethernet({ source: s.c.mac, destination: s.c.gatewayMac })
            .ip({ source: to.b, destination: addressOf(s.a, family) }),
          family,
          quoted(toB(s)),
        ),
    },
    {
      name: `${ip}-of_world_host-PASS`,
      ...outside,
      before: opened(toWorld),
      frame: (s) => fromWorld(s, quoted(toWorld(s)), WORLD[family]),
    },
    {
      name: `${ip}-of_router_on_the_way-PASS`,
      ...outside,
      before: opened(toWorld),
      frame: (s) => fromWorld(s, quoted(toWorld(s))),
    },
    {
      name: `${ip}-of_gateway_about_flow_to_world-PASS`,
      ...host,
      before: opened(toWorld),
      frame: (s) => fromWorld(s, quoted(toWorld(s)), GATEWAY[family]),
    },
    {
      name: `${ip}-of_node_about_flow_to_world-PASS`,
      ...host,
      before: opened(toWorld),
      frame: (s) => fromWorld(s, quoted(toWorld(s)), NODE[family]),
    },
    {
      name: `${ip}-of_node_about_flow_to_gateway-PASS`,
      ...host,
      before: opened((s) => udp(s.a, GATEWAY[family])),
      frame: (s) => fromWorld(s, quoted(udp(s.a, GATEWAY[family])), NODE[family]),
    },
    {
      name: `${ip}-from_outside_about_nothing-ICMP_UNRELATED`,
      ...outside,
      frame: (s) => fromWorld(s, quoted(toWorld(s))),
    },
    {
      name: `${ip}-from_outside_about_local_flow-ICMP_UNRELATED`,
      ...outside,
      before: opened(toB),
      frame: (s) => fromWorld(s, quoted(toB(s))),
    },
    {
      name: `${ip}-from_outside_about_flow_between_networks-ICMP_UNRELATED`,
      ...outside,
      before: opened(toC),
      frame: (s) => fromWorld(s, quoted(toC(s))),
    },
    {
      name: `${ip}-from_outside_for_others-ICMP_UNRELATED`,
      ...outside,
      at: (s) => s.b,
      before: opened(toWorld),
      frame: (s) => unreachable(incoming(s.b, WORLD_ROUTER[family]), family, quoted(toWorld(s))),
    },
    {
      name: `${ip}-from_outside_as_gateway-BAD_SOURCE`,
      ...outside,
      before: opened(toWorld),
      frame: (s) => fromWorld(s, quoted(toWorld(s)), GATEWAY[family]),
    },
    {
      name: `${ip}-error_to_everyone-ICMP_UNRELATED`,
      before: (s) => s.add({ ...s.a, flags: 3 }),
      frame: (s) => {
        const everyone = family === 4 ? '224.0.0.1' : 'ff02::1';
        return unreachable(outgoing(s.a, everyone), family, quoted(udp(s.b, to.c)));
      },
    },
    {
      name: `${ip}-echo_reply_alone-NO_CONNECTION`,
      frame: (s) =>
        family === 4
          ? outgoing(s.a, to.b).icmp({ type: 0, id: 5 })
          : outgoing(s.a, to.b).icmpv6({ type: 129, id: 5 }),
    },
    {
      name: `${ip}-7_bytes-TRUNCATED`,
      frame: (s) => outgoing(s.a, to.b, { protocol: family === 4 ? 1 : 58 }).payload([8, 0, 0, 0, 0, 0, 0]),
    },
  ];
}

/** ICMP and ICMPv6. */
export const icmpRows: Row[] = FAMILIES.flatMap(relatedRows);
