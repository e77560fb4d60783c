/** Ports of the node that translated flows take: whose they are, until when, and who gets them next. */
import { spawn } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { Lines } from '../support/lines.js';
import {
  answering,
  arriving,
  expectWhole,
  handed,
  KINDS,
  open,
  opening,
  PORT,
  PORTS,
  portTaken,
  SERVER,
  sent,
  useMasquerade,
} from '../support/masqueraded.js';
import { TCP } from '../support/packet.js';
import type { Scenario } from '../support/scenario.js';
import { FAMILIES } from '../support/scenario-parties.js';
import { trafficProgram } from '../support/traffic.js';
import { aliases, expectUntouched } from '../support/translated.js';

let s: Scenario;
useMasquerade((scenario) => {
  s = scenario;
});

describe.each(FAMILIES)('IPv%i', (family) => {
  describe.each(KINDS)('%s', (kind) => {
    it('two containers with one port to one place do not get in the way of each other', () => {
      const [first, second] = [open(s, s.a, family, kind), open(s, s.b, family, kind)];
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

    it('ends with its endpoint, and the alias with it', () => {
      const port = open(s, s.a, family, kind);
      s.remove(s.a);
      expectUntouched(s, answering(arriving(family), family, kind, port));
      expect(s.programs.sweep()).toMatchObject({ cut: 1 });
      expect(aliases(s)).toEqual([]);
    });

    it('gives its port back when its time is up', () => {
      const port = open(s, s.a, family, kind);
      open(s, s.a, family, kind, PORT + 1);
      expect(s.send(s.a, opening(sent(s.a, family), family, kind, PORT + 2)).reason).toBe('NAT_PORTS');
      expectWhole(s);
      s.expireFlows();
      expectUntouched(s, answering(arriving(family), family, kind, port));
      s.programs.sweep();
      expect([s.programs.conntrack.entries(), aliases(s)]).toEqual([[], []]);
      open(s, s.a, family, kind, PORT + 2);
      expectWhole(s);
    });

    it('an alias without its record is dead, and the sweep collects it alone', () => {
      const dead = open(s, s.a, family, kind);
      const [record] = s.programs.conntrack.entries();
      const live = open(s, s.a, family, kind, PORT + 1);
      if (record) s.programs.conntrack.delete(record.key);
      expectUntouched(s, answering(arriving(family), family, kind, dead));
      s.programs.sweep();
      expect(aliases(s).map(({ key }) => key.localPort)).toEqual([live]);
      expect(s.answer(answering(arriving(family), family, kind, live)).reason).toBe('NONE');
    });

    it("an alias is not taken for another record's that has the same key", () => {
      const port = open(s, s.a, family, kind);
      const [record] = s.programs.conntrack.entries();
      if (!record) throw new Error('no record');
      s.programs.conntrack.set(record.key, { ...record.value, nonce: (record.value.nonce ^ 2) >>> 0 });
      expectUntouched(s, answering(arriving(family), family, kind, port));
      s.programs.conntrack.set(record.key, record.value);
      expect(s.answer(answering(arriving(family), family, kind, port)).reason).toBe('NONE');
    });
  });

  it("a port that a socket of the node answers by is the node's", async () => {
    const [taken, free] = PORTS;
    const what = ['serve', `tcp:${taken}`, `udp:${taken}`];
    const server = s.programs.inside(() => spawn(trafficProgram('sockets'), what, { stdio: 'pipe' }));
    try {
      await new Lines(server).ready();
      for (const kind of ['tcp', 'udp'] as const) {
        expect(open(s, s.a, family, kind)).toBe(free);
        expect(s.send(s.b, opening(sent(s.b, family), family, kind, PORT)).reason).toBe('NAT_PORTS');
      }
    } finally {
      server.kill('SIGKILL');
    }
  });

  it('a connection that has ended makes room for the next one of its ports, which has one alias too', () => {
    open(s, s.a, family, 'tcp');
    const reset = sent(s.a, family).tcp({ sourcePort: PORT, destinationPort: SERVER, flags: TCP.RST });
    expect(s.send(s.a, reset).reason).toBe('NONE');
    const port = open(s, s.a, family, 'tcp');
    expect(portTaken(s)).toBe(port);
    expectWhole(s);
    expect(s.answer(answering(arriving(family), family, 'tcp', port)).reason).toBe('NONE');
  });

  it('of a connection that has ended another takes the port when no other is free, after a moment', () => {
    for (const at of [0, 1]) {
      open(s, s.a, family, 'tcp', PORT + at);
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
    const ports = aliases(s).map(({ key }) => key.localPort);
    expect(ports.sort()).toEqual(PORTS);
    expectWhole(s);
    const back = s.answer(answering(arriving(family), family, 'tcp', first.value.natPort));
    expect(back).toMatchObject({ reason: 'NONE', endpointId: s.b.id });
  });
});
