/** What leaves by the uplink and comes back by it: each frame as a whole, so that every checksum is proved. */
import { spawn } from 'node:child_process';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { NatAlias } from '../../src/datapath/abi/generated.js';
import { Lines } from '../support/lines.js';
import { type Packet, PROTOCOL, packet, TCP } from '../support/packet.js';
import { ACTION, DEVICE_MAC, Programs } from '../support/programs.js';
import {
  addressOf,
  FAMILIES,
  type Family,
  GATEWAY,
  NODE,
  outgoing,
  Scenario,
  type TestEndpoint,
  UPLINK,
  WORLD,
  WORLD_ROUTER,
} from '../support/scenario.js';
import { trafficProgram } from '../support/traffic.js';
import { quoted, unreachable } from './rows/icmp.js';

const PORT = 40000;
const SERVER = 53;
const TTL = 64;

const KINDS = ['tcp', 'udp', 'sctp', 'echo'] as const;
type Kind = (typeof KINDS)[number];

/** Flows to one place take one of these. */
const PORTS = [61000, 61001];

let s: Scenario;
beforeAll(async () => {
  s = new Scenario(
    await Programs.load({
      settings: { nat_port_min: PORTS[0] ?? 0, nat_port_max: PORTS[1] ?? 0, events_burst: 1_000_000 },
    }),
  );
});
afterAll(() => s?.programs.close());
beforeEach(() => {
  s.reset();
  s.allowAll();
  s.masquerade(s.a, s.b, s.c);
});

/** The opening packet of a kind, behind whatever headers; `port` is the opener's. */
function opening(base: Packet, family: Family, kind: Kind, port: number): Packet {
  if (kind === 'tcp') return base.tcp({ sourcePort: port, destinationPort: SERVER, options: [2, 4, 5, 180] });
  if (kind === 'udp') return base.udp({ sourcePort: port, destinationPort: SERVER }).payload(33);
  if (kind === 'sctp') return base.sctp({ sourcePort: port, destinationPort: SERVER }).payload(1234);
  return family === 4
    ? base.icmp({ type: 8, id: port, sequence: 1 }).payload(33)
    : base.icmpv6({ type: 128, id: port, sequence: 1 }).payload(33);
}

function answering(base: Packet, family: Family, kind: Kind, port: number): Packet {
  if (kind === 'tcp')
    return base.tcp({ sourcePort: SERVER, destinationPort: port, flags: TCP.SYN | TCP.ACK });
  if (kind === 'udp') return base.udp({ sourcePort: SERVER, destinationPort: port }).payload(47);
  if (kind === 'sctp') return base.sctp({ sourcePort: SERVER, destinationPort: port }).payload(3);
  return family === 4
    ? base.icmp({ type: 0, id: port, sequence: 1 }).payload(33)
    : base.icmpv6({ type: 129, id: port, sequence: 1 }).payload(33);
}

/** As the container sends it. */
const sent = (from: TestEndpoint, family: Family, ttl = TTL) => outgoing(from, WORLD[family], { ttl });

/** The same under the node's address; MAC addresses are the kernel's to change when it has found the way. */
const translated = (from: TestEndpoint, family: Family, ttl = TTL - 1) =>
  packet()
    .ethernet({ source: from.mac, destination: from.gatewayMac })
    .ip({ source: NODE[family], destination: WORLD[family], ttl });

const OUTSIDE_MACS = { source: '02:aa:00:00:00:01', destination: DEVICE_MAC };
/** To the node, as it comes in by the uplink. */
const arriving = (family: Family, source: string = WORLD[family]) =>
  packet().ethernet(OUTSIDE_MACS).ip({ source, destination: NODE[family], ttl: TTL });

/** As the container gets it. */
const handed = (to: TestEndpoint, family: Family, source: string = WORLD[family], ttl = TTL - 1) =>
  packet()
    .ethernet({ source: to.gatewayMac, destination: to.mac })
    .ip({ source, destination: addressOf(to, family), ttl });

function aliases(): NatAlias[] {
  return s.programs.nat.entries().map(({ value }) => value);
}

