import { afterAll, beforeAll, beforeEach } from 'vitest';
import { type LoadOptions, Programs } from './programs.js';
import { Scenario } from './scenario.js';

/**
 * Gives the tests of a file one scenario, which each of them finds as after the start; `prepare` is what all of them
 * want of it beside that.
 */
export function useScenario(
  give: (scenario: Scenario) => void,
  prepare: (scenario: Scenario) => void = () => undefined,
  options: LoadOptions = {},
): void {
  let programs: Programs | undefined;
  let scenario: Scenario;
  beforeAll(async () => {
    programs = await Programs.load(options);
    scenario = new Scenario(programs);
    give(scenario);
  });
  afterAll(() => programs?.close());
  beforeEach(() => {
    scenario.reset();
    prepare(scenario);
  });
}
