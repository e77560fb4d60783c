/** The life of a flow's record, as long as neither rules nor endpoints change. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CONFIG, ConntrackFlags } from '../../src/datapath/abi/generated.js';
import { monotonicNs } from '../../src/native/bpf.js';
import { mappedAddress, type Packet, PROTOCOL, TCP } from '../support/packet.js';
import { skBuff } from '../support/program-context.js';
import { ACTION, Programs } from '../support/programs.js';
import { Scenario } from '../support/scenario.js';
import { echo, incoming, outgoing } from '../support/scenario-frames.js';
import {
  addressOf,
  FAMILIES,
  GATEWAY,
  type TestEndpoint,
  UPLINK,
  WORLD,
} from '../support/scenario-parties.js';

let s: Scenario;
beforeAll(async () => {
  s = new Scenario(await Programs.load());
});
afterAll(() => s?.programs.close());
beforeEach(() => {
  s.reset();
  s.allowAll();
});

function onlyRecord() {
  const entries = s.programs.conntrack.entries();
  const [entry] = entries;
  if (!entry || entries.length > 1) throw new Error(`${entries.length} records instead of one`);
  return entry;
}

/** Seconds until the only record expires, rounded. */
function remaining(): number {
  return Math.round(Number(onlyRecord().value.expiresNs - monotonicNs()) / 1e9);
}

function change(fields: Partial<ReturnType<typeof onlyRecord>['value']>): void {
  const { key, value } = onlyRecord();
  s.programs.conntrack.set(key, { ...value, ...fields });
}

