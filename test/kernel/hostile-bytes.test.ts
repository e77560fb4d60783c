/**
 * Frames that are cut, changed at random, or random altogether. Whatever the bytes are, what passes must be honest
 * about its sender, complete, and allowed: an oracle that shares nothing with the programs says so.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readFrame } from '../support/honest-frame.js';
import { addressBytes, linkLayerOption, macBytes, type Packet, PROTOCOL, packet } from '../support/packet.js';
import { ACTION, Programs } from '../support/programs.js';
import { Scenario } from '../support/scenario.js';
import { outgoing } from '../support/scenario-frames.js';
import { GATEWAY, NODE, UPLINK, WORLD } from '../support/scenario-parties.js';

const RUNS = 2000;
/** What the rules allow. */
const PORT = 53;
/** The kernel takes no shorter IP frames for a test run. */
const SHORTEST = { 4: 14 + 20, 6: 14 + 40, arp: 15 } as const;

let s: Scenario;
beforeAll(async () => {
  s = new Scenario(await Programs.load());
});
afterAll(() => s?.programs.close());
beforeEach(() => s.reset());

const B = { 4: '10.7.0.12', 6: 'fd00:7::c' } as const;
const from = () => packet().ethernet({ source: s.a.mac, destination: s.a.gatewayMac });
const v4 = { source: '10.7.0.11', destination: B[4] };

/** Valid frames of a, one of each kind that may pass. */
const KINDS: Record<string, { family: 4 | 6 | 'arp'; frame: () => Packet }> = {
  arp: {
    family: 'arp',
    frame: () => from().arp({ senderMac: s.a.mac, senderIp: '10.7.0.11', targetIp: GATEWAY[4] }),
  },
  solicitation: {
    family: 6,
    frame: () =>
      outgoing(s.a, 'fd00:7::1', { ttl: 255 }).neighbour({
        target: GATEWAY[6],
        options: linkLayerOption(1, s.a.mac),
      }),
  },
  tcp4: {
    family: 4,
    frame: () => outgoing(s.a, B[4]).tcp({ destinationPort: PORT, options: [2, 4, 5, 0xb4] }),
  },
  tcp6: {
    family: 6,
    frame: () => outgoing(s.a, B[6]).tcp({ destinationPort: PORT, options: [2, 4, 5, 0xb4] }),
  },
  udp4: { family: 4, frame: () => outgoing(s.a, B[4]).udp({ destinationPort: PORT }).payload(12) },
  udp6: { family: 6, frame: () => outgoing(s.a, B[6]).udp({ destinationPort: PORT }).payload(12) },
  sctp4: { family: 4, frame: () => outgoing(s.a, B[4]).sctp({ destinationPort: PORT }) },
  sctp6: { family: 6, frame: () => outgoing(s.a, B[6]).sctp({ destinationPort: PORT }) },
  echo4: { family: 4, frame: () => outgoing(s.a, B[4]).icmp({ type: 8, id: 7 }).payload(16) },
  echo6: { family: 6, frame: () => outgoing(s.a, B[6]).icmpv6({ type: 128, id: 7 }).payload(16) },
  options4: {
    family: 4,
    frame: () =>
      from()
        .ipv4({ ...v4, options: [7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0] })
        .udp({ destinationPort: PORT })
        .payload(8),
  },
  fragment4: {
    family: 4,
    frame: () =>
      from()
        .ipv4({ ...v4, moreFragments: true, id: 3 })
        .udp({ destinationPort: PORT, length: 900 })
        .payload(16),
  },
  fragment6: {
    family: 6,
    frame: () =>
      outgoing(s.a, B[6])
        .fragment({ more: true, id: 3 })
        .udp({ destinationPort: PORT, length: 900 })
        .payload(16),
  },
  chain6: {
    family: 6,
    frame: () =>
      outgoing(s.a, B[6])
        .extension(0)
        .extension(60, { units: 1 })
        .fragment({})
        .extension(60)
        .udp({ destinationPort: PORT })
        .payload(8),
  },
};

describe.each(Object.entries(KINDS))('%s', (_name, { family, frame }) => {
  it('whole, it passes', () => {
    s.allowAll();
    expect(s.send(s.a, frame()).reason).toBe('NONE');
  });

  it('cut at any length, it does not', () => {
    s.allowAll();
    const whole = frame().bytes();
    const passed: number[] = [];
    for (let length: number = SHORTEST[family]; length < whole.length; length++) {
      const outcome = s.send(s.a, whole.slice(0, length));
      if (outcome.verdict !== ACTION.DROP || outcome.reason === 'NONE') passed.push(length);
    }
    expect(passed).toEqual([]);
  });

  it('cut at any length and claiming that this is all, it passes only with a whole transport header', () => {
    s.allowAll();
    const whole = frame().bytes();
    for (let length: number = SHORTEST[family]; length < whole.length; length++) {
      const bytes = whole.slice(0, length);
      const view = new DataView(bytes.buffer);
      if (family === 4) view.setUint16(16, length - 14);
      if (family === 6) view.setUint16(18, length - 54);
      const outcome = s.send(s.a, bytes);
      if (outcome.reason === 'NONE') expect(readFrame(bytes)?.protocol, `${length} bytes`).toBeDefined();
    }
  });
});

