/** Programs that are loaded to explain: the same answers, and no trace. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Explainer } from '../support/explainer.js';
import { SERVICE } from '../support/frontends.js';
import { type Packet, PROTOCOL, TCP } from '../support/packet.js';
import { ACTION, Programs, reasonName } from '../support/programs.js';
import { Scenario } from '../support/scenario.js';
import { echo, incoming, outgoing } from '../support/scenario-frames.js';
import {
  addressOf,
  FAMILIES,
  NOBODY,
  type TestEndpoint,
  UPLINK,
  WORLD,
} from '../support/scenario-parties.js';
import { part } from './rows/fragments.js';

let s: Scenario;
let explainer: Explainer;
beforeAll(async () => {
  s = new Scenario(await Programs.load());
  explainer = await Explainer.load(s.programs);
});
afterAll(() => {
  explainer?.close();
  s?.programs.close();
});
beforeEach(() => s.reset());

const sent = (from: TestEndpoint, frame: Packet) => {
  const answer = explainer.explain('from_container', frame, { ifindex: from.ifindex });
  return { ...answer, reason: reasonName(answer.reason), auditReason: reasonName(answer.auditReason) };
};
const received = (to: TestEndpoint, frame: Packet, ingressIfindex: number) => {
  const answer = explainer.explain('to_container', frame, { ifindex: to.ifindex, ingressIfindex });
  return { ...answer, reason: reasonName(answer.reason) };
};
/** Everything that the programs write. */
const traces = () => ({
  conntrack: s.programs.conntrack.entries(),
  fragments: s.programs.fragments.entries(),
  flowCounts: s.programs.flowCounts.entries(),
  eventLimits: s.programs.eventLimits.entries(),
  counters: s.programs.metrics(),
});
const NO_TRACE = { conntrack: [], fragments: [], flowCounts: [], eventLimits: [], counters: [] };

