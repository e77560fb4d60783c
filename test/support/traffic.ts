/** The C programs of traffic/: compiled when they are first wanted, one copy for each state of their sources. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SOURCES = join(import.meta.dirname, 'traffic');
const FLAGS = ['-O2', '-Wall', '-Wextra', '-Werror'];

export type Program =
  | 'sockets'
  | 'groups'
  | 'frames'
  | 'hostile'
  | 'streams'
  | 'probes'
  | 'calls'
  | 'names'
  | 'hops'
  | 'lent'
  | 'without_tcx';

/** Path of the executable; a static one runs in any root directory. */
export function trafficProgram(program: Program, linked: 'dynamic' | 'static' = 'dynamic'): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(SOURCES).sort()) hash.update(readFileSync(join(SOURCES, name)));
  const folder = join(tmpdir(), `quantum-traffic-${hash.digest('hex').slice(0, 16)}`);
  const path = join(folder, linked === 'static' ? `${program}-static` : program);
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true });
  const draft = `${path}.${process.pid}`;
  const flags = linked === 'static' ? [...FLAGS, '-static'] : FLAGS;
  execFileSync('clang', [...flags, '-o', draft, join(SOURCES, `${program}.c`)]);
  renameSync(draft, path);
  return path;
}
