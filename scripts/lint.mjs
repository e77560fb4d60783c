// npm run lint: formatting, lint, types and generated files. Changes nothing. Shows every failure, not the first.

import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const tool = (...path) => join(root, 'node_modules', ...path);
const tsc = [process.execPath, tool('typescript/bin/tsc'), '--noEmit', '-p'];

const checks = {
  biome: [process.execPath, tool('@biomejs/biome/bin/biome'), 'check', '--error-on-warnings'],
  'clang-format': [
    'clang-format',
    '--dry-run',
    '--Werror',
    ...cFiles('bpf'),
    ...cFiles('native'),
    ...cFiles('test'),
  ],
  'types of src': [...tsc, 'tsconfig.json'],
  'types of test': [...tsc, 'test/tsconfig.json'],
  'generated files': [process.execPath, 'scripts/gen.mjs', '--check'],
};

const failed = Object.entries(checks).filter(([name, [command, ...args]]) => {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (error !== undefined) console.error(`lint: ${command}: ${error.message}`);
  console.log(`lint: ${name}: ${status === 0 ? 'ok' : 'FAILED'}`);
  return status !== 0;
});
process.exitCode = failed.length === 0 ? 0 : 1;

/** C and C++ sources below a folder, without what was built. */
function cFiles(folder) {
  return readdirSync(join(root, folder), { recursive: true })
    .filter((path) => /\.(c|cc|h)$/.test(path) && !/(^|\/)build/.test(path))
    .map((path) => join(folder, path));
}
