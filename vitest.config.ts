import { readdirSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { SummaryReporter } from './test/support/reporter.js';

/**
 * How many files of a level run at once: those of `unit` share nothing, and those of `e2e` have a node each, with
 * namespaces, directories and pins of its own, and wait for half of their time. The others share the kernel's clocks and
 * engines.
 */
const WORKERS: Record<string, number> = {
  unit: availableParallelism(),
  e2e: Math.min(availableParallelism() + 1, 4),
};

/** The levels of tests, folders of test/, in the order in which they run: what is cheap and basic first. */
const LEVELS = ['unit', 'native', 'kernel', 'netns', 'cni', 'e2e', 'runtime', 'chaos'];

const folders = readdirSync(join(import.meta.dirname, 'test'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && entry.name !== 'support')
  .map((entry) => entry.name);
const unknown = folders.filter((name) => !LEVELS.includes(name));
if (unknown.length > 0) throw new Error(`vitest.config.ts: no level for test/${unknown.join(', test/')}`);

export default defineConfig({
  // Tests run as root: nothing of theirs may stay in the clone of an ordinary user.
  cacheDir: join(tmpdir(), 'quantum-vitest'),
  test: {
    reporters: ['default', new SummaryReporter()],
    projects: LEVELS.filter((level) => folders.includes(level)).map((level, order) => ({
      extends: true as const,
      test: {
        name: level,
        include: [`test/${level}/**/*.test.ts`],
        // setns() concerns a thread and the addon a process: no worker threads.
        pool: 'forks' as const,
        maxWorkers: WORKERS[level] ?? 1,
        sequence: { groupOrder: order },
        testTimeout: 30_000,
        hookTimeout: 60_000,
        // What is waited for comes at once, unless others want the processors.
        expect: { poll: { timeout: 5_000 } },
        retry: 0,
      },
    })),
  },
});