/** The port that the one flow has on the uplink. */
function portTaken(): number {
  const [only, more] = aliases();
  if (!only || more) throw new Error(`${aliases().length} flows are translated`);
  return only.key.localPort;
}

/** Opens a flow and tells its port on the uplink. */
function open(from: TestEndpoint, family: Family, kind: Kind, port = PORT): number {
  const before = new Set(aliases().map(({ nonce }) => nonce));
  expect(s.send(from, opening(sent(from, family), family, kind, port))).toMatchObject({ reason: 'NONE' });
  const added = aliases().find(({ nonce }) => !before.has(nonce));
  if (!added) throw new Error('no port was taken');
  return added.key.localPort;
}

/** A packet that is the node's own: it passes as it is, and nobody counts it. */
function expectUntouched(frame: Packet): void {
  s.programs.forget();
  const left = s.programs.pass('from_uplink', frame, { ifindex: s.outside });
  expect(left).toEqual({ verdict: ACTION.PASS, frame: frame.bytes() });
  expect(s.programs.metrics()).toEqual([]);
}

/** Every record that is translated has its alias, and there is no other. */
function expectWhole(): void {
  const records = s.programs.conntrack.entries().filter(({ value }) => value.natPort !== 0);
  const pairs = aliases().map(({ key, nonce }) => `${key.localPort} ${nonce}`);
  expect(records.map(({ value }) => `${value.natPort} ${value.nonce}`).sort()).toEqual(pairs.sort());
}

