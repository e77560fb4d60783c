import { writeSync } from 'node:fs';
import type { Reporter, TestCase, TestModule } from 'vitest/node';

/** More than this many skipped tests are counted, not named: somebody has selected a few by name. */
const NAMED_SKIPS = 30;

/**
 * Ends the output with `N passed, N failed, N skipped`, and names what was skipped.
 *
 * A file that cannot be loaded, a failed hook and an error outside of any test count as failed. Nothing having
 * run is a failure. The line is written when the process exits, so that nothing comes after it, and also when
 * the run itself broke down.
 */
export class SummaryReporter implements Reporter {
  #passed = 0;
  #failed = 0;
  #skipped: string[] = [];
  #ended = false;

  onInit(): void {
    process.on('exit', (code) => {
      if (!this.#ended) this.#failed += 1;
      const { passed, failed } = { passed: this.#passed, failed: this.#failed };
      if (code === 0 && (failed > 0 || passed === 0)) process.exitCode = 1;
      writeSync(1, `${passed} passed, ${failed} failed, ${this.#skipped.length} skipped\n`);
    });
  }

  onTestCaseResult(test: TestCase): void {
    const { state } = test.result();
    if (state === 'passed') this.#passed += 1;
    if (state === 'failed') this.#failed += 1;
    if (state === 'skipped') this.#skipped.push(`${test.module.relativeModuleId} > ${test.fullName}`);
  }

  onTestModuleEnd(module: TestModule): void {
    const suites = [...module.children.allSuites()];
    this.#failed += [module, ...suites].filter((suite) => suite.errors().length > 0).length;
  }

  onTestRunEnd(_modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    this.#ended = true;
    this.#failed += unhandledErrors.length;
    const hidden = this.#skipped.length - NAMED_SKIPS;
    for (const name of this.#skipped.slice(0, NAMED_SKIPS)) console.log(`skipped: ${name}`);
    if (hidden > 0) console.log(`skipped: and ${hidden} more`);
  }
}
