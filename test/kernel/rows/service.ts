/** Packets to ports that lead to containers, and what stands in their way. */
import { PROTOCOL } from '../../support/packet.js';
import type { Row } from '../../support/row.js';
import {
  addressOf,
  FAMILIES,
  type Family,
  outgoing,
  type Scenario,
  SERVICE,
  type TestEndpoint,
} from '../../support/scenario.js';

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
