/**
 * Some cards tell the sum of a whole packet (CHECKSUM_COMPLETE), by which the receiver's stack then judges it. The
 * kernel compares it with the packet after each run here, and refuses the run if it is another.
 */
import { release } from 'node:os';
import { beforeEach, describe, expect, it } from 'vitest';
import { COMPLETE_SUMS } from '../../src/native/bpf.js';
import {
  answering,
  arriving,
  handed,
  KINDS,
  open,
  opening,
  PORT,
  portTaken,
  SERVER,
  sent,
  translated,
  useMasquerade,
} from '../support/masqueraded.js';
import type { Scenario } from '../support/scenario.js';
import { FAMILIES, WORLD_ROUTER } from '../support/scenario-parties.js';
import { quoted, unreachable } from './rows/icmp.js';

let s: Scenario;
useMasquerade((scenario) => {
  s = scenario;
});
beforeEach(() => {
  s.programs.runFlags = COMPLETE_SUMS;
});

const DONE = { reason: 'NONE' };

/** Since Linux 6.16. */
const [major = 0, minor = 0] = release().split('.').map(Number);
const isToldOf = major > 6 || (major === 6 && minor >= 16);

describe.skipIf(!isToldOf).each(FAMILIES)('IPv%i', (family) => {
  it.each(KINDS)('%s: the sum stays right out and in, whatever the address and port come to', (kind) => {
    for (let port = PORT; port < PORT + 2; port++) {
      const taken = open(s, s.a, family, kind, port);
      expect(s.send(s.a, opening(sent(s.a, family), family, kind, port))).toMatchObject(DONE);
      const back = s.answer(answering(arriving(family), family, kind, taken));
      expect(back).toMatchObject(DONE);
      expect(back.frame).toEqual(answering(handed(s.a, family), family, kind, port).bytes());
    }
  });

  it.each(KINDS)('%s: the sum of an error stays right in both directions', (kind) => {
    const port = open(s, s.a, family, kind);
    const out = quoted(opening(translated(s.a, family), family, kind, port));
    expect(s.answer(unreachable(arriving(family, WORLD_ROUTER[family]), family, out))).toMatchObject(DONE);
    s.answer(answering(arriving(family), family, kind, port));
    const back = quoted(answering(handed(s.a, family), family, kind, PORT));
    expect(s.send(s.a, unreachable(sent(s.a, family), family, back))).toMatchObject(DONE);
  });

  it('a datagram without a checksum leaves nothing of it to make up for the change', () => {
    const none = { checksum: 0 };
    const asks = { sourcePort: PORT, destinationPort: SERVER, ...none };
    expect(s.send(s.a, sent(s.a, family).udp(asks).payload(5))).toMatchObject(DONE);
    const answers = { sourcePort: SERVER, destinationPort: portTaken(s), ...none };
    expect(s.answer(arriving(family).udp(answers).payload(6))).toMatchObject(DONE);
  });
});