describe.each(FAMILIES)('IPv%i', (family) => {
  describe.each(KINDS)('%s', (kind) => {
    it("leaves under the node's address, and the answer finds the container", () => {
      const out = s.send(s.a, opening(sent(s.a, family), family, kind, PORT));
      const port = portTaken();
      expect(out).toMatchObject({ reason: 'NONE', verdict: ACTION.REDIRECT, endpointId: s.a.id });
      expect(PORTS).toContain(port);
      expect(out.frame).toEqual(opening(translated(s.a, family), family, kind, port).bytes());

      const back = s.answer(answering(arriving(family), family, kind, port));
      expect(back).toMatchObject({
        reason: 'NONE',
        verdict: ACTION.REDIRECT,
        endpointId: s.a.id,
        direction: 1,
      });
      expect(back.frame).toEqual(answering(handed(s.a, family), family, kind, PORT).bytes());
      expectWhole();
    });

    it('two containers with one port to one place do not get in the way of each other', () => {
      const [first, second] = [open(s.a, family, kind), open(s.b, family, kind)];
      expect(second).not.toBe(first);
      for (const [to, port] of [
        [s.a, first],
        [s.b, second],
      ] as const) {
        const back = s.answer(answering(arriving(family), family, kind, port));
        expect(back).toMatchObject({ reason: 'NONE', endpointId: to.id });
        expect(back.frame).toEqual(answering(handed(to, family), family, kind, PORT).bytes());
      }
    });

    it('an error about it finds the container, and quotes what the container sent', () => {
      const port = open(s.a, family, kind);
      const about = quoted(opening(translated(s.a, family), family, kind, port));
      const back = s.answer(unreachable(arriving(family, WORLD_ROUTER[family]), family, about));
      expect(back).toMatchObject({ reason: 'NONE', verdict: ACTION.REDIRECT, endpointId: s.a.id });
      const own = quoted(opening(sent(s.a, family, TTL - 1), family, kind, PORT));
      expect(back.frame).toEqual(unreachable(handed(s.a, family, WORLD_ROUTER[family]), family, own).bytes());
    });

    it("the container's error about an answer reaches the outside, and quotes what came from there", () => {
      const port = open(s.a, family, kind);
      s.answer(answering(arriving(family), family, kind, port));
      const about = quoted(answering(handed(s.a, family), family, kind, PORT));
      const out = s.send(s.a, unreachable(sent(s.a, family), family, about));
      expect(out).toMatchObject({ reason: 'NONE', verdict: ACTION.REDIRECT });
      const theirs = quoted(
        answering(
          packet()
            .ethernet(OUTSIDE_MACS)
            .ip({ source: WORLD[family], destination: NODE[family], ttl: TTL - 1 }),
          family,
          kind,
          port,
        ),
      );
      expect(out.frame).toEqual(unreachable(translated(s.a, family), family, theirs).bytes());
    });

    it("nothing from outside belongs to it by the container's own address", () => {
      open(s.a, family, kind);
      const answer = answering(handed(s.a, family), family, kind, PORT);
      expect(s.receive(s.a, answer, UPLINK).reason).toBe('NAT_CONFLICT');
      const about = quoted(opening(sent(s.a, family), family, kind, PORT));
      const error = unreachable(handed(s.a, family, WORLD_ROUTER[family]), family, about);
      expect(s.receive(s.a, error, UPLINK).reason).toBe('ICMP_UNRELATED');
    });

    it("what opens a connection by the same ports is the node's own", () => {
      const port = open(s.a, family, kind);
      if (kind === 'udp') expectUntouched(arriving(family).udp({ sourcePort: 54, destinationPort: port }));
      else if (kind === 'sctp')
        expectUntouched(arriving(family).sctp({ sourcePort: 54, destinationPort: port }));
      else if (kind === 'tcp')
        expectUntouched(arriving(family).tcp({ sourcePort: SERVER, destinationPort: port }));
      else expectUntouched(opening(arriving(family), family, kind, port));
    });

    it('is cut when the policy changes, with its alias', () => {
      const port = open(s.a, family, kind);
      s.newEpoch(() => {});
      expect(s.answer(answering(arriving(family), family, kind, port))).toMatchObject({
        reason: 'CONNECTION_CUT',
        verdict: ACTION.DROP,
        endpointId: s.a.id,
      });
      expect(aliases()).toEqual([]);
      expectUntouched(answering(arriving(family), family, kind, port));
      expectWhole();
    });

    it('goes on under its alias when the policy changes and still allows it', () => {
      const port = open(s.a, family, kind);
      s.newEpoch((slot) => s.allowAll(slot));
      expect(s.answer(answering(arriving(family), family, kind, port)).reason).toBe('NONE');
      const frame = opening(sent(s.a, family), family, kind, PORT);
      expect(s.send(s.a, frame).frame).toEqual(opening(translated(s.a, family), family, kind, port).bytes());
      expectWhole();
    });

    it('is not made when the policy forbids it', () => {
      s.newEpoch(() => {});
      expect(s.send(s.a, opening(sent(s.a, family), family, kind, PORT)).reason).toBe('POLICY_EGRESS');
      expect(aliases()).toEqual([]);
    });

    it('keeps the address that it has when the uplink gets another', () => {
      const port = open(s.a, family, kind);
      s.uplink({ ifindex: s.outside, ip4: '10.99.0.6', ip6: 'fd00:99::6' });
      const frame = opening(sent(s.a, family), family, kind, PORT);
      expect(s.send(s.a, frame).frame).toEqual(opening(translated(s.a, family), family, kind, port).bytes());
      expect(s.answer(answering(arriving(family), family, kind, port)).reason).toBe('NONE');
    });

    it("leaves under its network's address where that has one, and the answer finds the container", () => {
      s.masquerade(s.b);
      s.sourceAddress(s.a, { 4: '198.19.7.7', 6: 'fd98::77' });
      const out = s.send(s.a, opening(sent(s.a, family), family, kind, PORT));
      const own = { 4: '198.19.7.7', 6: 'fd98::77' }[family];
      const ip = { source: own, destination: WORLD[family], ttl: TTL - 1 };
      const macs = { source: s.a.mac, destination: s.a.gatewayMac };
      expect(out.frame).toEqual(opening(packet().ethernet(macs).ip(ip), family, kind, portTaken()).bytes());
      const answer = packet()
        .ethernet(OUTSIDE_MACS)
        .ip({ source: WORLD[family], destination: own, ttl: TTL });
      const back = s.answer(answering(answer, family, kind, portTaken()));
      expect(back.frame).toEqual(answering(handed(s.a, family), family, kind, PORT).bytes());
      s.programs.nat.clear();
      const other = s.send(s.b, opening(sent(s.b, family), family, kind, PORT));
      expect(other.frame).toEqual(opening(translated(s.b, family), family, kind, portTaken()).bytes());
    });

    it('ends with its endpoint, and the alias with it', () => {
      const port = open(s.a, family, kind);
      s.remove(s.a);
      expectUntouched(answering(arriving(family), family, kind, port));
      expect(s.programs.sweep()).toMatchObject({ cut: 1 });
      expect(aliases()).toEqual([]);
    });

    it('gives its port back when its time is up', () => {
      const port = open(s.a, family, kind);
      open(s.a, family, kind, PORT + 1);
      expect(s.send(s.a, opening(sent(s.a, family), family, kind, PORT + 2)).reason).toBe('NAT_PORTS');
      expectWhole();
      s.expireFlows();
      expectUntouched(answering(arriving(family), family, kind, port));
      s.programs.sweep();
      expect([s.programs.conntrack.entries(), aliases()]).toEqual([[], []]);
      open(s.a, family, kind, PORT + 2);
      expectWhole();
    });

    it('an alias without its record is dead, and the sweep collects it alone', () => {
      const dead = open(s.a, family, kind);
      const [record] = s.programs.conntrack.entries();
      const live = open(s.a, family, kind, PORT + 1);
      if (record) s.programs.conntrack.delete(record.key);
      expectUntouched(answering(arriving(family), family, kind, dead));
      s.programs.sweep();
      expect(aliases().map(({ key }) => key.localPort)).toEqual([live]);
      expect(s.answer(answering(arriving(family), family, kind, live)).reason).toBe('NONE');
    });

    it("an alias is not taken for another record's that has the same key", () => {
      const port = open(s.a, family, kind);
      const [record] = s.programs.conntrack.entries();
      if (!record) throw new Error('no record');
      s.programs.conntrack.set(record.key, { ...record.value, nonce: (record.value.nonce ^ 2) >>> 0 });
      expectUntouched(answering(arriving(family), family, kind, port));
      s.programs.conntrack.set(record.key, record.value);
      expect(s.answer(answering(arriving(family), family, kind, port)).reason).toBe('NONE');
    });
  });

  it('fragments of either direction follow their first one', () => {
    const fragment = (base: Packet, ends: [string, string], ttl: number, offset: number) => {
      const [source, destination] = ends;
      const more = offset === 0;
      return family === 4
        ? base.ipv4({
            source,
            destination,
            ttl,
            id: 7,
            fragmentOffset: offset,
            moreFragments: more,
            protocol: PROTOCOL.UDP,
          })
        : base
            .ipv6({ source, destination, hopLimit: ttl })
            .fragment({ offset, more, id: 7, next: PROTOCOL.UDP });
    };
    const outbound = packet().ethernet({ source: s.a.mac, destination: s.a.gatewayMac });
    const own: [string, string] = [addressOf(s.a, family), WORLD[family]];
    // The checksum is of the whole datagram: any will do, and what becomes of it is its own change alone.
    const head = (base: Packet, sourcePort: number, destinationPort: number, checksum: number) =>
      base.udp({ sourcePort, destinationPort, length: 1000, checksum }).payload(24);
    const first = s.send(s.a, head(fragment(outbound, own, TTL, 0), PORT, SERVER, 0x1234));
    const port = portTaken();
    const theirs: [string, string] = [NODE[family], WORLD[family]];
    const sum = changed(0x1234, [...addressWords(own[0]), PORT], [...addressWords(theirs[0]), port]);
    expect(first.frame).toEqual(head(fragment(outbound, theirs, TTL - 1, 0), port, SERVER, sum).bytes());
    expect(s.send(s.a, fragment(outbound, own, TTL, 32).payload(40)).frame).toEqual(
      fragment(outbound, theirs, TTL - 1, 32)
        .payload(40)
        .bytes(),
    );

    const inbound = packet().ethernet(OUTSIDE_MACS);
    const reply: [string, string] = [WORLD[family], NODE[family]];
    const late = fragment(inbound, reply, TTL, 32).payload(40);
    expectUntouched(late);
    const delivered = packet().ethernet({ source: s.a.gatewayMac, destination: s.a.mac });
    const ends: [string, string] = [WORLD[family], addressOf(s.a, family)];
    const back = changed(0x4321, [...addressWords(reply[1]), port], [...addressWords(ends[1]), PORT]);
    expect(s.answer(head(fragment(inbound, reply, TTL, 0), SERVER, port, 0x4321)).frame).toEqual(
      head(fragment(delivered, ends, TTL - 1, 0), SERVER, PORT, back).bytes(),
    );
    expect(s.answer(late).frame).toEqual(
      fragment(delivered, ends, TTL - 1, 32)
        .payload(40)
        .bytes(),
    );
  });

  it('who sends too far or too much is told by the gateway', () => {
    const about = (frame: Packet) => {
      const { reason, verdict, frame: left } = s.send(s.a, frame);
      return { reason, verdict, frame: left };
    };
    const answer = () =>
      packet()
        .ethernet({ source: s.a.gatewayMac, destination: s.a.mac })
        .ip({ source: GATEWAY[family], destination: addressOf(s.a, family) });
    const quote = (frame: Packet) => frame.bytes().slice(14, 14 + 128);
    const error = (types: { 4: [number, number]; 6: [number, number] }, frame: Packet, mtu = 0) => {
      const [type, code] = types[family];
      const fields = { type, code, sequence: mtu, body: quote(frame) };
      return (family === 4 ? answer().icmp(fields) : answer().icmpv6(fields)).bytes();
    };
    const far = sent(s.a, family, 1).udp().payload(9);
    expect(about(far)).toEqual({
      reason: 'HOP_LIMIT',
      verdict: ACTION.REDIRECT,
      frame: error({ 4: [11, 0], 6: [3, 0] }, far),
    });
    const large = sent(s.a, family).udp().payload(1500);
    expect(about(large)).toEqual({
      reason: 'TOO_BIG',
      verdict: ACTION.REDIRECT,
      frame: error({ 4: [3, 4], 6: [2, 0] }, large, 1500),
    });
  });

  it('nobody on the way may complain under an address of the fabric', () => {
    const port = open(s.a, family, 'udp');
    const about = quoted(opening(translated(s.a, family), family, 'udp', port));
    for (const source of [addressOf(s.b, family), GATEWAY[family]]) {
      expect(s.answer(unreachable(arriving(family, source), family, about)).reason).toBe('BAD_SOURCE');
    }
  });

  it("a port that a socket of the node answers by is the node's", async () => {
    const [taken, free] = PORTS;
    const what = ['serve', `tcp:${taken}`, `udp:${taken}`];
    const server = s.programs.inside(() => spawn(trafficProgram('sockets'), what, { stdio: 'pipe' }));
    try {
      await new Lines(server).ready();
      for (const kind of ['tcp', 'udp'] as const) {
        expect(open(s.a, family, kind)).toBe(free);
        expect(s.send(s.b, opening(sent(s.b, family), family, kind, PORT)).reason).toBe('NAT_PORTS');
      }
    } finally {
      server.kill('SIGKILL');
    }
  });

  it('headers in front of the transport stay as they are', () => {
    const frame = (base: { source: string; destination: string; ttl: number }, macs: Packet, port: number) =>
      (family === 4
        ? macs.ipv4({ ...base, options: [1, 1, 1, 1] })
        : macs.ipv6({ ...base, hopLimit: base.ttl }).extension(PROTOCOL.DESTINATION)
      )
        .udp({ sourcePort: port, destinationPort: SERVER })
        .payload(12);
    const macs = packet().ethernet({ source: s.a.mac, destination: s.a.gatewayMac });
    const ends = { source: addressOf(s.a, family), destination: WORLD[family], ttl: TTL };
    const out = s.send(s.a, frame(ends, macs, PORT));
    const theirs = { source: NODE[family], destination: WORLD[family], ttl: TTL - 1 };
    expect(out.frame).toEqual(frame(theirs, macs, portTaken()).bytes());
  });

  it('a connection that has ended makes room for the next one of its ports, which has one alias too', () => {
    open(s.a, family, 'tcp');
    const reset = sent(s.a, family).tcp({ sourcePort: PORT, destinationPort: SERVER, flags: TCP.RST });
    expect(s.send(s.a, reset).reason).toBe('NONE');
    const port = open(s.a, family, 'tcp');
    expect(portTaken()).toBe(port);
    expectWhole();
    expect(s.answer(answering(arriving(family), family, 'tcp', port)).reason).toBe('NONE');
  });

  it('of a connection that has ended another takes the port when no other is free, after a moment', () => {
    for (const at of [0, 1]) {
      open(s.a, family, 'tcp', PORT + at);
      const reset = { sourcePort: PORT + at, destinationPort: SERVER, flags: TCP.RST };
      expect(s.send(s.a, sent(s.a, family).tcp(reset)).reason).toBe('NONE');
    }
    const third = opening(sent(s.b, family), family, 'tcp', PORT);
    const ended = s.programs.conntrack.entries();
    const [first] = ended;
    if (!first) throw new Error('no record');
    const closed = ({ key, value }: typeof first, seconds: bigint) =>
      s.programs.conntrack.set(key, { ...value, expiresNs: value.expiresNs + seconds * 1_000_000_000n });
    for (const record of ended) closed(record, 5n);
    expect(s.send(s.b, third).reason).toBe('NAT_PORTS');
    closed(first, -5n);
    expect(s.send(s.b, third)).toMatchObject({ reason: 'NONE' });
    const ports = aliases().map(({ key }) => key.localPort);
    expect(ports.sort()).toEqual(PORTS);
    expectWhole();
    const back = s.answer(answering(arriving(family), family, 'tcp', first.value.natPort));
    expect(back).toMatchObject({ reason: 'NONE', endpointId: s.b.id });
  });

  it('what is sent to the node, malformed or not IP passes as it is', () => {
    open(s.a, family, 'udp');
    const base = packet().ethernet(OUTSIDE_MACS);
    expectUntouched(arriving(family).tcp({ destinationPort: 22 }));
    expectUntouched(arriving(family).udp({ sourcePort: 68, destinationPort: 67 }).payload(300));
    expectUntouched(arriving(family).sctp());
    expectUntouched(arriving(family).tcp({ flags: 0 }));
    expectUntouched(base.vlan().ip({ source: WORLD[family], destination: NODE[family] }).udp());
    expectUntouched(
      packet()
        .ethernet({ ...OUTSIDE_MACS, type: 0x88cc })
        .payload(60),
    );
    expectUntouched(base.arp({ senderMac: OUTSIDE_MACS.source, senderIp: WORLD[4], targetIp: NODE[4] }));
  });

  it('an event tells of the flow by the addresses that the policy knows', async () => {
    const port = open(s.a, family, 'udp');
    s.newEpoch(() => {});
    s.answer(answering(arriving(family), family, 'udp', port));
    expect(await s.programs.takeEvent()).toMatchObject({
      endpointId: s.a.id,
      direction: 1,
      sourceIdentity: 2,
      destinationIdentity: s.a.identity,
    });
  });
});

