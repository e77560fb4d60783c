// Builds what has changed: BPF objects, the native addon and CNI plugin, the TypeScript sources.
//
//   npm run build [-- --quiet]    --quiet: only what is really built is shown

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const quiet = process.argv.includes('--quiet');
/** Holds the time of the newest source of the last successful compilation. */
const stamp = join(root, 'dist/.built');

for (const folder of ['bpf', 'native', 'native/cni']) run('make', ['-s', '-j4', '-C', join(root, folder)]);
compileTypescript();

function run(command, args) {
  if (!quiet) console.log(`build: ${command} ${args.join(' ')}`);
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (error !== undefined) console.error(`build: ${command}: ${error.message}`);
  if (status !== 0) process.exit(1);
}

/** make knows by itself what is old; the compiler takes a second to find out, which a start need not wait. */
function compileTypescript() {
  const sources = ['src', 'tsconfig.json', 'package-lock.json'].map((name) => newest(join(root, name)));
  const state = `${Math.max(...sources)}\n`;
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === state) return;
  run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', join(root, 'tsconfig.json')]);
  writeFileSync(stamp, state);
}

/** Time of the newest change at or below a path; a folder's own time shows what was removed from it. */
function newest(path) {
  const status = statSync(path);
  if (!status.isDirectory()) return status.mtimeMs;
  return Math.max(status.mtimeMs, ...readdirSync(path).map((name) => newest(join(path, name))));
}
