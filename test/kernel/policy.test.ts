/** Which rule decides: asked through the programs, with one packet per question. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Identity, PolicyPeer } from '../../src/datapath/abi/generated.js';
import { PROTOCOL } from '../support/packet.js';
import { ACTION } from '../support/programs.js';
import type { Rule, Scenario } from '../support/scenario.js';
import { echo, incoming, outgoing } from '../support/scenario-frames.js';
import {
  addressOf,
  FAMILIES,
  type Family,
  GATEWAY,
  NETWORK,
  NODE,
  UPLINK,
  WORLD,
} from '../support/scenario-parties.js';
import { useScenario } from '../support/use-scenario.js';
import { LOOKUPS } from './rows/lookups.js';

let s: Scenario;
useScenario((scenario) => {
  s = scenario;
});

type Transport = 'tcp' | 'udp' | 'sctp';
const ask = (family: Family, port: number, transport: Transport = 'tcp', to = s.b) => {
  s.programs.conntrack.clear();
  return s.send(s.a, outgoing(s.a, addressOf(to, family))[transport]({ destinationPort: port })).reason;
};
/** b takes everything, so that a's rules decide. */
const opened = (rules: Partial<Rule>[]) => {
  s.rule({ subject: s.b, direction: 'ingress' });
  s.rule({ subject: s.c, direction: 'ingress' });
  for (const rule of rules) s.rule({ subject: s.a, direction: 'egress', ...rule });
};
const BLUE = PolicyPeer.NETWORK_FLAG | NETWORK.BLUE;
const RED = PolicyPeer.NETWORK_FLAG | NETWORK.RED;
const { TCP, UDP } = PROTOCOL;

