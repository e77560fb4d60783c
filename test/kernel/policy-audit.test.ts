/** Rules that are only audited: they change nothing but what is told. */
import { describe, expect, it } from 'vitest';
import { EventKind, PolicyTier } from '../../src/datapath/abi/generated.js';
import { TCP } from '../support/packet.js';
import { reasonName } from '../support/programs.js';
import { rangePeer } from '../support/rule-maps.js';
import type { Scenario } from '../support/scenario.js';
import { incoming, outgoing } from '../support/scenario-frames.js';
import { addressOf, FAMILIES, UPLINK, WORLD } from '../support/scenario-parties.js';
import { useScenario } from '../support/use-scenario.js';

let s: Scenario;
useScenario((scenario) => {
  s = scenario;
});

const { NETWORK_POLICY, BASELINE, DEFAULT } = PolicyTier;

describe.each(FAMILIES)('IPv%i', (family) => {
  const ask = () => {
    s.programs.conntrack.clear();
    return s.send(s.a, outgoing(s.a, addressOf(s.b, family)).tcp());
  };
  const told = async () => {
    const event = await s.programs.takeEvent();
    return { ...event, reason: reasonName(event.reason), auditReason: reasonName(event.auditReason) };
  };

  it('what an audited rule would deny passes, and is counted and told as what would have been dropped', async () => {
    s.allowAll();
    s.rule({ subject: s.a, direction: 'egress', audit: true, verdict: 'deny', precedence: 900, rule: 66 });
    const outcome = ask();
    expect(outcome).toMatchObject({ reason: 'NONE', auditReason: 'POLICY_EGRESS_DENY' });
    expect(await told()).toMatchObject({
      kind: EventKind.FLOW,
      reason: 'NONE',
      egressRule: 1011,
      ingressRule: 2012,
      audited: 1,
      auditReason: 'POLICY_EGRESS_DENY',
      auditEgressRule: 66,
      auditIngressRule: 0,
    });
    expect(s.programs.conntrack.entries()[0]?.value.rule).toEqual([1011, 2012]);
  });

  it('what an audited rule would allow is dropped, and told as what would have passed', async () => {
    s.rule({ subject: s.b, direction: 'ingress', rule: 5 });
    s.rule({ subject: s.a, direction: 'egress', audit: true, rule: 67 });
    const outcome = ask();
    expect(outcome.reason).toBe('POLICY_EGRESS');
    // Only what is forwarded is counted as audited: a counter of drops that were none would be no help.
    expect(outcome.auditReason).toBeUndefined();
    expect(await told()).toMatchObject({
      kind: EventKind.DROP,
      reason: 'POLICY_EGRESS',
      egressRule: 0,
      ingressRule: 0,
      audited: 1,
      auditReason: 'NONE',
      auditEgressRule: 67,
      auditIngressRule: 5,
    });
    expect(s.programs.conntrack.entries()).toEqual([]);
  });

  it.each(['egress', 'ingress'] as const)('an audited isolation of %s denies nothing', async (direction) => {
    s.rule({ subject: s.a, direction: 'egress', tier: DEFAULT });
    s.rule({ subject: s.b, direction: 'ingress', tier: DEFAULT });
    s.isolate(direction === 'egress' ? s.a : s.b, direction, true);
    const reason = `POLICY_${direction.toUpperCase()}`;
    expect(ask()).toMatchObject({ reason: 'NONE', auditReason: reason });
    expect(await told()).toMatchObject({ audited: 1, auditReason: reason });
  });

  it('audited and enforced rules are judged together: the union of NetworkPolicies', () => {
    s.rule({ subject: s.b, direction: 'ingress' });
    s.isolate(s.a, 'egress', true);
    s.rule({ subject: s.a, direction: 'egress', tier: NETWORK_POLICY, peer: s.b });
    s.isolate(s.a, 'egress');
    expect(ask()).toMatchObject({ reason: 'NONE' });
    expect(ask().auditReason).toBeUndefined();
    s.rule({ subject: s.a, direction: 'egress', tier: NETWORK_POLICY, audit: true, peer: s.c });
    expect(ask().auditReason).toBeUndefined();
  });

  it('an enforced rule and an audited one of the same key are two', async () => {
    s.allowAll();
    s.rule({ subject: s.b, direction: 'ingress', rule: 81, tier: BASELINE, precedence: 4 });
    s.rule({ subject: s.b, direction: 'ingress', rule: 82, precedence: 900, audit: true, verdict: 'deny' });
    expect(ask()).toMatchObject({ reason: 'NONE', auditReason: 'POLICY_INGRESS_DENY' });
    expect(await told()).toMatchObject({ ingressRule: 2012, auditEgressRule: 1011, auditIngressRule: 82 });
  });

  it('where both say the same nothing is told', async () => {
    s.allowAll();
    s.rule({ subject: s.a, direction: 'egress', audit: true, precedence: 900, rule: 66 });
    expect(ask().auditReason).toBeUndefined();
    expect(await told()).toMatchObject({ audited: 0, egressRule: 1011 });
    s.rule({ subject: s.a, direction: 'egress', verdict: 'deny', precedence: 901, rule: 9 });
    expect(ask().reason).toBe('POLICY_EGRESS_DENY');
    expect(await told()).toMatchObject({ audited: 0, egressRule: 9 });
  });

  it('a later side that an enforced denial hides is told by the audit', async () => {
    s.rule({ subject: s.a, direction: 'egress', audit: true, rule: 67 });
    s.rule({ subject: s.b, direction: 'ingress', verdict: 'deny', rule: 7 });
    expect(ask().reason).toBe('POLICY_EGRESS');
    // Both judgements drop it, so that nothing would have been different.
    expect(await told()).toMatchObject({ audited: 0 });
  });

  it('audited rules share the ranges with those that are enforced', () => {
    s.allowAll();
    const range = family === 4 ? '198.18.0.0/16' : 'fd99::/32';
    s.range(s.a, 'egress', range, 4);
    const deny = { verdict: 'deny', audit: true, precedence: 900 } as const;
    s.rule({ subject: s.a, direction: 'egress', peer: rangePeer(4), ...deny });
    expect(s.send(s.a, outgoing(s.a, WORLD[family]).tcp())).toMatchObject({
      reason: 'NONE',
      auditReason: 'POLICY_EGRESS_DENY',
    });
    expect(ask().auditReason).toBeUndefined();
  });

  it('what comes from outside is audited by the receiver alone', () => {
    s.allowAll();
    s.rule({ subject: s.a, direction: 'ingress', verdict: 'deny', audit: true, precedence: 900 });
    expect(s.receive(s.a, incoming(s.a, WORLD[family]).tcp(), UPLINK)).toMatchObject({
      reason: 'NONE',
      auditReason: 'POLICY_INGRESS_DENY',
    });
  });

  it.each(['opener', 'responder'])(
    'a known flow that the new audited rules would cut goes on and is told once, with the parties as the packet of the %s has them',
    async (end) => {
      s.allowAll();
      const tcp = (from: typeof s.a, to: typeof s.a, fields: object) =>
        s.send(from, outgoing(from, addressOf(to, family)).tcp(fields));
      const next = () =>
        end === 'opener'
          ? tcp(s.a, s.b, { flags: TCP.ACK })
          : tcp(s.b, s.a, { sourcePort: 80, destinationPort: 40000, flags: TCP.ACK });
      tcp(s.a, s.b, { flags: TCP.SYN });
      tcp(s.b, s.a, { sourcePort: 80, destinationPort: 40000, flags: TCP.SYN | TCP.ACK });
      s.newEpoch((slot) => {
        s.allowAll(slot);
        const deny = { verdict: 'deny', audit: true, precedence: 900, rule: 68 } as const;
        s.rule({ subject: s.b, direction: 'ingress', ...deny }, slot);
      });
      expect(next()).toMatchObject({ reason: 'NONE', auditReason: 'POLICY_INGRESS_DENY' });
      const [from, to] = end === 'opener' ? [s.a, s.b] : [s.b, s.a];
      expect(await told()).toMatchObject({
        audited: 1,
        auditIngressRule: 68,
        sourceIdentity: from.identity,
        sourceEndpointId: from.id,
        destinationIdentity: to.identity,
        destinationEndpointId: to.id,
      });
      expect(next().auditReason).toBeUndefined();
    },
  );
});
