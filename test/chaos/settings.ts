/** How much is tried, and which of it. A failure is repeated by setting the seed that its message names. */
const SEED_MAX = 2 ** 31;

/** QUANTUM_CHAOS_SEED, or another in each run. */
export const SEED = Number(process.env.QUANTUM_CHAOS_SEED ?? Math.floor(Math.random() * SEED_MAX));

const asked = process.env.QUANTUM_CHAOS_POINTS;

/** For tests that try as many points as they are told. */
export const LONG_MS = asked === undefined ? 600_000 : 4 * 3_600_000;

/** QUANTUM_CHAOS_POINTS instead of the usual number of points; `all` of them take an hour. */
export function pointsMax(usual: number): number {
  if (asked === undefined) return usual;
  return asked === 'all' ? Number.POSITIVE_INFINITY : Number(asked);
}

/** Rounds of containers that come and go: QUANTUM_CHAOS_ROUNDS, such as 500, or the usual number. */
export const ROUNDS = Number(process.env.QUANTUM_CHAOS_ROUNDS ?? 60);
/** For tests that make them. */
export const ROUNDS_MS = 60_000 + ROUNDS * 5_000;

console.log(`QUANTUM_CHAOS_SEED=${SEED}`);
