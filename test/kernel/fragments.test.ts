/** What many fragments may cost, and whom. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Packet, PROTOCOL, packet } from '../support/packet.js';
import { skBuff } from '../support/program-context.js';
import { DEVICE_MAC, Programs, type TestedProgram } from '../support/programs.js';
import { Scenario } from '../support/scenario.js';
import { outgoing } from '../support/scenario-frames.js';
import {
  addressOf,
  FAMILIES,
  type Family,
  NODE,
  type TestEndpoint,
  WORLD,
  WORLD_ROUTER,
} from '../support/scenario-parties.js';
import { part } from './rows/fragments.js';

/** More datagrams than any table of fragments has room for. */
const FLOOD = 10_000;
const FIRST_ID = 1000;

let s: Scenario;
beforeAll(async () => {
  s = new Scenario(await Programs.load());
});
afterAll(() => s?.programs.close());
beforeEach(() => {
  s.reset();
  s.allowAll();
});

describe.each(FAMILIES)('IPv%i', (family) => {
  const first = (from: TestEndpoint, id: number) =>
    part(s, family, { from, id, more: true }).udp({ length: 1000 }).payload(24);
  const later = (from: TestEndpoint, id: number) =>
    s.send(from, part(s, family, { from, id, offset: 32, protocol: PROTOCOL.UDP }).payload(40)).reason;

  it('a flood of fragments of one endpoint leaves those of another alone', () => {
    expect(s.send(s.a, first(s.a, 77)).reason).toBe('NONE');

    flood('from_container', s.c.ifindex, first(s.c, FIRST_ID).bytes(), family);

    expect(later(s.a, 77)).toBe('NONE');
    expect(later(s.c, FIRST_ID + FLOOD - 1)).toBe('NONE');
    expect(later(s.c, FIRST_ID)).toBe('FRAGMENT_WITHOUT_FIRST');
  });

  it('datagrams of one endpoint may be under way at once', () => {
    const ids = Array.from({ length: 16 }, (_, at) => FIRST_ID + at);
    for (const id of ids) s.send(s.a, first(s.a, id));
    expect(ids.map((id) => later(s.a, id))).toEqual(ids.map(() => 'NONE'));
  });

  describe('from outside', () => {
    const PORT = 40000;
    const PUBLISHED = 5353;
    const macs = { source: '02:aa:00:00:00:01', destination: DEVICE_MAC };
    const arriving = (source: string, id: number, offset: number): Packet => {
      const ends = { source, destination: NODE[family] };
      const more = offset === 0;
      const protocol = PROTOCOL.UDP;
      const base = packet().ethernet(macs);
      return family === 4
        ? base.ipv4({ ...ends, id, fragmentOffset: offset, moreFragments: more, protocol })
        : base.ipv6(ends).fragment({ offset, more, id, next: protocol });
    };
    const head = (source: string, id: number, ports: { sourcePort: number; destinationPort: number }) =>
      arriving(source, id, 0)
        .udp({ ...ports, length: 1000 })
        .payload(24);
    const rest = (source: string, id: number) => s.answer(arriving(source, id, 32).payload(40));

    /** A container has asked the world, whose answer comes in fragments. */
    function answered(): void {
      s.masquerade(s.a, s.b);
      s.frontend({
        address: family === 4 ? '0.0.0.0' : '::',
        port: PUBLISHED,
        protocol: PROTOCOL.UDP,
        backends: [{ address: addressOf(s.b, family), port: 53 }],
      });
      s.send(s.a, outgoing(s.a, WORLD[family]).udp({ sourcePort: PORT, destinationPort: 53 }));
      const [alias] = s.programs.nat.entries();
      const ports = { sourcePort: 53, destinationPort: alias?.value.key.localPort ?? 0 };
      expect(s.answer(head(WORLD[family], 77, ports)).reason).toBe('NONE');
    }

    it.each([
      ['a stranger', WORLD_ROUTER[family]],
      ['whoever has the address of who answers', WORLD[family]],
    ])(
      'a flood of fragments to a published port by %s leaves answers to containers alone',
      (_name, source) => {
        answered();
        const ports = { sourcePort: PORT, destinationPort: PUBLISHED };
        expect(s.answer(head(source, FIRST_ID, ports)).reason).toBe('NONE');
        flood('from_uplink', s.outside, head(source, FIRST_ID, ports).bytes(), family);
        expect(rest(source, FIRST_ID + FLOOD - 1)).toMatchObject({ reason: 'NONE', endpointId: s.b.id });
        expect(rest(WORLD[family], 77)).toMatchObject({ reason: 'NONE', endpointId: s.a.id });
      },
    );

    it('a flood of fragments of one client leaves those of another alone', () => {
      answered();
      const ports = { sourcePort: PORT, destinationPort: PUBLISHED };
      expect(s.answer(head(WORLD[family], 78, ports)).reason).toBe('NONE');
      flood('from_uplink', s.outside, head(WORLD_ROUTER[family], FIRST_ID, ports).bytes(), family);
      expect(rest(WORLD[family], 78)).toMatchObject({ reason: 'NONE', endpointId: s.b.id });
    });
  });
});

/** Sends the frame again and again, each time as the first fragment of another datagram. */
function flood(program: TestedProgram, ifindex: number, frame: Uint8Array, family: Family): void {
  const context = skBuff({ ifindex });
  const view = new DataView(frame.buffer, frame.byteOffset);
  for (let id = FIRST_ID; id < FIRST_ID + FLOOD; id++) {
    if (family === 4) setIp4Id(view, id);
    else view.setUint32(14 + 40 + 4, id);
    s.programs.runUncounted(program, frame, context);
  }
}

/** The checksum of the header goes down by what the identification goes up (RFC 1624). */
function setIp4Id(view: DataView, id: number): void {
  const [ID, CHECKSUM] = [14 + 4, 14 + 10];
  const sum = (~view.getUint16(CHECKSUM) & 0xffff) + (~view.getUint16(ID) & 0xffff) + id;
  view.setUint16(ID, id);
  view.setUint16(CHECKSUM, ~((sum & 0xffff) + (sum >> 16)));
}