describe.each(FAMILIES)('IPv%i', (family) => {
  it.each(Object.entries(LOOKUPS))('%s', (_name, { rules, asks }) => {
    opened(rules(s));
    for (const [port, transport, reason] of asks)
      expect([port, transport, ask(family, port, transport)]).toEqual([port, transport, reason]);
  });

  it('an echo has no port: only rules for all protocols or all of ICMP speak of it', () => {
    const ping = () => {
      s.programs.conntrack.clear();
      return s.send(s.a, echo(outgoing(s.a, addressOf(s.b, family)), family, 80)).reason;
    };
    const protocol = family === 4 ? PROTOCOL.ICMP : PROTOCOL.ICMPV6;
    opened([{ protocol: TCP }, { protocol: UDP, port: 80 }, { protocol, port: 80 }]);
    expect(ping()).toBe('POLICY_EGRESS');
    s.rule({ subject: s.a, direction: 'egress', protocol });
    expect(ping()).toBe('NONE');
    s.programs.policy.clear();
    opened([{}]);
    expect(ping()).toBe('NONE');
  });

  it('both sides must allow', () => {
    expect(ask(family, 80)).toBe('POLICY_EGRESS');
    s.rule({ subject: s.a, direction: 'egress', peer: s.b, protocol: TCP, port: 80 });
    expect(ask(family, 80)).toBe('POLICY_INGRESS');
    s.rule({ subject: s.b, direction: 'ingress', peer: s.a, protocol: TCP, port: 81 });
    expect(ask(family, 80)).toBe('POLICY_INGRESS');
    s.rule({ subject: s.b, direction: 'ingress', peer: BLUE, protocol: TCP, port: 80 });
    expect(ask(family, 80)).toBe('NONE');
  });

  it('the rule that decided is named in the record, of each side', () => {
    s.rule({ subject: s.a, direction: 'egress', rule: 1, precedence: 5 });
    s.rule({ subject: s.a, direction: 'egress', peer: s.b, rule: 2, precedence: 7 });
    s.rule({ subject: s.b, direction: 'ingress', protocol: TCP, port: 80, rule: 3, precedence: 9 });
    s.rule({ subject: s.b, direction: 'ingress', rule: 4, precedence: 8 });
    ask(family, 80);
    expect(s.programs.conntrack.entries()[0]?.value.rule).toEqual([2, 3]);
  });

  it('the event of a denial names the rule, of a default denial none', async () => {
    opened([{ verdict: 'deny', rule: 77 }]);
    ask(family, 80);
    expect(await s.programs.takeEvent()).toMatchObject({
      egressRule: 77,
      ingressRule: 0,
      sourceIdentity: 301,
      destinationIdentity: 302,
    });
    s.programs.policy.clear();
    ask(family, 80);
    expect(await s.programs.takeEvent()).toMatchObject({ egressRule: 0, ingressRule: 0 });
  });

  it('the slot that does not count is never seen', () => {
    const other = (s.epoch + 1) & 1;
    s.allowAll(other);
    expect(ask(family, 80)).toBe('POLICY_EGRESS');
    s.programs.control.set(0, { policyEpoch: s.epoch + 1 });
    expect(ask(family, 80)).toBe('NONE');
    s.programs.control.set(0, { policyEpoch: s.epoch + 1 });
    expect(ask(family, 80)).toBe('POLICY_EGRESS');
  });

  it('a subject of the other slot alone is not computed', () => {
    s.allowAll();
    s.programs.subjects.clear();
    const other = (s.epoch + 1) & 1;
    s.computed(s.a, other);
    s.computed(s.b, other);
    expect(ask(family, 80)).toBe('POLICY_MISSING');
  });

  it.each([
    ['the node', Identity.HOST, NODE, 0],
    ['the gateway', Identity.HOST, GATEWAY, 0],
    ['the world', Identity.WORLD, WORLD, UPLINK],
  ] as const)('%s is a peer both ways', (_name, peer, addresses, ingress) => {
    const out = () => s.send(s.a, outgoing(s.a, addresses[family]).tcp());
    const into = () => s.receive(s.a, incoming(s.a, addresses[family]).udp(), ingress);
    const wrong = peer === Identity.HOST ? Identity.WORLD : Identity.HOST;
    s.rule({ subject: s.a, direction: 'egress', peer: wrong });
    s.rule({ subject: s.a, direction: 'ingress', peer: wrong });
    expect([out().reason, into().reason]).toEqual(['POLICY_EGRESS', 'POLICY_INGRESS']);
    s.rule({ subject: s.a, direction: 'egress', peer });
    s.rule({ subject: s.a, direction: 'ingress', peer });
    expect(out()).toMatchObject({ reason: 'NONE', verdict: ACTION.PASS });
    expect(into()).toMatchObject({ reason: 'NONE', verdict: ACTION.PASS });
  });

  it('the node is the node whatever address it uses', () => {
    s.rule({ subject: s.a, direction: 'ingress', peer: Identity.HOST });
    expect(s.receive(s.a, incoming(s.a, WORLD[family]).tcp(), 0).reason).toBe('NONE');
  });

  it('by way of the host, a container is who its interface says', () => {
    s.rule({ subject: s.c, direction: 'egress' });
    s.rule({ subject: s.a, direction: 'ingress', peer: s.c });
    expect(s.receive(s.a, incoming(s.a, NODE[family]).tcp(), s.c.ifindex).reason).toBe('NONE');
    expect(s.receive(s.a, incoming(s.a, NODE[family]).udp(), s.b.ifindex).reason).toBe('POLICY_EGRESS');
  });

  it('any set of rules decides as reading them all would', () => {
    const port = fc.constantFrom(0, 1, 79, 80, 81, 443, 0x7fff, 0x8000, 0xffff);
    const ruleOf = fc.record({
      peer: fc.constantFrom(0, 302, 303, 301, BLUE, RED, 1, 2),
      proto: fc.constantFrom(0, TCP, UDP),
      port,
      bits: fc.constantFrom(0, 1, 8, 12, 15, 16),
      precedence: fc.constantFrom(0, 1, 2, 65535),
      verdict: fc.constantFrom('allow' as const, 'deny' as const),
    });
    const asks = fc.array(fc.tuple(port, fc.constantFrom('tcp' as const, 'udp' as const), fc.boolean()), {
      minLength: 8,
      maxLength: 8,
    });
    fc.assert(
      fc.property(fc.array(ruleOf, { maxLength: 8 }), asks, (drawn, questions) => {
        s.programs.policy.clear();
        s.programs.subjects.clear();
        s.computed(s.a);
        const rules = drawn.map((rule) => ({
          ...rule,
          bits: rule.proto === 0 ? 0 : rule.bits,
          port: rule.proto === 0 ? 0 : rule.port & (0xffff0000 >> rule.bits) & 0xffff,
        }));
        opened(
          rules.map(({ peer, proto, port: at, bits, precedence, verdict }) => ({
            peer,
            protocol: proto,
            port: at,
            portBits: bits,
            precedence,
            verdict,
          })),
        );
        const unique = new Map(
          rules.map((rule) => [`${rule.peer} ${rule.proto} ${rule.port} ${rule.bits}`, rule]),
        );
        for (const [to, transport, red] of questions) {
          const peers = red ? [0, 303, RED] : [0, 302, BLUE];
          const matching = [...unique.values()].filter(
            (rule) =>
              peers.includes(rule.peer) &&
              (rule.proto === 0 ||
                (rule.proto === PROTOCOL[transport === 'tcp' ? 'TCP' : 'UDP'] &&
                  (to & (0xffff0000 >> rule.bits) & 0xffff) === rule.port)),
          );
          const top = Math.max(...matching.map((rule) => rule.precedence));
          const winners = matching.filter((rule) => rule.precedence === top);
          const denied = winners.some((rule) => rule.verdict === 'deny') ? 'POLICY_EGRESS_DENY' : 'NONE';
          expect(ask(family, to, transport, red ? s.c : s.b)).toBe(
            winners.length === 0 ? 'POLICY_EGRESS' : denied,
          );
        }
      }),
      { numRuns: 100 },
    );
  });
});
