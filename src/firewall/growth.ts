/** What a change adds to the policy maps, beside what it replaces there. */
import { type Steps, stepping } from '../work/steps.js';
import type { InForce } from './in-force.js';
import { type Lane, laneOf } from './lanes.js';
import { type PeerKey, peerKey } from './peer-key.js';
import { portKey } from './ports.js';
import type { RuleTerms } from './subject.js';
import type { PolicyDelta, RuleKey } from './types.js';

/** How many there are of each. */
export interface Growth {
  readonly entries: number;
  readonly cidrs: number;
  readonly subjects: number;
}

/** `inForce`: what the change is made to. Nothing may change until it is told. */
export function* growth({ set, subjects, cidrs }: PolicyDelta, inForce: InForce): Steps<Growth> {
  let entries = 0;
  let cell: KnownCell | undefined;
  let cost = 0;
  yield* stepping(
    set,
    (entry) => {
      cost = 1;
      if (cell?.holds(entry) !== true) {
        cell = new KnownCell(entry, inForce);
        cost += cell.keys.size;
      }
      if (!cell.keys.has(portKey(entry))) entries += 1;
    },
    () => cost,
  );
  const coming = subjects.set.filter(({ identity }) => inForce.view(identity) === undefined);
  return { entries, cidrs: cidrs.set.length, subjects: coming.length };
}

/** A cell as it was: a delta tells what is new of one in a row. */
class KnownCell {
  readonly keys = new Set<number | string>();
  readonly #subject: number;
  readonly #lane: Lane;
  readonly #peer: PeerKey;

  constructor({ subject, direction, tier, audit, peer }: RuleKey, inForce: InForce) {
    this.#subject = subject;
    this.#lane = laneOf(direction, tier, audit);
    this.#peer = peerKey(peer);
    const rules: readonly RuleTerms[] = inForce.view(subject)?.cell(this.#lane, this.#peer) ?? [];
    for (const { ports } of rules) for (const match of ports) this.keys.add(portKey(match));
  }

  holds({ subject, direction, tier, audit, peer }: RuleKey): boolean {
    return (
      subject === this.#subject &&
      laneOf(direction, tier, audit) === this.#lane &&
      peerKey(peer) === this.#peer
    );
  }
}
