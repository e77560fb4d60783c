/** Who gets what is theirs, where the tables of the kernel have no room for everybody. Pure. */
import type { PolicyContents } from '../../datapath/policy-table.js';
import type { CompiledPolicy } from '../../firewall/types.js';
import { POLICY_SIZES, type PolicyRoom, type PolicySize } from '../../model/cut-off.js';
import { type Steps, stepping } from '../../work/steps.js';

export interface Fitting {
  /** Who gets theirs: those who need least first. */
  readonly fit: readonly number[];
  /** Nobody of these would fit beside those, each with the tables that are too small. */
  readonly misfits: ReadonlyMap<number, readonly PolicySize[]>;
}

/** The same for the same needs and room, in whatever order they are told. Who needs nothing that is missing, fits. */
export function* fitting(needs: ReadonlyMap<number, PolicyRoom>, room: PolicyRoom): Steps<Fitting> {
  const fit: number[] = [];
  const others: number[] = [];
  const candidates: [number, PolicyRoom][] = [];
  // Most removals make room for nobody: then nothing is put in order.
  yield* stepping(needs, ([identity, need]) => {
    if (lacking(need, room).length > 0) others.push(identity);
    else candidates.push([identity, need]);
  });
  candidates.sort(([id, need], [otherId, other]) => totalOf(need) - totalOf(other) || id - otherId);
  let left = room;
  yield* stepping(candidates, ([identity, need]) => {
    if (lacking(need, left).length > 0) others.push(identity);
    else {
      fit.push(identity);
      left = minus(left, need);
    }
  });
  const misfits = new Map<number, readonly PolicySize[]>();
  yield* stepping(others, (identity) => misfits.set(identity, lacking(needs.get(identity) ?? NONE, left)));
  return { fit, misfits };
}

/** What the rules of one subject take. */
export function needOf({ entries, cidrs, subjects }: CompiledPolicy): PolicyRoom {
  return {
    policy_max: entries.length,
    policy_cidrs_max: cidrs.length,
    subjects_max: subjects.length,
  };
}

/** The same of each of several. */
export function* needsOf({ entries, cidrs, subjects }: PolicyContents): Steps<Map<number, PolicyRoom>> {
  const needs = new Map<number, Record<PolicySize, number>>();
  const count = (identity: number, size: PolicySize) => {
    const need = needs.get(identity) ?? { ...NONE };
    need[size] += 1;
    needs.set(identity, need);
  };
  yield* stepping(entries, ({ key }) => count(key.subject, 'policy_max'));
  yield* stepping(cidrs, ({ subject }) => count(subject, 'policy_cidrs_max'));
  yield* stepping(subjects, ({ identity }) => count(identity, 'subjects_max'));
  return needs;
}

export function plus(left: PolicyRoom, right: PolicyRoom): PolicyRoom {
  return each((size) => left[size] + right[size]);
}

export function minus(left: PolicyRoom, right: PolicyRoom): PolicyRoom {
  return each((size) => left[size] - right[size]);
}

const NONE: PolicyRoom = each(() => 0);

function each(amount: (size: PolicySize) => number): PolicyRoom {
  return {
    policy_max: amount('policy_max'),
    policy_cidrs_max: amount('policy_cidrs_max'),
    subjects_max: amount('subjects_max'),
  };
}

function lacking(need: PolicyRoom, room: PolicyRoom): PolicySize[] {
  return POLICY_SIZES.filter((size) => need[size] > room[size]);
}

function totalOf({ policy_max, policy_cidrs_max, subjects_max }: PolicyRoom): number {
  return policy_max + policy_cidrs_max + subjects_max;
}
