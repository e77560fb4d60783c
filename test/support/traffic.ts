/** The C programs of traffic/: compiled when they are first wanted, one copy for each state of their sources. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SOURCES = join(import.meta.dirname, 'traffic');
const FLAGS = ['-O2', '-Wall', '-Wextra', '-Werror'];

export type Program = 'sockets' | 'groups' | 'frames' | 'hostile' | 'streams' | 'probes' | 'calls' | 'names';

/** Path of the executable. */
export function trafficProgram(program: Program): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(SOURCES).sort()) hash.update(readFileSync(join(SOURCES, name)));
  const folder = join(tmpdir(), `quantum-traffic-${hash.digest('hex').slice(0, 16)}`);
  const path = join(folder, program);
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true });
  const draft = `${path}.${process.pid}`;
  execFileSync('clang', [...FLAGS, '-o', draft, join(SOURCES, `${program}.c`)]);
  renameSync(draft, path);
  return path;
}
