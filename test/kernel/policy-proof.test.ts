/**
 * Oracle, compiler and programs must agree on every packet of random policies. `npm run test:deep` runs the same with
 * more of them; both tell the seed and the counterexample, and QUANTUM_TEST_SEED repeats a run.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Explainer } from '../support/explainer.js';
import { populated } from '../support/policy-arbitraries.js';
import { checkCompiled, compileWorld, Tally } from '../support/policy-compiled.js';
import { drawFlows } from '../support/policy-flows.js';
import { PolicyKernel } from '../support/policy-kernel.js';
import { ENDPOINT_IDS } from '../support/policy-vocabulary.js';
import { Programs } from '../support/programs.js';
import { Scenario } from '../support/scenario.js';

const SETS = numberOf('QUANTUM_TEST_SETS', 150);
const PACKETS = numberOf('QUANTUM_TEST_PACKETS', 60);
const SEED = numberOf('QUANTUM_TEST_SEED', (Date.now() ^ (process.pid << 16)) | 0);
/** Longer than a set of policies may ever take, on a machine that does something else too. */
const MS_PER_SET = 5000;

function numberOf(variable: string, otherwise: number): number {
  const text = process.env[variable] ?? '';
  const number = text === '' ? otherwise : Number(text);
  if (!Number.isSafeInteger(number)) throw new RangeError(`${variable}=${text} is no number`);
  return number;
}

let programs: Programs;
let explainer: Explainer;
let kernel: PolicyKernel;
beforeAll(async () => {
  programs = await Programs.load({
    devices: ENDPOINT_IDS.length,
    settings: { flows_per_endpoint: 0, events_burst: 0 },
  });
  explainer = await Explainer.load(programs);
  kernel = new PolicyKernel(new Scenario(programs), explainer);
});
afterAll(() => {
  kernel?.[Symbol.dispose]();
  explainer?.close();
  programs?.close();
});

it(
  'the oracle, the compiled policy and the programs agree on verdict, audit and deciding rule of every packet',
  async () => {
    const tally = new Tally();
    console.log(`seed ${SEED}: ${SETS} sets of policies, ${PACKETS} packets each`);
    await fc.assert(
      fc.asyncProperty(populated, fc.noShrink(fc.integer()), async (world, seed) => {
        const flows = drawFlows(world, seed, PACKETS);
        const compiled = compileWorld(world);
        checkCompiled(world, compiled, flows, tally);
        if (!kernel.hasRoom(flows.length)) await kernel.forgetFlows();
        await kernel.fill(world, compiled);
        programs.inside(() => {
          for (const flow of flows) kernel.check(world, flow);
        });
      }),
      { numRuns: SETS, seed: SEED },
    );
    // What never happens is not proved. Seeds differ much in how often they bring a kind about.
    for (const what of [
      'allow',
      'deny',
      'allow by policy',
      'allow by cluster',
      'deny by cluster',
      'deny by nobody',
    ]) {
      expect([what, tally.share(`enforced ${what}`, 'enforced') > 0]).toEqual([what, true]);
    }
    console.log(
      [...tally.counts]
        .sort()
        .map(([what, count]) => `${count} ${what}`)
        .join(', '),
    );
  },
  SETS * MS_PER_SET,
);