describe('with rules for UDP and TCP to one port', () => {
  const hexOf = (address: string) => Buffer.from(addressBytes(address)).toString('hex');
  beforeEach(() => {
    for (const protocol of [PROTOCOL.UDP, PROTOCOL.TCP]) {
      s.rule({ subject: s.a, direction: 'egress', peer: s.b, protocol, port: PORT });
      s.rule({ subject: s.b, direction: 'ingress', peer: s.a, protocol, port: PORT });
      s.rule({ subject: s.a, direction: 'ingress', peer: 2, protocol, port: PORT });
    }
  });

  /** Why a frame that passed should not have, or undefined. */
  function wrongOutgoing(bytes: Uint8Array): string | undefined {
    const frame = readFrame(bytes);
    if (!frame) return 'no receiver could read it';
    if (frame.sourceMac !== Buffer.from(macBytes(s.a.mac)).toString('hex')) return 'source MAC';
    const own = [hexOf('10.7.0.11'), hexOf('fd00:7::b')];
    if (frame.protocol === PROTOCOL.ICMPV6 && frame.icmpType === 135) own.push(hexOf('fe80::ff:fe00:b'));
    if (!own.includes(frame.source)) return 'source address';
    if (frame.kind === 'arp' || (frame.protocol === PROTOCOL.ICMPV6 && frame.icmpType === 135))
      return undefined;
    if (![hexOf(B[4]), hexOf(B[6])].includes(frame.destination)) return 'destination';
    return wrongPort(frame);
  }
  function wrongPort(frame: { protocol?: number; destinationPort?: number }): string | undefined {
    if (frame.protocol !== PROTOCOL.UDP && frame.protocol !== PROTOCOL.TCP) return 'protocol';
    return frame.destinationPort === PORT ? undefined : 'port';
  }
  function wrongIncoming(bytes: Uint8Array): string | undefined {
    const frame = readFrame(bytes);
    if (frame?.kind !== 'ip') return 'no receiver could read it';
    if (![hexOf('10.7.0.11'), hexOf('fd00:7::b')].includes(frame.destination)) return 'destination';
    if (/^0a0[78]00|^fd0000070000|^fd0000080000/.test(frame.source)) return 'an address of ours from outside';
    if ([NODE[4], NODE[6]].map(hexOf).includes(frame.source)) return 'an address of the node from outside';
    return wrongPort(frame);
  }

  function check(frames: fc.Arbitrary<Uint8Array>, inbound: boolean): void {
    fc.assert(
      fc.property(frames, (bytes) => {
        s.programs.conntrack.clear();
        s.programs.fragments.clear();
        const outcome = inbound ? s.receive(s.a, bytes, UPLINK) : s.send(s.a, bytes);
        if (outcome.verdict === ACTION.DROP) {
          expect(outcome.reason).not.toBe('NONE');
          return;
        }
        expect(outcome.reason).toBe('NONE');
        expect(inbound ? wrongIncoming(bytes) : wrongOutgoing(bytes)).toBeUndefined();
      }),
      { numRuns: RUNS },
    );
  }

  /** Random bytes behind an honest Ethernet header, or behind none. */
  const randomFrames = fc
    .tuple(
      fc.uint8Array({ minLength: 60, maxLength: 160 }),
      fc.constantFrom(0, 0x0800, 0x0806, 0x86dd, 0x8100),
      fc.boolean(),
    )
    .map(([bytes, type, honest]) => {
      const frame = bytes.slice();
      if (honest) frame.set(macBytes(s.a.mac), 6);
      if (type) frame.set([type >> 8, type & 0xff], 12);
      if (type === 0x0800) frame[14] = 0x45;
      if (type === 0x86dd) frame[14] = 0x60;
      return frame;
    });

  const mutated = (bases: () => Packet[]) =>
    fc
      .tuple(
        fc.nat(),
        fc.array(
          fc.tuple(
            fc.nat(90),
            fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 6, 17, 43, 44, 51, 58, 59, 60, 255)),
          ),
          { maxLength: 4 },
        ),
        fc.option(fc.nat(160), { freq: 4 }),
      )
      .map(([which, edits, cut]) => {
        const all = bases();
        const bytes = (all[which % all.length] ?? packet()).bytes();
        for (const [at, value] of edits) bytes[at % bytes.length] = value;
        return cut === null ? bytes : bytes.slice(0, Math.max(54, cut));
      });

  const incomingBases = () =>
    ([4, 6] as const).flatMap((family) => {
      const base = packet()
        .ethernet({ source: s.a.gatewayMac, destination: s.a.mac })
        .ip({ source: WORLD[family], destination: family === 4 ? '10.7.0.11' : 'fd00:7::b' });
      return [
        base.udp({ destinationPort: PORT }).payload(30),
        base.tcp({ destinationPort: PORT }),
        base.udp({ destinationPort: 22 }).payload(8),
      ];
    });

  it('random bytes from a container pass only if it may send them', () => check(randomFrames, false));
  it('random bytes for a container pass only if it may get them', () => check(randomFrames, true));
  it('changed frames from a container pass only if it may send them', () =>
    check(
      mutated(() => Object.values(KINDS).map((kind) => kind.frame())),
      false,
    ));
  it('changed frames for a container pass only if it may get them', () =>
    check(mutated(incomingBases), true));
});