it.each(FAMILIES)('UDP over IPv%i without a checksum stays so', (family) => {
  const open = sent(s.a, family).udp({ sourcePort: PORT, destinationPort: SERVER, checksum: 0 }).payload(5);
  const out = s.send(s.a, open);
  expect(out.frame).toEqual(
    translated(s.a, family)
      .udp({ sourcePort: portTaken(), destinationPort: SERVER, checksum: 0 })
      .payload(5)
      .bytes(),
  );
});

/** An address as 16-bit words. */
function addressWords(text: string): number[] {
  const frame = text.includes(':')
    ? packet().ipv6({ source: text, destination: text }).bytes().slice(8, 24)
    : packet().ipv4({ source: text, destination: text }).bytes().slice(12, 16);
  return Array.from(
    { length: frame.length / 2 },
    (_, at) => ((frame[2 * at] ?? 0) << 8) | (frame[2 * at + 1] ?? 0),
  );
}

/** A checksum after words under it have changed (RFC 1624). */
function changed(sum: number, from: number[], to: number[]): number {
  let value = ~sum & 0xffff;
  for (const word of from) value += ~word & 0xffff;
  for (const word of to) value += word;
  while (value > 0xffff) value = (value & 0xffff) + (value >>> 16);
  return ~value & 0xffff;
}
