/** Who asks while the daemon starts waits for it, and is told at once when it cannot. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { Daemon } from '../support/daemon.js';
import { copyProgram } from '../support/program-copy.js';
import { errorOf } from '../support/rest.js';

const ROOT = join(import.meta.dirname, '../..');
const LISTENS_MS = 60_000;

/** A copy of the program whose start goes on only when somebody has opened `gate` for writing. */
function halting(folder: string): { program: string; gate: string } {
  const { program } = copyProgram(folder, ['node_modules']);
  // The plugin, which is installed when the API listens already.
  const build = join(folder, 'native/build');
  const gate = join(build, 'quantum-cni');
  mkdirSync(build, { recursive: true });
  for (const name of readdirSync(join(ROOT, 'native/build'))) {
    if (name !== 'quantum-cni') symlinkSync(join(ROOT, 'native/build', name), join(build, name));
  }
  execFileSync('mkfifo', [gate]);
  return { program, gate };
}

it('a start that fails refuses those who wait for it, and says why', { timeout: 120_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'quantum-waiting-'));
  await using daemon = new Daemon();
  try {
    const { program, gate } = halting(folder);
    writeFileSync(daemon.path('bin'), '');
    const ended = daemon.run({ program });
    const { rest } = daemon;
    await vi.waitFor(() => rest.expect('GET', '/healthz'), LISTENS_MS);
    const waiting = [
      rest.call('POST', '/networks', { name: 'blue', cidr: '10.60.1.0/24' }),
      rest.call('PUT', '/namespaces/team', { labels: {} }),
      rest.call('POST', '/firewall/deny-list', { cidrs: ['198.51.100.0/24'] }),
    ];
    // Those have come by now.
    await rest.expect('GET', '/healthz');
    await (await open(gate, 'w')).close();
    for (const answer of await Promise.all(waiting)) {
      expect(answer.status).toBe(503);
      expect(errorOf(answer)).toMatchObject({
        code: 'NOT_READY',
        message: expect.stringMatching(/has not started: the CNI plugin cannot be installed/),
      });
    }
    expect(await ended).toMatchObject({ code: 74, stderr: expect.stringContaining('STORE_ERROR') });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
