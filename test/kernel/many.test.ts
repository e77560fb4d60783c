/** As many translated connections at once as a busy node has, each of them whole. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PROTOCOL, packet, TCP } from '../support/packet.js';
import { skBuff } from '../support/program-context.js';
import { ACTION, Programs } from '../support/programs.js';
import { Scenario } from '../support/scenario.js';
import { outgoing } from '../support/scenario-frames.js';
import { addressOf, NODE, type TestEndpoint, WORLD } from '../support/scenario-parties.js';
import { OUTSIDE_MACS } from '../support/translated.js';

const CONNECTIONS = 50_000;
const PUBLISHED = 8080;
const FIRST_PORT = 10_000;

let s: Scenario;
beforeAll(async () => {
  s = new Scenario(
    await Programs.load({
      // What one endpoint may have, and how fast, is not the question.
      settings: { flows_per_endpoint: 0, inbound_new_per_second: 0, nat_port_min: 1024 },
    }),
  );
});
afterAll(() => s?.programs.close());
beforeEach(() => {
  s.reset();
  s.allowAll();
  s.masquerade(s.a, s.b);
});

/** Runs a frame for each connection, whose port is at an offset; the checksum is nothing that the programs look at. */
function runAll(
  program: 'from_container' | 'from_uplink',
  ifindex: number,
  frame: Uint8Array,
  at: number,
): number {
  const context = skBuff({ ifindex });
  const view = new DataView(frame.buffer, frame.byteOffset);
  return s.programs.inside(() => {
    let passed = 0;
    for (let index = 0; index < CONNECTIONS; index++) {
      view.setUint16(at, FIRST_PORT + index);
      const { returnValue } = s.programs.runUncounted(program, frame, context);
      if ((returnValue | 0) === ACTION.REDIRECT) passed += 1;
    }
    return passed;
  });
}

const counts = (): number[] => [s.programs.conntrack.entries().length, s.programs.nat.entries().length];

describe(`${CONNECTIONS} connections`, { timeout: 120_000 }, () => {
  const SOURCE_PORT = 14 + 20;

  it.each([
    [
      'out of a container, under the address of the node',
      () => outbound(s.a),
      'from_container',
      () => s.a.ifindex,
    ],
    ['from outside to a published port', inbound, 'from_uplink', () => s.outside],
  ] as const)(
    '%s, are there at once, whole, and gone when their time is up',
    (_name, open, program, ifindex) => {
      s.frontend({
        address: '0.0.0.0',
        port: PUBLISHED,
        protocol: PROTOCOL.TCP,
        backends: [{ address: addressOf(s.b, 4), port: 80 }],
      });
      expect(runAll(program, ifindex(), open().bytes(), SOURCE_PORT)).toBe(CONNECTIONS);
      expect(counts()).toEqual([CONNECTIONS, CONNECTIONS]);
      // Again: each belongs to the one that it opened.
      expect(runAll(program, ifindex(), open().bytes(), SOURCE_PORT)).toBe(CONNECTIONS);
      expect(counts()).toEqual([CONNECTIONS, CONNECTIONS]);
      const taken = s.programs.nat.entries().map(({ key }) => `${key.localPort} ${key.remotePort}`);
      expect(new Set(taken).size).toBe(CONNECTIONS);
      s.expireFlows();
      expect(s.programs.sweep()).toEqual({ scanned: CONNECTIONS, expired: CONNECTIONS, cut: 0 });
      expect(counts()).toEqual([0, 0]);
    },
  );
});

function outbound(from: TestEndpoint) {
  return outgoing(from, WORLD[4]).tcp({ destinationPort: 443, flags: TCP.SYN });
}

function inbound() {
  return packet()
    .ethernet(OUTSIDE_MACS)
    .ip({ source: WORLD[4], destination: NODE[4] })
    .tcp({ destinationPort: PUBLISHED, flags: TCP.SYN });
}
