/**
 * Frames by the uplink that are out of the ordinary, each as a whole: fragments, ones with more headers or without a
 * checksum, too far, too large, forged, and of no flow at all.
 */
import { describe, expect, it } from 'vitest';
import {
  arriving,
  open,
  opening,
  PORT,
  portTaken,
  SERVER,
  sent,
  TTL,
  translated,
  useMasquerade,
} from '../support/masqueraded.js';
import { type Packet, PROTOCOL, packet } from '../support/packet.js';
import { ACTION } from '../support/programs.js';
import type { Scenario } from '../support/scenario.js';
import { addressOf, FAMILIES, GATEWAY, NODE, WORLD } from '../support/scenario-parties.js';
import { expectUntouched, OUTSIDE_MACS } from '../support/translated.js';
import { quoted, unreachable } from './rows/icmp.js';

let s: Scenario;
useMasquerade((scenario) => {
  s = scenario;
});

describe.each(FAMILIES)('IPv%i', (family) => {
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
    const port = portTaken(s);
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
    expectUntouched(s, late);
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
    const port = open(s, s.a, family, 'udp');
    const about = quoted(opening(translated(s.a, family), family, 'udp', port));
    for (const source of [addressOf(s.b, family), GATEWAY[family]]) {
      expect(s.answer(unreachable(arriving(family, source), family, about)).reason).toBe('BAD_SOURCE');
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
    expect(out.frame).toEqual(frame(theirs, macs, portTaken(s)).bytes());
  });

  it('what is sent to the node, malformed or not IP passes as it is', () => {
    open(s, s.a, family, 'udp');
    const base = packet().ethernet(OUTSIDE_MACS);
    expectUntouched(s, arriving(family).tcp({ destinationPort: 22 }));
    expectUntouched(s, arriving(family).udp({ sourcePort: 68, destinationPort: 67 }).payload(300));
    expectUntouched(s, arriving(family).sctp());
    expectUntouched(s, arriving(family).tcp({ flags: 0 }));
    expectUntouched(s, base.vlan().ip({ source: WORLD[family], destination: NODE[family] }).udp());
    expectUntouched(
      s,
      packet()
        .ethernet({ ...OUTSIDE_MACS, type: 0x88cc })
        .payload(60),
    );
    expectUntouched(s, base.arp({ senderMac: OUTSIDE_MACS.source, senderIp: WORLD[4], targetIp: NODE[4] }));
  });
});

it.each(FAMILIES)('UDP over IPv%i without a checksum stays so', (family) => {
  const open = sent(s.a, family).udp({ sourcePort: PORT, destinationPort: SERVER, checksum: 0 }).payload(5);
  const out = s.send(s.a, open);
  expect(out.frame).toEqual(
    translated(s.a, family)
      .udp({ sourcePort: portTaken(s), destinationPort: SERVER, checksum: 0 })
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
