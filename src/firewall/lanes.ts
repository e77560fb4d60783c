/** Rules are kept apart by what asks for them: a direction of a tier, for the enforced decision or the audited one. */
import { DIRECTIONS, type Direction, TIERS, type Tier } from './types.js';

export interface Lane {
  /** Position in LANES. */
  readonly index: number;
  readonly direction: Direction;
  readonly tier: Tier;
  readonly audit: boolean;
}

/** All of them; each exists once, so that they can be compared by identity. */
export const LANES: readonly Lane[] = TIERS.flatMap((tier) =>
  [false, true].flatMap((audit) => DIRECTIONS.map((direction) => ({ direction, tier, audit }))),
).map((lane, index) => ({ index, ...lane }));

export function laneIndex(direction: Direction, tier: Tier, audit: boolean): number {
  const set = 2 * TIERS.indexOf(tier) + Number(audit);
  return DIRECTIONS.length * set + DIRECTIONS.indexOf(direction);
}

export function laneOf(direction: Direction, tier: Tier, audit: boolean): Lane {
  const lane = LANES[laneIndex(direction, tier, audit)];
  if (lane === undefined) throw new RangeError(`there is no tier ${tier}`);
  return lane;
}
