/**
 * Which RST ends a connection with somebody outside: the one that its receiver would take, told from those that anybody
 * can send who guesses the addresses and ports.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { CONFIG, ConntrackFlags, EndpointFlags } from '../../src/datapath/abi/generated.js';
import { monotonicNs } from '../../src/native/bpf.js';
import { type Packet, PROTOCOL, packet, TCP } from '../support/packet.js';
import type { Scenario } from '../support/scenario.js';
import { addressOf, FAMILIES, type Family, NODE, WORLD } from '../support/scenario-parties.js';
import { OUTSIDE_MACS, useTranslation } from '../support/translated.js';

const [CLIENT, PORT, TARGET] = [40000, 80, 8080];
/** Sequence numbers that the two ends begin with; those of the one outside run over soon. */
const [INSIDE, OUTSIDE] = [7_000, 0xffff_ff00];

let s: Scenario;
useTranslation((scenario) => {
  s = scenario;
});

interface Segment {
  flags: number;
  sequence: number;
  acknowledgement?: number;
  bytes?: number;
}

/** A connection between a container and somebody outside, by what each end says; numbers count from the first. */
class Conversation {
  readonly #family: Family;
  readonly #isMapped: boolean;

  constructor(family: Family, isMapped: boolean) {
    this.#family = family;
    this.#isMapped = isMapped;
  }