describe.each(FAMILIES)('IPv%i', (family) => {
  const between = (from: TestEndpoint, to: TestEndpoint) => outgoing(from, addressOf(to, family));
  const tcp = (flags: number) => between(s.a, s.b).tcp({ flags });
  const tcpReply = (flags: number) =>
    between(s.b, s.a).tcp({ sourcePort: 80, destinationPort: 40000, flags });
  const open = () => s.send(s.a, tcp(TCP.SYN));
  const answer = () => s.send(s.b, tcpReply(TCP.SYN | TCP.ACK));
  const establish = () => {
    open();
    answer();
    s.send(s.a, tcp(TCP.ACK));
  };

  it('a SYN makes a record that says who, where, by which rules and until when', () => {
    expect(open().reason).toBe('NONE');

    const { key, value } = onlyRecord();
    const [a, b] = [mappedAddress(addressOf(s.a, family)), mappedAddress(addressOf(s.b, family))];
    const openerIsB = (value.flags & ConntrackFlags.OPENER_IS_B) !== 0;
    expect(key).toEqual(
      openerIsB
        ? { addressA: b, addressB: a, portA: 80, portB: 40000, scope: 7, protocol: PROTOCOL.TCP }
        : { addressA: a, addressB: b, portA: 40000, portB: 80, scope: 7, protocol: PROTOCOL.TCP },
    );
    expect(value).toMatchObject({
      epoch: 2,
      endpointId: [11, 12],
      ifindex: [s.a.ifindex, s.b.ifindex],
      rule: [1011, 2012],
    });
    expect(value.flags & ~ConntrackFlags.OPENER_IS_B).toBe(0);
    expect(remaining()).toBe(CONFIG.tcp_opening_s.default);
  });

  it.each([
    ['between networks', 0, () => between(s.a, s.c).tcp()],
    ['to the world', 0, () => outgoing(s.a, WORLD[family]).tcp()],
    ['to the gateway', 7, () => outgoing(s.a, GATEWAY[family]).tcp()],
  ])('the scope of a flow %s is %i', (_name, scope, frame) => {
    s.send(s.a, frame());
    expect(onlyRecord().key.scope).toBe(scope);
  });

  it('the answer of the responder and the rest of the connection belong to the record', () => {
    open();
    expect(answer()).toMatchObject({ reason: 'NONE', verdict: ACTION.REDIRECT });
    expect(onlyRecord().value.flags & ConntrackFlags.REPLIED).toBeTruthy();
    expect(remaining()).toBe(CONFIG.tcp_opening_s.default);

    expect(s.send(s.a, tcp(TCP.ACK)).reason).toBe('NONE');
    expect(onlyRecord().value.flags & ConntrackFlags.ESTABLISHED).toBeTruthy();
    expect(remaining()).toBe(CONFIG.tcp_established_s.default);
    expect(s.send(s.b, tcpReply(TCP.ACK | TCP.PSH)).reason).toBe('NONE');
    expect(s.send(s.a, tcp(TCP.SYN)).reason).toBe('NONE');
    expect(s.programs.flowCounts.get(11)).toMatchObject({ flows: 1 });
  });

  it('who may answer may not open', () => {
    s.programs.policy.clear();
    s.rule({ subject: s.a, direction: 'egress' });
    s.rule({ subject: s.b, direction: 'ingress' });
    establish();

    expect(s.send(s.b, tcpReply(TCP.SYN)).reason).toBe('NO_CONNECTION');
    expect(s.send(s.b, between(s.b, s.a).tcp({ sourcePort: 81, destinationPort: 40000 })).reason).toBe(
      'POLICY_EGRESS',
    );
  });

  it.each(['by way of both sides', 'by way of one side'])('a FIN %s', (name) => {
    establish();
    s.send(s.a, tcp(TCP.FIN | TCP.ACK));
    expect(remaining()).toBe(CONFIG.tcp_established_s.default);
    if (name === 'by way of one side') return;
    s.send(s.b, tcpReply(TCP.FIN | TCP.ACK));
    expect(remaining()).toBe(CONFIG.tcp_closing_s.default);
    expect(s.send(s.a, tcp(TCP.ACK)).reason).toBe('NONE');
    expect(remaining()).toBe(CONFIG.tcp_closing_s.default);
  });

  it.each(['opener', 'responder'])('a RST of the %s shortens the life of the record', (end) => {
    establish();
    const outcome = end === 'opener' ? s.send(s.a, tcp(TCP.RST)) : s.send(s.b, tcpReply(TCP.RST | TCP.ACK));
    expect(outcome.reason).toBe('NONE');
    expect(remaining()).toBe(CONFIG.tcp_closing_s.default);
  });

  it.each(['opener', 'responder'])(
    'a RST of the %s that its receiver did not take costs nothing when both ends go on talking',
    (end) => {
      const reset = () => (end === 'opener' ? s.send(s.a, tcp(TCP.RST)) : s.send(s.b, tcpReply(TCP.RST)));
      establish();
      const { flags } = onlyRecord().value;
      reset();
      s.send(s.a, tcp(TCP.ACK));
      // Who sends a RST that counts has no more to say than another one, whatever is still on its way to it.
      reset();
      s.send(s.b, tcpReply(TCP.ACK));
      s.send(s.b, tcpReply(TCP.ACK));
      expect(remaining()).toBe(CONFIG.tcp_closing_s.default);
      s.send(s.a, tcp(TCP.ACK));
      expect(remaining()).toBe(CONFIG.tcp_established_s.default);
      expect(onlyRecord().value.flags).toBe(flags);
      expect(s.send(s.a, tcp(TCP.SYN)).reason).toBe('NONE');
      expect(onlyRecord().value.flags).toBe(flags);
      reset();
      expect(remaining()).toBe(CONFIG.tcp_closing_s.default);
    },
  );

  it('an expired record is as good as none', () => {
    establish();
    change({ expiresNs: monotonicNs() - 100_000_000n });

    expect(s.send(s.a, tcp(TCP.ACK)).reason).toBe('NO_CONNECTION');
    expect(s.send(s.b, tcpReply(TCP.ACK)).reason).toBe('NO_CONNECTION');
    expect(open().reason).toBe('NONE');
    expect(onlyRecord().value.flags & ~ConntrackFlags.OPENER_IS_B).toBe(0);
    expect(s.programs.flowCounts.get(11)).toMatchObject({ flows: 1 });
  });

  it('a SYN on a closed connection is a new one, judged again', () => {
    establish();
    s.send(s.b, tcpReply(TCP.RST));
    expect(open().reason).toBe('NONE');
    expect(onlyRecord().value.flags & ~ConntrackFlags.OPENER_IS_B).toBe(0);

    s.send(s.b, tcpReply(TCP.RST));
    s.rule({ subject: s.b, direction: 'ingress', verdict: 'deny', precedence: 900 });
    expect(open().reason).toBe('POLICY_INGRESS_DENY');
  });

  it('a SYN of the responder on a closed connection opens one in its own name', () => {
    establish();
    s.send(s.a, tcp(TCP.RST));
    expect(s.send(s.b, tcpReply(TCP.SYN)).reason).toBe('NONE');
    expect(onlyRecord().value).toMatchObject({ endpointId: [12, 11], rule: [1012, 2011] });
    expect(s.programs.flowCounts.get(11)).toMatchObject({ flows: 0 });
    expect(s.programs.flowCounts.get(12)).toMatchObject({ flows: 1 });
  });

  it.each(['udp', 'sctp'] as const)(
    '%s flows open with any packet, are answered, and live longer then',
    (transport) => {
      const there = (): Packet => between(s.a, s.b)[transport]();
      expect(s.send(s.a, there()).reason).toBe('NONE');
      expect(remaining()).toBe(CONFIG.udp_s.default);
      s.programs.policy.clear();
      const back = between(s.b, s.a)[transport]({ sourcePort: 53, destinationPort: 40000 });
      expect(s.send(s.b, back).reason).toBe('NONE');
      expect(remaining()).toBe(CONFIG.udp_replied_s.default);
      expect(
        s.send(s.b, between(s.b, s.a)[transport]({ sourcePort: 53, destinationPort: 40001 })).reason,
      ).toBe('POLICY_EGRESS');
    },
  );

  it('echoes of one identifier in opposite directions are two flows', () => {
    s.send(s.a, echo(between(s.a, s.b), family, 7));
    expect(remaining()).toBe(CONFIG.icmp_s.default);
    expect(s.send(s.b, echo(between(s.b, s.a), family, 7)).reason).toBe('NONE');
    expect(s.programs.conntrack.entries()).toHaveLength(2);

    s.programs.policy.clear();
    expect(s.send(s.b, echo(between(s.b, s.a), family, 7, true)).reason).toBe('NONE');
    expect(s.send(s.a, echo(between(s.a, s.b), family, 7, true)).reason).toBe('NONE');
    expect(s.send(s.a, echo(between(s.a, s.b), family, 8, true)).reason).toBe('NO_CONNECTION');
  });

  it.each([0, 1, 7, 0xffff])('who may answer echoes of identifier %i may not send them', (id) => {
    s.programs.policy.clear();
    s.rule({ subject: s.a, direction: 'egress' });
    s.rule({ subject: s.b, direction: 'ingress' });
    s.send(s.a, echo(between(s.a, s.b), family, id));

    expect(s.send(s.b, echo(between(s.b, s.a), family, id, true)).reason).toBe('NONE');
    // Under identifier 0 the requests of both ends have one key.
    const refusal = id === 0 ? 'NO_CONNECTION' : 'POLICY_EGRESS';
    expect(s.send(s.b, echo(between(s.b, s.a), family, id)).reason).toBe(refusal);
  });

  it('what comes from outside is on the account of who gets it, and its answer goes to the host', () => {
    const frame = incoming(s.a, WORLD[family]).tcp();
    expect(s.receive(s.a, frame, UPLINK)).toMatchObject({ reason: 'NONE', verdict: ACTION.PASS });
    expect(onlyRecord().value).toMatchObject({
      endpointId: [0, 11],
      ifindex: [0, s.a.ifindex],
      rule: [0, 2011],
    });
    expect(s.programs.flowCounts.get(11)).toMatchObject({ flows: 0, inbound: 1 });

    s.programs.policy.clear();
    const reply = outgoing(s.a, WORLD[family]).tcp({
      sourcePort: 80,
      destinationPort: 40000,
      flags: TCP.SYN | TCP.ACK,
    });
    expect(s.send(s.a, reply)).toMatchObject({ reason: 'NONE', verdict: ACTION.PASS });
  });

  it('answers of the world pass to who asked, and to nobody else', () => {
    s.send(s.a, outgoing(s.a, WORLD[family]).udp());
    s.programs.policy.clear();

    const reply = (to: TestEndpoint) =>
      incoming(to, WORLD[family]).udp({ sourcePort: 53, destinationPort: 40000 });
    expect(s.receive(s.a, reply(s.a), UPLINK).reason).toBe('NONE');
    expect(s.receive(s.b, reply(s.b), UPLINK).reason).toBe('POLICY_INGRESS');
    expect(
      s.receive(s.a, incoming(s.a, WORLD[family]).udp({ sourcePort: 54, destinationPort: 40000 }), UPLINK)
        .reason,
    ).toBe('POLICY_INGRESS');
  });

  it('a packet refused for its sender leaves the record as it was', () => {
    s.send(s.a, outgoing(s.a, WORLD[family]).tcp());
    const before = onlyRecord();

    const stolen = incoming(s.a, WORLD[family]).tcp({
      sourcePort: 80,
      destinationPort: 40000,
      flags: TCP.RST | TCP.ACK,
    });
    expect(s.receive(s.a, stolen, s.c.ifindex).reason).toBe('BAD_SOURCE');

    expect(onlyRecord()).toEqual(before);
  });

  it('a packet that changes nothing of note is not written into the record', () => {
    establish();
    const before = onlyRecord();
    s.send(s.b, tcpReply(TCP.ACK));
    expect(onlyRecord()).toEqual(before);
    change({ expiresNs: before.value.expiresNs - 5_000_000_000n });
    s.send(s.b, tcpReply(TCP.ACK));
    expect(onlyRecord().value.expiresNs).toBeGreaterThanOrEqual(before.value.expiresNs);
  });

  it('flows are counted exactly, whoever opens and removes them', () => {
    for (let port = 1; port <= 20; port++) s.send(s.a, between(s.a, s.b).udp({ sourcePort: port }));
    for (let port = 1; port <= 7; port++)
      s.send(s.b, between(s.b, s.a).udp({ sourcePort: port, destinationPort: 90 }));
    expect(s.programs.flowCounts.get(11)).toMatchObject({ flows: 20 });
    expect(s.programs.flowCounts.get(12)).toMatchObject({ flows: 7 });

    for (const { key, value } of s.programs.conntrack.entries().slice(0, 9))
      s.programs.conntrack.set(key, { ...value, expiresNs: 1n });
    expect(s.programs.sweep()).toEqual({ scanned: 27, expired: 9, cut: 0 });
    const total = (s.programs.flowCounts.get(11)?.flows ?? 0) + (s.programs.flowCounts.get(12)?.flows ?? 0);
    expect(total).toBe(18);
    expect(s.programs.conntrack.entries()).toHaveLength(18);
  });
});

