/** Processes that serve while something is measured. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const SOURCES = fileURLToPath(new URL('.', import.meta.url));
const READY_MS = 60_000;
const STOP_MS = 20_000;

/** Builds scripts/bench/<name>.bpf.c; returns the path of the object. */
export function compileBpf(name, directory) {
  const path = join(directory, `${name}.bpf.o`);
  const include = `/usr/include/${execFileSync('gcc', ['-print-multiarch'], { encoding: 'utf8' }).trim()}`;
  execFileSync('clang', [
    ...['-std=gnu11', '-O2', '-g', '-target', 'bpf', '-mcpu=v3', '-Wall', '-Wextra', '-Werror'],
    ...['-isystem', include, '-c', join(SOURCES, `${name}.bpf.c`), '-o', path],
  ]);
  return path;
}

/** Builds scripts/bench/<name>.c; returns the path of the executable. */
export function compile(name, directory) {
  const path = join(directory, name);
  execFileSync('gcc', [
    '-O2',
    '-D_GNU_SOURCE',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-o',
    path,
    join(SOURCES, `${name}.c`),
  ]);
  return path;
}

/** Resolves at the first line of output that matches; what follows is read and dropped. */
export async function lineOf(child, pattern, timeoutMs = READY_MS) {
  const timeout = AbortSignal.timeout(timeoutMs);
  const ended = once(child, 'exit', { signal: timeout }).then(([code]) => {
    throw new Error(`${child.spawnargs.join(' ')} ended with code ${code}`);
  });
  const found = (async () => {
    for await (const text of createInterface({ input: child.stdout })) if (pattern.test(text)) return;
    await ended;
  })();
  try {
    await Promise.race([found, ended]);
  } finally {
    ended.catch(() => undefined);
    found.catch(() => undefined);
    child.stdout.resume();
  }
}

/** Ends a process of ours; by force when it does not listen. */
export async function end(child, signal = 'SIGTERM') {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  await exit;
  clearTimeout(timer);
}
