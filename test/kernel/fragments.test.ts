/** What many fragments may cost, and whom. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PROTOCOL } from '../support/packet.js';
import { Programs, skBuff } from '../support/programs.js';
import { FAMILIES, type Family, Scenario, type TestEndpoint } from '../support/scenario.js';
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

    flood(s.c, first(s.c, FIRST_ID).bytes(), family);

    expect(later(s.a, 77)).toBe('NONE');
    expect(later(s.c, FIRST_ID + FLOOD - 1)).toBe('NONE');
    expect(later(s.c, FIRST_ID)).toBe('FRAGMENT_WITHOUT_FIRST');
  });

  it('datagrams of one endpoint may be under way at once', () => {
    const ids = Array.from({ length: 16 }, (_, at) => FIRST_ID + at);
    for (const id of ids) s.send(s.a, first(s.a, id));
    expect(ids.map((id) => later(s.a, id))).toEqual(ids.map(() => 'NONE'));
  });
});

/** Sends the frame again and again, each time as the first fragment of another datagram. */
function flood(from: TestEndpoint, frame: Uint8Array, family: Family): void {
  const context = skBuff({ ifindex: from.ifindex });
  const view = new DataView(frame.buffer, frame.byteOffset);
  for (let id = FIRST_ID; id < FIRST_ID + FLOOD; id++) {
    if (family === 4) setIp4Id(view, id);
    else view.setUint32(14 + 40 + 4, id);
    s.programs.runUncounted('from_container', frame, context);
  }
}

/** The checksum of the header goes down by what the identification goes up (RFC 1624). */
function setIp4Id(view: DataView, id: number): void {
  const [ID, CHECKSUM] = [14 + 4, 14 + 10];
  const sum = (~view.getUint16(CHECKSUM) & 0xffff) + (~view.getUint16(ID) & 0xffff) + id;
  view.setUint16(ID, id);
  view.setUint16(CHECKSUM, ~((sum & 0xffff) + (sum >> 16)));
}
