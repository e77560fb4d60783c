import { Identity, PolicyPeer } from '../../../src/datapath/abi/generated.js';
import { PROTOCOL } from '../../support/packet.js';
import type { Rule, Scenario } from '../../support/scenario.js';
import { NETWORK } from '../../support/scenario-parties.js';

const BLUE = PolicyPeer.NETWORK_FLAG | NETWORK.BLUE;
const RED = PolicyPeer.NETWORK_FLAG | NETWORK.RED;
const { TCP, UDP, SCTP } = PROTOCOL;

/** Rules of a's egress; then port, transport and what is said. */
export const LOOKUPS: Record<
  string,
  { rules: (s: Scenario) => Partial<Rule>[]; asks: [number, 'tcp' | 'udp' | 'sctp', string][] }
> = {
  'a rule for one port is for that port of that protocol alone': {
    rules: () => [{ protocol: TCP, port: 443 }],
    asks: [
      [443, 'tcp', 'NONE'],
      [442, 'tcp', 'POLICY_EGRESS'],
      [444, 'tcp', 'POLICY_EGRESS'],
      [443, 'udp', 'POLICY_EGRESS'],
      [443, 'sctp', 'POLICY_EGRESS'],
      [0, 'tcp', 'POLICY_EGRESS'],
      [0xbb01, 'tcp', 'POLICY_EGRESS'],
    ],
  },
  'a prefix of ports is for the range that it covers': {
    rules: () => [{ protocol: UDP, port: 0x1000, portBits: 6 }],
    asks: [
      [0x1000, 'udp', 'NONE'],
      [0x13ff, 'udp', 'NONE'],
      [0x0fff, 'udp', 'POLICY_EGRESS'],
      [0x1400, 'udp', 'POLICY_EGRESS'],
      [0x1000, 'tcp', 'POLICY_EGRESS'],
    ],
  },
  'a range of two prefixes has no hole and no end too many': {
    rules: () => [
      { protocol: TCP, port: 80, portBits: 15 },
      { protocol: TCP, port: 82, portBits: 16 },
    ],
    asks: [
      [79, 'tcp', 'POLICY_EGRESS'],
      [80, 'tcp', 'NONE'],
      [81, 'tcp', 'NONE'],
      [82, 'tcp', 'NONE'],
      [83, 'tcp', 'POLICY_EGRESS'],
    ],
  },
  'the upper half of all ports': {
    rules: () => [{ protocol: TCP, port: 0x8000, portBits: 1 }],
    asks: [
      [0x7fff, 'tcp', 'POLICY_EGRESS'],
      [0x8000, 'tcp', 'NONE'],
      [65535, 'tcp', 'NONE'],
    ],
  },
  'any port of a protocol': {
    rules: () => [{ protocol: SCTP }],
    asks: [
      [0, 'sctp', 'NONE'],
      [1, 'sctp', 'NONE'],
      [65535, 'sctp', 'NONE'],
      [1, 'tcp', 'POLICY_EGRESS'],
    ],
  },
  'port 0 is a port like others': {
    rules: () => [{ protocol: UDP, port: 0, portBits: 16 }],
    asks: [
      [0, 'udp', 'NONE'],
      [1, 'udp', 'POLICY_EGRESS'],
    ],
  },
  'any protocol': {
    rules: () => [{}],
    asks: [
      [1, 'tcp', 'NONE'],
      [65535, 'udp', 'NONE'],
      [0, 'sctp', 'NONE'],
    ],
  },
  'the identity of the other side': { rules: (s) => [{ peer: s.b }], asks: [[80, 'tcp', 'NONE']] },
  'another identity': { rules: (s) => [{ peer: s.c }], asks: [[80, 'tcp', 'POLICY_EGRESS']] },
  'the network of the other side': { rules: () => [{ peer: BLUE }], asks: [[80, 'tcp', 'NONE']] },
  'another network': { rules: () => [{ peer: RED }], asks: [[80, 'tcp', 'POLICY_EGRESS']] },
  'host and world are nobody in a network': {
    rules: () => [{ peer: Identity.HOST }, { peer: Identity.WORLD }],
    asks: [[80, 'tcp', 'POLICY_EGRESS']],
  },
  'deny beats allow among equals, whichever is more exact': {
    rules: (s) => [{ peer: s.b, protocol: TCP, port: 80 }, { verdict: 'deny' }],
    asks: [
      [80, 'tcp', 'POLICY_EGRESS_DENY'],
      [81, 'tcp', 'POLICY_EGRESS_DENY'],
    ],
  },
  'deny of one port among equals leaves the others': {
    rules: () => [{}, { protocol: TCP, port: 22, verdict: 'deny' }],
    asks: [
      [22, 'tcp', 'POLICY_EGRESS_DENY'],
      [22, 'udp', 'NONE'],
      [23, 'tcp', 'NONE'],
    ],
  },
  'a higher allow beats a lower deny': {
    rules: () => [
      { precedence: 10, verdict: 'deny' },
      { protocol: TCP, port: 80, precedence: 11 },
    ],
    asks: [
      [80, 'tcp', 'NONE'],
      [81, 'tcp', 'POLICY_EGRESS_DENY'],
    ],
  },
  'a higher deny beats a lower allow that is more exact': {
    rules: (s) => [
      { peer: s.b, protocol: TCP, port: 80, precedence: 10 },
      { peer: BLUE, precedence: 65535, verdict: 'deny' },
    ],
    asks: [[80, 'tcp', 'POLICY_EGRESS_DENY']],
  },
  'precedence 0 is a precedence': {
    rules: () => [{ precedence: 0 }, { protocol: TCP, port: 80, precedence: 0, verdict: 'deny' }],
    asks: [
      [80, 'tcp', 'POLICY_EGRESS_DENY'],
      [81, 'tcp', 'NONE'],
    ],
  },
  'rules of the other direction say nothing': {
    rules: () => [{ direction: 'ingress' }],
    asks: [[80, 'tcp', 'POLICY_EGRESS']],
  },
  'rules of another subject say nothing': {
    rules: (s) => [{ subject: s.c }],
    asks: [[80, 'tcp', 'POLICY_EGRESS']],
  },
};
