// Boots each kernel of vagrant/kernels.txt with an initramfs that holds the product, and collects the results
// that guest/main.mjs prints on the serial console.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildInitramfs } from './initramfs.mjs';
import { fetchKernel } from './kernel-package.mjs';
import { boot } from './qemu.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const cache = join(root, '.cache/kernels');

/** The lines of the list as { name, package, suite, cpu }. */
function readList() {
  const lines = readFileSync(join(root, 'vagrant/kernels.txt'), 'utf8').split('\n');
  return lines
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [name, packageName, suite, cpu] = line.split(/\s+/);
      return { name, packageName, suite, cpu };
    });
}

/** `RESULT <name>: ok|not ok|skipped <detail>` lines of a console, and whether the guest reached its end. */
function parseConsole(text) {
  const results = [...text.matchAll(/^RESULT (.+?): (ok|not ok|skipped)(?: (.*?))?\r?$/gm)].map(
    ([, name, outcome, detail]) => ({ name, outcome, detail: detail ?? '' }),
  );
  if (!/^DONE\r?$/m.test(text)) {
    results.push({ name: 'runs to its end', outcome: 'not ok', detail: 'crashed, hung or ran out of time' });
  }
  return results;
}

async function testKernel({ name, packageName, suite, cpu }) {
  const folder = join(cache, name);
  mkdirSync(folder, { recursive: true });
  const kernel = fetchKernel(packageName, suite, join(cache, 'packages'));
  console.log(`${name}: booting ${kernel.version} on ${cpu}`);
  const initramfs = buildInitramfs({ root, kernel, folder });
  const text = await boot({ kernel, initramfs, cpu });
  const log = join(folder, 'console.log');
  writeFileSync(log, text);
  const results = parseConsole(text);
  for (const result of results)
    console.log(`${name}: ${result.name}: ${result.outcome} ${result.detail}`.trimEnd());
  if (results.some((result) => result.outcome === 'not ok')) {
    console.log(text.split('\n').slice(-60).join('\n'));
    console.log(`${name}: the whole console is in ${log}`);
  }
  return results;
}

const wanted = process.argv.slice(2);
const kernels = readList().filter(({ name }) => wanted.length === 0 || wanted.includes(name));
const results = [];
for (const kernel of kernels) {
  try {
    results.push(...(await testKernel(kernel)));
  } catch (error) {
    console.error(`${kernel.name}: ${error.message}`);
    results.push({ outcome: 'not ok' });
  }
}
const count = (outcome) => results.filter((result) => result.outcome === outcome).length;
process.exitCode = count('not ok') === 0 && count('ok') > 0 ? 0 : 1;
console.log(`${count('ok')} passed, ${count('not ok')} failed, ${count('skipped')} skipped`);