  /** What the one outside says, and what brings it in. */
  outside(segment: Segment, by: 'answer' | 'arrive' = 'answer'): string {
    const ends = { source: WORLD[this.#family], destination: NODE[this.#family] };
    const [sourcePort, destinationPort] = this.#isMapped ? [CLIENT, PORT] : [PORT, this.#natPort];
    const base = packet().ethernet(OUTSIDE_MACS).ip(ends);
    return s[by](this.#build(base, segment, [OUTSIDE, INSIDE], { sourcePort, destinationPort })).reason;
  }

  inside(segment: Segment): string {
    const ends = { source: addressOf(s.a, this.#family), destination: WORLD[this.#family] };
    const [sourcePort, destinationPort] = this.#isMapped ? [TARGET, CLIENT] : [CLIENT, PORT];
    const base = packet().ethernet({ source: s.a.mac, destination: s.a.gatewayMac }).ip(ends);
    return s.send(s.a, this.#build(base, segment, [INSIDE, OUTSIDE], { sourcePort, destinationPort })).reason;
  }

  establish(): void {
    const [opener, responder] = this.#isMapped
      ? [this.outside.bind(this), this.inside.bind(this)]
      : [this.inside.bind(this), this.outside.bind(this)];
    expect(opener({ flags: TCP.SYN, sequence: 0 })).toBe('NONE');
    expect(responder({ flags: TCP.SYN | TCP.ACK, sequence: 0, acknowledgement: 1 })).toBe('NONE');
    expect(opener({ flags: TCP.ACK, sequence: 1, acknowledgement: 1 })).toBe('NONE');
    expect(this.remembered()).toBe(CONFIG.tcp_established_s.default);
  }

  get record() {
    const [only, more] = s.programs.conntrack.entries();
    if (!only || more) throw new Error('there is not one record');
    return only.value;
  }

  /** Seconds, rounded. */
  remembered(): number {
    return Math.round(Number(this.record.expiresNs - monotonicNs()) / 1e9);
  }

  get #natPort(): number {
    return this.record.natPort;
  }

  #build(base: Packet, segment: Segment, [own, other]: [number, number], ports: object): Packet {
    const { flags, sequence, acknowledgement, bytes = 0 } = segment;
    const tcp = base.tcp({
      ...ports,
      flags,
      sequence: (own + sequence) >>> 0,
      acknowledgement: acknowledgement === undefined ? 0 : (other + acknowledgement) >>> 0,
    });
    return bytes > 0 ? tcp.payload(bytes) : tcp;
  }
}

const ESTABLISHED = CONFIG.tcp_established_s.default;
const CLOSING = CONFIG.tcp_closing_s.default;

describe.each(FAMILIES)('IPv%i', (family) => {
  describe.each([
    ['to a port of the node', true],
    ['of a container', false],
  ])('a connection %s', (_name, isMapped) => {
    let connection: Conversation;
    const data = (sequence: number, bytes: number) => ({
      flags: TCP.ACK | TCP.PSH,
      sequence,
      acknowledgement: 1,
      bytes,
    });
    const acknowledge = (acknowledgement: number) => ({ flags: TCP.ACK, sequence: 1, acknowledgement });
    const reset = (sequence: number) => ({ flags: TCP.RST, sequence });

    beforeEach(() => {
      connection = new Conversation(family, isMapped);
      const flags = EndpointFlags.MASQUERADE | EndpointFlags.TAKES_FRAMES;
      s.add({ ...s.a, flags });
      s.frontend({
        address: NODE[family],
        port: PORT,
        protocol: PROTOCOL.TCP,
        backends: [{ address: addressOf(s.a, family), port: TARGET }],
      });
    });

    it.each([0, 2, 1 + 0x8000_0000, -1, 50_000])(
      'goes on as it was after a RST that was guessed (%i from where it is)',
      (sequence) => {
        connection.establish();
        const before = connection.record;
        expect(connection.outside(reset(sequence))).toBe('NONE');
        expect(connection.outside({ ...reset(sequence), flags: TCP.RST | TCP.ACK })).toBe('NONE');
        expect(connection.record).toEqual(before);
      },
    );

    it('ends by a RST of the number that is expected', () => {
      connection.establish();
      expect(connection.outside(reset(1))).toBe('NONE');
      expect(connection.remembered()).toBe(CLOSING);
    });

    it.each(['answer', 'arrive'] as const)(
      'ends by a RST right behind data, before that is acknowledged (%s)',
      (by) => {
        connection.establish();
        connection.outside(data(1, 200), by);
        connection.outside(data(201, 300), by);
        connection.outside(reset(201));
        expect(connection.remembered()).toBe(ESTABLISHED);
        connection.outside(reset(501));
        expect(connection.remembered()).toBe(CLOSING);
      },
    );

    it('ends by a RST behind a gap, once the container has acknowledged what fills it', () => {
      connection.establish();
      connection.outside(data(301, 300));
      connection.outside(reset(601));
      expect(connection.remembered()).toBe(ESTABLISHED);
      connection.outside(data(1, 300));
      connection.inside(acknowledge(601));
      connection.outside(reset(601));
      expect(connection.remembered()).toBe(CLOSING);
    });

    it('data whose number was guessed makes no later guess good', () => {
      connection.establish();
      connection.outside(data(90_000, 1000));
      connection.outside(reset(91_000));
      connection.outside(reset(90_000));
      expect(connection.remembered()).toBe(ESTABLISHED);
      connection.outside(reset(1));
      expect(connection.remembered()).toBe(CLOSING);
    });

    it('ends by any RST of the container itself, and before it is established', () => {
      connection.establish();
      connection.inside(reset(12_345));
      expect(connection.remembered()).toBe(CLOSING);
      s.programs.conntrack.clear();
      s.programs.nat.clear();
      const [opener, responder] = isMapped
        ? [connection.outside.bind(connection), connection.inside.bind(connection)]
        : [connection.inside.bind(connection), connection.outside.bind(connection)];
      opener({ flags: TCP.SYN, sequence: 0 });
      responder({ flags: TCP.RST | TCP.ACK, sequence: 0, acknowledgement: 1 });
      expect(connection.record.flags & ConntrackFlags.RESET).toBeTruthy();
      expect(connection.remembered()).toBe(CLOSING);
    });

    it('is not replaced by a SYN after a RST that was guessed', () => {
      connection.establish();
      const { nonce } = connection.record;
      connection.outside(reset(2));
      connection[isMapped ? 'outside' : 'inside']({ flags: TCP.SYN, sequence: 5 });
      expect(connection.record.nonce).toBe(nonce);
      if (isMapped) expect(connection.remembered()).toBe(ESTABLISHED);
    });

    it("ends by a RST of the number of the FIN before it, as its receiver's kernel takes it", () => {
      connection.establish();
      connection.outside({ flags: TCP.FIN | TCP.ACK, sequence: 1, acknowledgement: 1 });
      connection.outside(reset(0));
      expect(connection.remembered()).toBe(ESTABLISHED);
      connection.outside(reset(1));
      expect(connection.remembered()).toBe(CLOSING);
    });

    it('that begins anew where the one before was never ended goes by its own numbers', () => {
      connection.establish();
      const [from, to] = [-5000, -4999];
      if (isMapped) {
        connection.outside({ flags: TCP.SYN, sequence: from });
        connection.inside({ flags: TCP.SYN | TCP.ACK, sequence: 0, acknowledgement: to });
        connection.outside({ flags: TCP.ACK, sequence: to, acknowledgement: 1 });
      } else {
        connection.inside({ flags: TCP.SYN, sequence: 0 });
        connection.outside({ flags: TCP.SYN | TCP.ACK, sequence: from, acknowledgement: 1 });
        connection.inside({ flags: TCP.ACK, sequence: 1, acknowledgement: to });
      }
      expect(connection.remembered()).toBe(ESTABLISHED);
      connection.outside(reset(1));
      expect(connection.remembered()).toBe(ESTABLISHED);
      connection.outside(reset(to));
      expect(connection.remembered()).toBe(CLOSING);
    });
  });
});
