/** Address translation: a scenario whose node translates, the aliases of its flows, and what it leaves as it is. */
import { expect } from 'vitest';
import type { NatAlias } from '../../src/datapath/abi/generated.js';
import type { Packet } from './packet.js';
import { ACTION, DEVICE_MAC, type LoadOptions } from './programs.js';
import type { Scenario } from './scenario.js';
import { useScenario } from './use-scenario.js';

/** Of a frame that comes in by the uplink. */
export const OUTSIDE_MACS = { source: '02:aa:00:00:00:01', destination: DEVICE_MAC };

/** As useScenario(); everyone may talk to everyone, and reaches the world under the node's address. */
export function useTranslation(
  give: (scenario: Scenario) => void,
  settings: LoadOptions['settings'] = {},
): void {
  const prepare = (s: Scenario) => {
    s.allowAll();
    s.masquerade(s.a, s.b, s.c);
  };
  useScenario(give, prepare, { settings: { events_burst: 1_000_000, ...settings } });
}

export function aliases(s: Scenario): NatAlias[] {
  return s.programs.nat.entries().map(({ value }) => value);
}

/** Records of the flows that are translated. */
export function translatedRecords(s: Scenario) {
  return s.programs.conntrack
    .entries()
    .map(({ value }) => value)
    .filter(({ natPort }) => natPort !== 0);
}

/** A packet that is the node's own: it passes as it is, and nobody counts it. */
export function expectUntouched(s: Scenario, frame: Packet): void {
  s.programs.forget();
  const left = s.programs.pass('from_uplink', frame, { ifindex: s.outside });
  expect(left).toEqual({ verdict: ACTION.PASS, frame: frame.bytes() });
  expect(s.programs.metrics()).toEqual([]);
}
