/** What becomes of known flows when the rules or the endpoints change under them. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Identity, PrefixKind } from '../../src/datapath/abi/generated.js';
import { mappedAddress, TCP } from '../support/packet.js';
import { ACTION, Programs } from '../support/programs.js';
import { Scenario } from '../support/scenario.js';
import { incoming, outgoing } from '../support/scenario-frames.js';
import { addressOf, FAMILIES, NODE, type TestEndpoint, UPLINK, WORLD } from '../support/scenario-parties.js';

let s: Scenario;
beforeAll(async () => {
  s = new Scenario(await Programs.load());
});
afterAll(() => s?.programs.close());
beforeEach(() => {
  s.reset();
  s.allowAll();
});

const records = () => s.programs.conntrack.entries();

describe.each(FAMILIES)('IPv%i', (family) => {
  const between = (from: TestEndpoint, to: TestEndpoint) => outgoing(from, addressOf(to, family));
  const udp = (sourcePort = 40000) => between(s.a, s.b).udp({ sourcePort });
  const udpReply = () => between(s.b, s.a).udp({ sourcePort: 53, destinationPort: 40000 });
  const tcp = (flags: number) => between(s.a, s.b).tcp({ flags });
  const tcpReply = (flags: number) =>
    between(s.b, s.a).tcp({ sourcePort: 80, destinationPort: 40000, flags });
  /** New rules: everyone may do what they might, under other cookies. */
  const renewAll = () =>
    s.newEpoch((slot) => {
      for (const subject of [s.a, s.b, s.c]) {
        s.rule({ subject, direction: 'egress', rule: 5000 + subject.id }, slot);
        s.rule({ subject, direction: 'ingress', rule: 6000 + subject.id }, slot);
      }
    });

  it.each(['opener', 'responder'])('a flow that the new rules allow goes on when the %s sends', (end) => {
    s.send(s.a, tcp(TCP.SYN));
    renewAll();
    expect(records()[0]?.value.epoch).toBe(2);

    const outcome = end === 'opener' ? s.send(s.a, tcp(TCP.SYN)) : s.send(s.b, tcpReply(TCP.SYN | TCP.ACK));

    expect(outcome).toMatchObject({ reason: 'NONE', verdict: ACTION.REDIRECT });
    expect(records()).toHaveLength(1);
    expect(records()[0]?.value).toMatchObject({ epoch: 3, rule: [5011, 6012] });
    expect(s.programs.flowCounts.get(11)).toMatchObject({ flows: 1 });
  });

  it.each(['opener', 'responder'])('a flow that no rule allows any more is cut when the %s sends', (end) => {
    s.send(s.a, tcp(TCP.SYN));
    s.send(s.b, tcpReply(TCP.SYN | TCP.ACK));
    s.newEpoch(() => {});

    const outcome = end === 'opener' ? s.send(s.a, tcp(TCP.ACK)) : s.send(s.b, tcpReply(TCP.ACK));

    expect(outcome).toMatchObject({ reason: 'CONNECTION_CUT', verdict: ACTION.DROP });
    expect(records()).toEqual([]);
    expect(s.programs.flowCounts.get(11)).toMatchObject({ flows: 0 });
    expect(s.send(s.a, tcp(TCP.ACK)).reason).toBe('NO_CONNECTION');
    expect(s.send(s.b, tcpReply(TCP.ACK)).reason).toBe('NO_CONNECTION');
    expect(s.send(s.a, tcp(TCP.SYN)).reason).toBe('POLICY_EGRESS');
  });

  it.each(['egress', 'ingress'] as const)('a deny in %s cuts too', (direction) => {
    s.send(s.a, udp());
    s.newEpoch((slot) => {
      s.allowAll(slot);
      s.rule(
        { subject: direction === 'egress' ? s.a : s.b, direction, verdict: 'deny', precedence: 900 },
        slot,
      );
    });
    expect(s.send(s.a, udp()).reason).toBe('CONNECTION_CUT');
    expect(s.send(s.b, udpReply()).reason).toBe('NONE');
  });

  it('being cut is judged from the side of the opener, not by who sends', () => {
    s.send(s.a, udp());
    s.newEpoch((slot) => {
      s.rule({ subject: s.b, direction: 'egress' }, slot);
      s.rule({ subject: s.a, direction: 'ingress' }, slot);
    });
    expect(s.send(s.b, udpReply()).reason).toBe('CONNECTION_CUT');
    // Now it is a flow of b's own, which b may open.
    expect(s.send(s.b, udpReply()).reason).toBe('NONE');
    expect(records()[0]?.value.endpointId).toEqual([12, 11]);
  });

  it.each(['opener', 'responder'])(
    'the event of a cut names the parties as the packet of the %s has them',
    async (end) => {
      s.send(s.a, udp());
      s.newEpoch(() => {});
      const [from, to] = end === 'opener' ? [s.a, s.b] : [s.b, s.a];
      s.send(from, end === 'opener' ? udp() : udpReply());

      expect(await s.programs.takeEvent()).toMatchObject({
        endpointId: from.id,
        source: mappedAddress(addressOf(from, family)),
        destination: mappedAddress(addressOf(to, family)),
        sourceIdentity: from.identity,
        sourceEndpointId: from.id,
        destinationIdentity: to.identity,
        destinationEndpointId: to.id,
      });
    },
  );

  it('flows with the world are judged again too, from both directions', () => {
    s.send(s.a, outgoing(s.a, WORLD[family]).udp());
    renewAll();
    const reply = incoming(s.a, WORLD[family]).udp({ sourcePort: 53, destinationPort: 40000 });
    expect(s.receive(s.a, reply, UPLINK).reason).toBe('NONE');
    expect(records()[0]?.value).toMatchObject({ epoch: 3, rule: [5011, 0] });
    s.newEpoch(() => {});
    expect(s.receive(s.a, reply, UPLINK).reason).toBe('CONNECTION_CUT');
    expect(s.receive(s.a, reply, UPLINK).reason).toBe('POLICY_INGRESS');
  });

  it.each([
    ['the node', 0, WORLD[family]],
    ['a container by way of the host', 'c', NODE[family]],
  ] as const)(
    'a flow of %s stays its own when it is judged again, whatever address it has',
    (_name, who, source) => {
      const ingress = who === 0 ? 0 : s.c.ifindex;
      const peer = who === 0 ? Identity.HOST : s.c;
      const frame = incoming(s.a, source).udp();
      expect(s.receive(s.a, frame, ingress).reason).toBe('NONE');
      s.newEpoch((slot) => {
        s.rule({ subject: s.c, direction: 'egress' }, slot);
        s.rule({ subject: s.a, direction: 'ingress', peer }, slot);
      });
      expect(s.receive(s.a, frame, ingress).reason).toBe('NONE');
      expect(records()[0]?.value.epoch).toBe(3);
    },
  );

  it('a flow to an address that the node has taken meanwhile is judged as one to the node, and the reverse', () => {
    const length = family === 4 ? 32 : 128;
    const rules = (denied: number) =>
      s.newEpoch((slot) => {
        s.rule({ subject: s.a, direction: 'egress' }, slot);
        s.rule({ subject: s.a, direction: 'egress', peer: denied, verdict: 'deny' }, slot);
      });
    const outward = () => s.send(s.a, outgoing(s.a, WORLD[family]).udp({ sourcePort: 40000 })).reason;
    expect(outward()).toBe('NONE');

    rules(Identity.HOST);
    expect(outward()).toBe('NONE');
    s.prefix(WORLD[family], length, PrefixKind.HOST, 0);
    rules(Identity.HOST);
    expect(outward()).toBe('CONNECTION_CUT');

    rules(Identity.WORLD);
    expect(outward()).toBe('NONE');
    s.programs.prefixes.delete({
      prefixLength: 128,
      address: mappedAddress(WORLD[family]),
    });
    rules(Identity.WORLD);
    expect(outward()).toBe('CONNECTION_CUT');
  });

  it("a flow from an address that the node has taken meanwhile is nobody's any more", () => {
    const inward = () =>
      s.receive(s.a, incoming(s.a, WORLD[family]).udp({ sourcePort: 4000, destinationPort: 53 }), UPLINK)
        .reason;
    expect(inward()).toBe('NONE');
    s.prefix(WORLD[family], family === 4 ? 32 : 128, PrefixKind.HOST, 0);
    renewAll();
    expect(inward()).toBe('BAD_SOURCE');
    s.programs.sweep();
    expect(records()).toEqual([]);
  });

  it('an address that another endpoint got meanwhile starts anew: sender', () => {
    s.send(s.a, tcp(TCP.SYN));
    s.send(s.a, udp());
    const heir = { ...s.a, id: 21, identity: 302 };
    s.add(heir);

    expect(s.send(heir, tcp(TCP.ACK)).reason).toBe('NO_CONNECTION');
    expect(s.send(heir, udp()).reason).toBe('NONE');
    expect(s.programs.flowCounts.get(21)).toMatchObject({ flows: 1 });
    expect(s.programs.flowCounts.get(11)).toMatchObject({ flows: 1 });
    s.programs.policy.clear();
    expect(s.send(heir, tcp(TCP.SYN)).reason).toBe('POLICY_EGRESS');
  });

  it('an address that another endpoint got meanwhile starts anew: receiver from outside', () => {
    s.receive(s.a, incoming(s.a, WORLD[family]).tcp(), UPLINK);
    const heir = { ...s.a, id: 21 };
    s.add(heir);
    expect(s.receive(heir, incoming(s.a, WORLD[family]).tcp({ flags: TCP.ACK }), UPLINK).reason).toBe(
      'NO_CONNECTION',
    );
    s.programs.policy.clear();
    expect(s.receive(heir, incoming(s.a, WORLD[family]).tcp(), UPLINK).reason).toBe('POLICY_INGRESS');
  });

  it('an address that another endpoint got meanwhile starts anew: receiver on the node', () => {
    s.send(s.a, udp());
    s.remove(s.b);
    const heir = { ...s.b, id: 22, ifindex: s.spare[0] ?? 0 };
    s.add(heir);

    expect(s.send(s.a, udp())).toMatchObject({ reason: 'NONE', verdict: ACTION.REDIRECT });
    expect(records().map(({ value }) => value.endpointId)).toEqual([[11, 22]]);
  });

  it('a known flow never goes to an interface that another endpoint has now', () => {
    s.send(s.a, udp());
    s.remove(s.b);
    s.add({ ...s.c, id: 23, ifindex: s.b.ifindex });
    expect(s.send(s.a, udp())).toMatchObject({ reason: 'NO_SUCH_ENDPOINT', endpointId: s.a.id });
    expect(s.send(s.a, udp())).toMatchObject({ reason: 'NO_SUCH_ENDPOINT', verdict: ACTION.DROP });
  });

  describe('what began before a change of policy', () => {
    /** The flow of a and b is judged by new rules that allow it; whoever comes now has still read the old epoch. */
    const judgedByNewRules = () => {
      s.send(s.a, udp());
      s.newEpoch(() => {});
      for (const { key, value } of records()) s.programs.conntrack.set(key, { ...value, epoch: 4 });
    };

    it('a packet does not cut what the new rules allow', () => {
      judgedByNewRules();
      expect(s.send(s.b, udpReply()).reason).toBe('NONE');
      expect(records()[0]?.value.epoch).toBe(4);
    });

    it('the sweep neither', () => {
      judgedByNewRules();
      expect(s.programs.sweep()).toEqual({ scanned: 1, expired: 0, cut: 0 });
      expect(records()[0]?.value.epoch).toBe(4);
    });

    it('a record that nobody can have judged so is judged again', () => {
      judgedByNewRules();
      for (const { key, value } of records()) s.programs.conntrack.set(key, { ...value, epoch: 5 });
      expect(s.programs.sweep()).toEqual({ scanned: 1, expired: 0, cut: 1 });
    });
  });

  describe('the sweep', () => {
    it('removes what has expired and leaves the rest', () => {
      for (let port = 1; port <= 10; port++) s.send(s.a, udp(port));
      const all = records();
      for (const { key, value } of all.slice(0, 4))
        s.programs.conntrack.set(key, { ...value, expiresNs: 1n });
      expect(s.programs.sweep()).toEqual({ scanned: 10, expired: 4, cut: 0 });
      expect(records()).toHaveLength(6);
      for (const { key, value } of all.slice(4)) expect(s.programs.conntrack.get(key)).toEqual(value);
      expect(s.programs.flowCounts.get(11)).toMatchObject({ flows: 6 });
    });

    it.each(['opener', 'responder'])('removes the flows of an endpoint that is gone: %s', (end) => {
      s.send(s.a, udp());
      s.send(s.b, between(s.b, s.c).udp());
      s.send(s.c, outgoing(s.c, WORLD[family]).udp());
      s.remove(end === 'opener' ? s.a : s.b);
      expect(s.programs.sweep()).toEqual({ scanned: 3, expired: 0, cut: end === 'opener' ? 1 : 2 });
      expect(s.programs.flowCounts.get(11)).toMatchObject({ flows: 0 });
      expect(s.programs.sweep()).toMatchObject({ cut: 0, expired: 0 });
    });

    it('cuts idle flows that no rule allows any more, and renews the others', () => {
      s.send(s.a, udp());
      s.send(s.b, between(s.b, s.c).udp());
      s.receive(s.c, incoming(s.c, WORLD[family]).udp(), UPLINK);
      s.newEpoch((slot) => {
        s.rule({ subject: s.a, direction: 'egress', rule: 71 }, slot);
        s.rule({ subject: s.b, direction: 'ingress', rule: 72 }, slot);
      });
      expect(s.programs.sweep()).toEqual({ scanned: 3, expired: 0, cut: 2 });
      expect(records().map(({ value }) => value)).toMatchObject([
        { epoch: 3, rule: [71, 72], endpointId: [11, 12] },
      ]);
      expect(s.programs.flowCounts.get(11)).toMatchObject({ flows: 1 });
      expect(s.programs.flowCounts.get(12)).toMatchObject({ flows: 0 });
      expect(s.programs.flowCounts.get(13)).toMatchObject({ flows: 0 });
    });

    it('cuts nothing while no policy has changed', () => {
      s.send(s.a, udp());
      s.programs.policy.clear();
      expect(s.programs.sweep()).toEqual({ scanned: 1, expired: 0, cut: 0 });
    });

    it('has nothing to do in an empty table', () => {
      expect(s.programs.sweep()).toEqual({ scanned: 0, expired: 0, cut: 0 });
    });
  });
});
