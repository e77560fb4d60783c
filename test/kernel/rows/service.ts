/** Packets to ports that lead to containers, and what stands in their way. */

import { SERVICE } from '../../support/frontends.js';
import { PROTOCOL } from '../../support/packet.js';
import type { Row } from '../../support/row.js';
import type { Scenario } from '../../support/scenario.js';
import { incoming, outgoing } from '../../support/scenario-frames.js';
import {
  addressOf,
  FAMILIES,
  type Family,
  type TestEndpoint,
  UPLINK,
  WORLD,
} from '../../support/scenario-parties.js';

const PORT = 80;
const TARGET = 8080;

const serve = (s: Scenario, family: Family, ...servers: TestEndpoint[]) =>
  s.frontend({
    address: SERVICE[family],
    port: PORT,
    protocol: PROTOCOL.UDP,
    backends: servers.map((server) => ({ address: addressOf(server, family), port: TARGET })),
  });

const asked = (s: Scenario, family: Family, destinationPort = PORT) =>
  outgoing(s.a, SERVICE[family]).udp({ destinationPort }).payload(8);

export const serviceRows: Row[] = FAMILIES.flatMap((family): Row[] => {
  const ip = `ip${family}`;
  return [
    { name: `${ip}-to_a_service-PASS`, before: (s) => serve(s, family, s.b), frame: (s) => asked(s, family) },
    {
      name: `${ip}-to_another_port_of_a_service-NO_SERVICE`,
      before: (s) => serve(s, family, s.b),
      answered: true,
      frame: (s) => asked(s, family, PORT + 1),
    },
    {
      name: `${ip}-tcp_to_a_service_of_udp-NO_SERVICE`,
      before: (s) => serve(s, family, s.b),
      answered: true,
      frame: (s) => outgoing(s.a, SERVICE[family]).tcp({ destinationPort: PORT }),
    },
    {
      name: `${ip}-sctp_to_a_service-NO_SERVICE`,
      before: (s) => serve(s, family, s.b),
      answered: true,
      frame: (s) => outgoing(s.a, SERVICE[family]).sctp(),
    },
    {
      name: `${ip}-to_a_service_without_a_backend-NO_BACKEND`,
      before: (s) => serve(s, family),
      answered: true,
      frame: (s) => asked(s, family),
    },
    {
      name: `${ip}-to_a_service_whose_backend_is_gone-NO_BACKEND`,
      before: (s) => {
        serve(s, family, s.b);
        s.remove(s.b);
      },
      answered: true,
      frame: (s) => asked(s, family),
    },
    {
      name: `${ip}-to_a_container_by_the_ports_of_a_flow_to_its_service-NAT_CONFLICT`,
      before: (s) => {
        serve(s, family, s.b);
        s.send(s.a, asked(s, family));
      },
      frame: (s) => outgoing(s.a, addressOf(s.b, family)).udp({ destinationPort: TARGET }).payload(8),
    },
    {
      name: `${ip}-to_a_service_by_the_ports_of_a_flow_to_its_container-NAT_CONFLICT`,
      before: (s) => {
        serve(s, family, s.b);
        s.send(s.a, outgoing(s.a, addressOf(s.b, family)).udp({ destinationPort: TARGET }).payload(8));
      },
      frame: (s) => asked(s, family),
    },
  ];
});

/** Of programs that let two connections in from outside. */
export const twoInbound = { settings: { inbound_flows: 2, events_burst: 1_000_000 } } as const;

export const twoInboundRows: Row[] = FAMILIES.flatMap((family): Row[] => {
  const ip = `ip${family}`;
  const from = (to: TestEndpoint, sourcePort: number) =>
    incoming(to, WORLD[family]).udp({ sourcePort }).payload(8);
  const enter = (s: Scenario, to: TestEndpoint, port: number) => void s.receive(to, from(to, port), UPLINK);
  const both = (s: Scenario) => {
    enter(s, s.a, 1);
    enter(s, s.b, 1);
  };
  const world = { from: () => UPLINK };
  return [
    {
      name: `${ip}-second_from_outside-PASS`,
      ...world,
      before: (s) => enter(s, s.b, 1),
      frame: (s) => from(s.a, 2),
    },
    { name: `${ip}-third_from_outside-FLOW_LIMIT`, ...world, before: both, frame: (s) => from(s.a, 2) },
    {
      name: `${ip}-known_from_outside_at_the_limit-PASS`,
      ...world,
      before: both,
      frame: (s) => from(s.a, 1),
    },
    {
      name: `${ip}-to_the_outside_at_the_limit-PASS`,
      before: both,
      action: 'PASS',
      frame: (s) => outgoing(s.a, WORLD[family]).udp(),
    },
    {
      name: `${ip}-another_from_outside_when_one_is_over-PASS`,
      ...world,
      before: (s) => {
        both(s);
        s.expireFlows();
        s.programs.sweep();
      },
      frame: (s) => from(s.a, 2),
    },
  ];
});
