import { mappedAddress, type Packet, PROTOCOL, TCP } from '../../support/packet.js';
import type { Row } from '../../support/row.js';
import type { Scenario } from '../../support/scenario.js';
import { incoming, outgoing } from '../../support/scenario-frames.js';
import { addressOf, FAMILIES, type Family, NODE, UPLINK, WORLD } from '../../support/scenario-parties.js';
import { part } from './fragments.js';

function rowsOf(family: Family): Row[] {
  const ip = `ip${family}`;
  const toB = (s: Scenario, flags: number = TCP.SYN) => outgoing(s.a, addressOf(s.b, family)).tcp({ flags });
  const toC = (s: Scenario) => outgoing(s.a, addressOf(s.c, family)).udp();
  const deny = (who: 'a' | 'b', direction: 'egress' | 'ingress') => (s: Scenario) =>
    s.rule({ subject: s[who], direction, verdict: 'deny', precedence: 900 });
  const noRules = (s: Scenario) => s.programs.policy.clear();
  const only = (who: 'a' | 'b', direction: 'egress' | 'ingress') => (s: Scenario) => {
    noRules(s);
    s.rule({ subject: s[who], direction });
  };
  const forget = (who: 'a' | 'b') => (s: Scenario) =>
    void s.programs.subjects.delete({ identity: s[who].identity });
  const fromNode = (s: Scenario): Packet => incoming(s.a, NODE[family]).udp();
  const fromWorld = (s: Scenario): Packet => incoming(s.a, WORLD[family]).udp();
  return [
    { name: `${ip}-other_network-PASS`, frame: toC },
    { name: `${ip}-source_not_computed-POLICY_MISSING`, before: forget('a'), frame: (s) => toB(s) },
    { name: `${ip}-destination_not_computed-POLICY_MISSING`, before: forget('b'), frame: (s) => toB(s) },
    {
      name: `${ip}-inbound_not_computed-POLICY_MISSING`,
      from: () => 0,
      before: forget('a'),
      frame: fromNode,
    },
    { name: `${ip}-no_rules-POLICY_EGRESS`, before: noRules, frame: (s) => toB(s) },
    {
      name: `${ip}-no_rules_to_world-POLICY_EGRESS`,
      before: noRules,
      frame: (s) => outgoing(s.a, WORLD[family]).udp(),
    },
    {
      name: `${ip}-no_rules_to_node-POLICY_EGRESS`,
      before: noRules,
      frame: (s) => outgoing(s.a, NODE[family]).udp(),
    },
    { name: `${ip}-only_egress-POLICY_INGRESS`, before: only('a', 'egress'), frame: (s) => toB(s) },
    { name: `${ip}-only_ingress-POLICY_EGRESS`, before: only('b', 'ingress'), frame: (s) => toB(s) },
    { name: `${ip}-no_rules_from_node-POLICY_INGRESS`, from: () => 0, before: noRules, frame: fromNode },
    {
      name: `${ip}-no_rules_from_world-POLICY_INGRESS`,
      from: () => UPLINK,
      before: noRules,
      frame: fromWorld,
    },
    { name: `${ip}-denied_egress-POLICY_EGRESS_DENY`, before: deny('a', 'egress'), frame: (s) => toB(s) },
    { name: `${ip}-denied_ingress-POLICY_INGRESS_DENY`, before: deny('b', 'ingress'), frame: (s) => toB(s) },
    {
      name: `${ip}-denied_from_node-POLICY_INGRESS_DENY`,
      from: () => 0,
      before: deny('a', 'ingress'),
      frame: fromNode,
    },
    {
      name: `${ip}-denied_from_world-POLICY_INGRESS_DENY`,
      from: () => UPLINK,
      before: deny('a', 'ingress'),
      frame: fromWorld,
    },
    {
      name: `${ip}-by_way_of_the_host-PASS`,
      at: (s) => s.b,
      from: (s) => s.c.ifindex,
      frame: (s) => incoming(s.b, addressOf(s.c, family)).udp(),
    },
    {
      name: `${ip}-by_way_of_the_host_denied-POLICY_EGRESS_DENY`,
      at: (s) => s.b,
      from: (s) => s.c.ifindex,
      before: (s) => s.rule({ subject: s.c, direction: 'egress', verdict: 'deny', precedence: 900 }),
      frame: (s) => incoming(s.b, addressOf(s.c, family)).udp(),
    },
    { name: `${ip}-unknown_flow-NO_CONNECTION`, frame: (s) => toB(s, TCP.ACK) },
    {
      name: `${ip}-cut_by_new_rules-CONNECTION_CUT`,
      before: (s) => {
        s.send(s.a, toB(s));
        s.newEpoch(() => {});
      },
      frame: (s) => toB(s, TCP.ACK),
    },
    { name: `${ip}-receiver_removed-NO_SUCH_ENDPOINT`, before: (s) => s.remove(s.b), frame: (s) => toB(s) },
    {
      name: `${ip}-receiver_of_known_flow_removed-NO_SUCH_ENDPOINT`,
      before: (s) => {
        s.send(s.a, toB(s));
        s.remove(s.b);
      },
      frame: (s) => toB(s, TCP.ACK),
      answered: true,
    },
    {
      name: `${ip}-address_of_another_interface-NO_SUCH_ENDPOINT`,
      before: (s) => {
        s.add({ ...s.b, ip4: '10.7.0.13', ip6: 'fd00:7::d' });
        s.programs.addresses.set(keyOf(s, family), { ifindex: s.b.ifindex, endpointId: s.b.id });
      },
      frame: (s) => toB(s),
    },
    {
      name: `${ip}-address_of_an_earlier_endpoint-NO_SUCH_ENDPOINT`,
      before: (s) => s.programs.addresses.set(keyOf(s, family), { ifindex: s.b.ifindex, endpointId: 4711 }),
      frame: (s) => toB(s),
    },
    {
      name: `${ip}-flow_of_the_world_used_by_another-BAD_SOURCE`,
      before: (s) => void s.send(s.a, outgoing(s.a, WORLD[family]).udp()),
      from: (s) => s.c.ifindex,
      frame: (s) => incoming(s.a, WORLD[family]).udp({ sourcePort: 53, destinationPort: 40000 }),
    },
    {
      name: `${ip}-flow_of_a_container_used_by_the_node-BAD_SOURCE`,
      at: (s) => s.b,
      before: (s) => void s.send(s.a, outgoing(s.a, addressOf(s.b, family)).udp()),
      from: () => 0,
      frame: (s) => incoming(s.b, addressOf(s.a, family)).udp(),
    },
    { name: `${ip}-to_itself-PASS`, frame: (s) => outgoing(s.a, addressOf(s.a, family)).udp() },
    {
      name: `${ip}-reply-PASS`,
      before: (s) => void s.send(s.a, toB(s)),
      at: (s) => s.b,
      frame: (s) =>
        outgoing(s.b, addressOf(s.a, family)).tcp({
          sourcePort: 80,
          destinationPort: 40000,
          flags: TCP.SYN | TCP.ACK,
        }),
    },
    {
      name: `${ip}-copy_between_networks-NOT_FOR_ENDPOINT`,
      from: (s) => s.c.ifindex,
      before: (s) => s.add({ ...s.a, flags: 3 }),
      frame: (s) =>
        incoming(s.a, addressOf(s.c, family))
          .udp()
          .edit((bytes) => multicast(bytes, family)),
    },
    {
      name: `${ip}-copy_forbidden-POLICY_INGRESS_DENY`,
      at: (s) => s.b,
      from: (s) => s.a.ifindex,
      before: (s) => {
        s.add({ ...s.b, flags: 3 });
        s.rule({
          subject: s.b,
          direction: 'ingress',
          protocol: PROTOCOL.UDP,
          port: 53,
          verdict: 'deny',
          precedence: 900,
        });
      },
      frame: (s) =>
        incoming(s.b, addressOf(s.a, family))
          .udp()
          .edit((bytes) => multicast(bytes, family)),
    },
    {
      name: `${ip}-copy-PASS`,
      at: (s) => s.b,
      from: (s) => s.a.ifindex,
      before: (s) => s.add({ ...s.b, flags: 3 }),
      frame: (s) =>
        incoming(s.b, addressOf(s.a, family))
          .udp()
          .edit((bytes) => multicast(bytes, family)),
    },
  ];
}