describe('an element that the table has given away', () => {
  const there = (sourcePort: number) => outgoing(s.a, addressOf(s.b, 4)).tcp({ sourcePort, flags: TCP.SYN });
  const further = (sourcePort: number) =>
    outgoing(s.a, addressOf(s.b, 4)).tcp({ sourcePort, flags: TCP.ACK });

  it('is not the record of the flow that it was found for', () => {
    for (const port of [1, 2]) s.send(s.a, there(port));
    const [one, other] = s.programs.conntrack.entries();
    if (!one || !other) throw new Error('two flows have no two records');
    for (const port of [1, 2]) expect(s.send(s.a, further(port)).reason).toBe('NONE');

    // As the program sees it when the other flow gets the place between its look-up and its reading.
    s.programs.conntrack.set(one.key, other.value);
    s.programs.conntrack.set(other.key, one.value);

    for (const port of [1, 2]) expect(s.send(s.a, further(port)).reason).toBe('NO_CONNECTION');
  });

  it('belongs to nobody while its record is being made or removed', () => {
    s.send(s.a, there(1));
    change({ nonce: 0 });
    const before = onlyRecord();

    expect(s.send(s.a, further(1)).reason).toBe('NO_CONNECTION');
    expect(s.send(s.a, there(1)).reason).toBe('NONE');
    expect(s.programs.sweep()).toEqual({ scanned: 1, expired: 0, cut: 0 });

    expect(onlyRecord()).toEqual(before);
    expect(s.programs.flowCounts.get(11)).toMatchObject({ flows: 1, inbound: 0 });
  });
});

