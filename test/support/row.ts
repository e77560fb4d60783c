/** One line of a table of packets: what comes in, by which program, and what becomes of it. */
import { expect } from 'vitest';
import { Direction, DropReason, EventKind } from '../../src/datapath/abi/generated.js';
import type { Outcome } from './outcome.js';
import type { Packet } from './packet.js';
import { ACTION, reasonName, XDP_ACTION } from './programs.js';
import type { Scenario } from './scenario.js';
import type { TestEndpoint } from './scenario-parties.js';

export interface Row {
  /** `<family>-<mutation>-<VERDICT>`: the verdict is PASS, or the reason for the drop. */
  readonly name: string;
  readonly frame: (s: Scenario) => Packet | Uint8Array;
  /** What happened before. Everyone may talk to everyone already. */
  readonly before?: (s: Scenario) => void;
  /** Whose interface it is; a's if it is not said. A number stands for an interface that is nobody's. */
  readonly at?: (s: Scenario) => TestEndpoint | number;
  /** Given: the packet goes to the container, and came into the node by this interface (0: the node's own). */
  readonly from?: (s: Scenario) => number;
  /** Given: the packet comes in by the uplink, where this program looks at it. */
  readonly by?: 'from_uplink' | 'uplink_xdp';
  /** What a packet that passes is told to the hook. */
  readonly action?: keyof typeof ACTION;
  /** It is dropped, and its sender is told. */
  readonly answered?: boolean;
}

/** The last part of the name. */
export function expectedReason(row: Row): string {
  const word = row.name.slice(row.name.lastIndexOf('-') + 1);
  return word === 'PASS' ? 'NONE' : word;
}

/** Runs a row in a scenario that was just reset; asserts verdict, counters and event. */
export async function checkRow(s: Scenario, row: Row): Promise<Outcome> {
  s.allowAll();
  row.before?.(s);
  const at = row.at?.(s) ?? (row.by ? s.outside : s.a);
  const ifindex = typeof at === 'number' ? at : at.ifindex;
  const endpointId = typeof at === 'number' ? 0 : at.id;
  const frame = row.frame(s);
  const bytes = frame instanceof Uint8Array ? frame : frame.bytes();
  const program = row.by ?? (row.from ? 'to_container' : 'from_container');
  const ingressIfindex = row.from?.(s) ?? 0;
  const reason = expectedReason(row);

  const interfaceIndex = row.by ? s.outside : ifindex;
  const outcome = s.programs.run(program, bytes, { ifindex: interfaceIndex, ingressIfindex });

  const direction = program === 'from_container' ? Direction.EGRESS : Direction.INGRESS;
  const action =
    reason === 'NONE' ? (row.action ?? (row.from ? 'PASS' : 'REDIRECT')) : row.answered ? 'REDIRECT' : 'DROP';
  expect(outcome, row.name).toMatchObject({
    reason,
    verdict: (row.by === 'uplink_xdp' ? XDP_ACTION : ACTION)[action],
    endpointId,
    direction,
    packets: 1,
  });
  if (reason === 'NONE') return outcome;
  // What is dropped has not been changed first.
  if (!row.answered) expect(outcome.frame).toEqual(bytes);
  expect(outcome.bytes).toBe(bytes.length);
  const event = await s.programs.takeEvent();
  expect({ ...event, reason: reasonName(event.reason) }).toMatchObject({
    kind: EventKind.DROP,
    reason,
    direction,
    endpointId,
    ifindex: interfaceIndex,
    networkId: typeof at === 'number' ? 0 : at.networkId,
    length: bytes.length,
  });
  return outcome;
}

/** Reasons that rows provoke. */
export function provoked(rows: readonly Row[]): Set<string> {
  return new Set(rows.map(expectedReason));
}

export const ALL_REASONS = Object.keys(DropReason).filter((name) => name !== 'NONE' && name !== 'COUNT');