/** Policy, connections and who stands at their ends. */
export const flowRows: Row[] = FAMILIES.flatMap(rowsOf);

/** Room for so little that the rows fill it. */
export const TIGHT = {
  settings: { flows_per_endpoint: 3, events_burst: 1_000_000 },
  maxEntries: { qn_conntrack: 4, qn_flow_counts: 2, qn_fragments: 1 },
} as const;

export const tightRows: Row[] = FAMILIES.flatMap((family): Row[] => {
  const ip = `ip${family}`;
  const flow = (s: Scenario, who: 'a' | 'b', sourcePort: number) =>
    outgoing(s[who], addressOf(s.c, family)).udp({ sourcePort });
  const open = (who: 'a' | 'b', count: number) => (s: Scenario) => {
    for (let port = 1; port <= count; port++) s.send(s[who], flow(s, who, port));
  };
  const both = (s: Scenario) => {
    open('a', 3)(s);
    open('b', 1)(s);
  };
  return [
    { name: `${ip}-third_flow-PASS`, before: open('a', 2), frame: (s) => flow(s, 'a', 3) },
    { name: `${ip}-fourth_flow-FLOW_LIMIT`, before: open('a', 3), frame: (s) => flow(s, 'a', 4) },
    { name: `${ip}-known_flow_at_the_limit-PASS`, before: open('a', 3), frame: (s) => flow(s, 'a', 3) },
    {
      name: `${ip}-flow_of_another_at_the_limit-PASS`,
      before: open('a', 3),
      at: (s) => s.b,
      frame: (s) => flow(s, 'b', 1),
    },
    {
      name: `${ip}-fragments_of_one_more-FRAGMENT_TABLE_FULL`,
      before: (s) => void s.send(s.a, part(s, family, { more: true }).udp({ length: 1000 }).payload(24)),
      at: (s) => s.c,
      frame: (s) => part(s, family, { more: true, from: s.c }).udp({ length: 1000 }).payload(24),
    },
    { name: `${ip}-table_full-CONNTRACK_FULL`, before: both, at: (s) => s.b, frame: (s) => flow(s, 'b', 2) },
    {
      name: `${ip}-known_flow_with_full_table-PASS`,
      before: both,
      at: (s) => s.b,
      frame: (s) => flow(s, 'b', 1),
    },
    {
      name: `${ip}-reply_with_full_table-PASS`,
      before: both,
      at: (s) => s.c,
      frame: (s) => outgoing(s.c, addressOf(s.a, family)).udp({ sourcePort: 53, destinationPort: 2 }),
    },
    {
      name: `${ip}-no_room_to_count-MAP_CORRUPT`,
      before: (s) => {
        s.programs.flowCounts.set(1, { flows: 0, inbound: 0, inboundNs: 0n });
        s.programs.flowCounts.set(2, { flows: 0, inbound: 0, inboundNs: 0n });
      },
      frame: (s) => flow(s, 'a', 1),
    },
  ];
});

function keyOf(s: Scenario, family: Family) {
  return { networkId: s.b.networkId, address: mappedAddress(addressOf(s.b, family)) };
}

/** The same frame to everyone. */
function multicast(bytes: Uint8Array, family: Family): Uint8Array {
  const copy = bytes.slice();
  if (family === 4) copy.set([224, 0, 0, 251], 14 + 16);
  else copy.set([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfb], 14 + 24);
  return copy;
}