describe('two processors at once', () => {
  const ROUNDS = 300_000;
  /** Of the loopback device, which is there in whatever namespace a program is run. */
  const LOOPBACK = 1;
  let hasty: Scenario;
  beforeAll(async () => {
    // A flow is over as soon as it is opened, and nothing is refused, so that each packet replaces the record of
    // the one before.
    hasty = new Scenario(
      await Programs.load({ settings: { udp_s: 0, udp_replied_s: 0, inbound_new_per_second: 0 } }),
    );
  });
  afterAll(() => hasty?.programs.close());

  it('take a record off the account that it is on, and once', async () => {
    const self = { ...hasty.a, ifindex: LOOPBACK };
    hasty.allowAll();
    hasty.add(self);
    const frames = {
      from_container: outgoing(self, WORLD[4]).udp({ sourcePort: 53, destinationPort: 40000 }),
      to_container: incoming(self, WORLD[4]).udp({ sourcePort: 40000, destinationPort: 53 }),
    };

    await Promise.all(
      (['from_container', 'to_container'] as const).map((program) =>
        hasty.programs.program(program).testRunAsync({
          data: frames[program].bytes(),
          context: skBuff({ ifindex: LOOPBACK, ingressIfindex: program === 'to_container' ? UPLINK : 0 }),
          repeat: ROUNDS,
        }),
      ),
    );

    const [record, ...others] = hasty.programs.conntrack.entries();
    const opener = record?.value.endpointId[0];
    expect(others).toEqual([]);
    expect([0, self.id]).toContain(opener);
    expect(hasty.programs.flowCounts.get(self.id)).toMatchObject(
      opener === 0 ? { flows: 0, inbound: 1 } : { flows: 1, inbound: 0 },
    );
  });
});