describe.each(FAMILIES)('IPv%i', (family) => {
  const toB = () => outgoing(s.a, addressOf(s.b, family)).tcp();

  it('an allowed flow is explained with the rules of both sides, and not opened', () => {
    s.allowAll();
    expect(sent(s.a, toB())).toMatchObject({
      reason: 'NONE',
      verdict: ACTION.REDIRECT,
      sourceIdentity: 301,
      destinationIdentity: 302,
      sourceEndpointId: 11,
      destinationEndpointId: 12,
      egressRule: 1011,
      ingressRule: 2012,
      audited: 0,
    });
    expect(traces()).toEqual(NO_TRACE);
  });

  it('a denied one too, by a rule and by default', () => {
    s.allowAll();
    s.rule({ subject: s.b, direction: 'ingress', verdict: 'deny', precedence: 900, rule: 9 });
    expect(sent(s.a, toB())).toMatchObject({
      reason: 'POLICY_INGRESS_DENY',
      verdict: ACTION.DROP,
      egressRule: 1011,
      ingressRule: 9,
    });
    s.programs.policy.clear();
    expect(sent(s.a, toB())).toMatchObject({ reason: 'POLICY_EGRESS', egressRule: 0, ingressRule: 0 });
    expect(traces()).toEqual(NO_TRACE);
  });

  it('with what the audited rules would have said', () => {
    s.allowAll();
    s.rule({ subject: s.a, direction: 'egress', audit: true, verdict: 'deny', precedence: 900, rule: 66 });
    expect(sent(s.a, toB())).toMatchObject({
      reason: 'NONE',
      egressRule: 1011,
      audited: 1,
      auditReason: 'POLICY_EGRESS_DENY',
      auditEgressRule: 66,
      auditIngressRule: 0,
    });
    expect(traces()).toEqual(NO_TRACE);
  });

  it('what comes from outside', () => {
    s.rule({ subject: s.a, direction: 'ingress', peer: 2, rule: 12 });
    expect(received(s.a, incoming(s.a, WORLD[family]).udp(), UPLINK)).toMatchObject({
      reason: 'NONE',
      sourceIdentity: 2,
      sourceEndpointId: 0,
      destinationEndpointId: 11,
      egressRule: 0,
      ingressRule: 12,
    });
    expect(received(s.a, incoming(s.a, WORLD[family]).udp(), 0)).toMatchObject({
      reason: 'POLICY_INGRESS',
      sourceIdentity: 1,
    });
    expect(traces()).toEqual(NO_TRACE);
  });

  it('what is dropped before any rule is asked', () => {
    expect(sent(s.a, outgoing(s.a, NOBODY[family]).tcp()).reason).toBe('NO_SUCH_ENDPOINT');
    s.programs.subjects.clear();
    expect(sent(s.a, toB()).reason).toBe('POLICY_MISSING');
    expect(traces()).toEqual(NO_TRACE);
  });

  it('a known flow is judged as if it opened now, and stays as it is', () => {
    s.allowAll();
    s.send(s.a, toB());
    const before = traces();
    const records = before.conntrack;
    s.newEpoch(() => {});
    expect(sent(s.a, toB()).reason).toBe('POLICY_EGRESS');
    expect(sent(s.a, outgoing(s.a, addressOf(s.b, family)).tcp({ flags: TCP.ACK })).reason).toBe(
      'NO_CONNECTION',
    );
    expect(traces()).toEqual({ ...before, conntrack: records });
  });

  it('an error about a known flow leaves the flow as it is', () => {
    s.allowAll();
    s.send(s.a, toB());
    s.newEpoch(() => {});
    const before = traces();
    const quoted = incoming(s.b, addressOf(s.a, family)).tcp().bytes().subarray(14);
    const error = outgoing(s.b, addressOf(s.a, family));
    const frame =
      family === 4
        ? error.icmp({ type: 3, code: 3, body: quoted })
        : error.icmpv6({ type: 1, code: 4, body: quoted });
    expect(sent(s.b, frame).reason).toBe('ICMP_UNRELATED');
    expect(traces()).toEqual(before);
    expect(s.send(s.b, frame).reason).toBe('CONNECTION_CUT');
  });

  it("a client's container is kept for it no longer than before", () => {
    s.allowAll();
    const backends = [{ address: addressOf(s.b, family), port: 8080 }];
    s.frontend({ address: SERVICE[family], port: 80, protocol: PROTOCOL.TCP, backends, affinityS: 60 });
    const toService = outgoing(s.a, SERVICE[family]).tcp({ destinationPort: 80 });
    expect(sent(s.a, toService)).toMatchObject({ reason: 'NONE', destinationEndpointId: 12 });
    expect(s.programs.affinity.entries()).toEqual([]);
    s.send(s.a, toService);
    const before = s.programs.affinity.entries();
    expect(before).toHaveLength(1);
    expect(sent(s.a, toService)).toMatchObject({ reason: 'NONE', destinationEndpointId: 12 });
    expect(s.programs.affinity.entries()).toEqual(before);
  });

  it('a first fragment is not remembered', () => {
    s.allowAll();
    const first = part(s, family, { more: true }).udp({ length: 1000 }).payload(24);
    expect(sent(s.a, first).reason).toBe('NONE');
    expect(traces()).toEqual(NO_TRACE);
  });

  it('says what the programs that enforce then do', () => {
    s.allowAll();
    s.rule({ subject: s.a, direction: 'egress', verdict: 'deny', precedence: 900, peer: s.c, rule: 31 });
    for (const to of [s.b, s.c]) {
      for (const frame of [
        outgoing(s.a, addressOf(to, family)).tcp(),
        outgoing(s.a, addressOf(to, family)).udp(),
        outgoing(s.a, addressOf(to, family)).sctp(),
        echo(outgoing(s.a, addressOf(to, family)), family, 5),
      ]) {
        const { reason, verdict } = sent(s.a, frame);
        expect(s.send(s.a, frame)).toMatchObject({ reason, verdict });
      }
    }
  });
});
