// Writes what is derived from the C headers: src/datapath/abi/generated.ts and docs/drop-reasons.md.
//
//   npm run gen              write the files
//   npm run gen -- --check   write nothing; exit 1 when a file is not what the headers say
//
// Way of the facts: bpf/abi/*.h, bpf/maps/*.h, bpf/lib/config.h -> BTF of bpf/build/abi.bpf.o -> abi (a plain
// description, gen/abi.mjs) -> text (gen/typescript.mjs, gen/markdown.mjs).

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describeAbi } from './gen/abi.mjs';
import { readBtf } from './gen/btf.mjs';
import { readElf } from './gen/elf.mjs';
import { renderDropReasons } from './gen/markdown.mjs';
import { renderTypescript } from './gen/typescript.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const object = join(root, 'bpf/build/abi.bpf.o');

function main(options) {
  const unknown = options.filter((option) => option !== '--check');
  if (unknown.length > 0) throw new Error(`unknown option ${unknown.join(' ')}`);

  execFileSync('make', ['-s', '-C', join(root, 'bpf'), 'build/abi.bpf.o'], { stdio: 'inherit' });
  const abi = describeAbi(readBtf(object), readElf(object));
  const files = {
    'src/datapath/abi/generated.ts': renderTypescript(abi),
    'docs/drop-reasons.md': renderDropReasons(abi),
  };

  const stale = Object.entries(files).filter(([path, text]) => current(path) !== text);
  if (!options.includes('--check')) {
    for (const [path, text] of stale) {
      writeFileSync(join(root, path), text);
      console.log(`wrote ${path}`);
    }
    return 0;
  }
  for (const [path] of stale)
    console.error(`${path} is not what the headers of bpf/ say: run \`npm run gen\``);
  return stale.length === 0 ? 0 : 1;
}

function current(path) {
  const file = join(root, path);
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

try {
  process.exitCode = main(process.argv.slice(2));
} catch (error) {
  console.error(`gen: ${error.message}`);
  process.exitCode = 1;
}
