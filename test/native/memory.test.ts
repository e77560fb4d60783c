import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const ADDON = join(ROOT, 'native/build/quantum.node');
/** For what it asks of the kernel's own structs, libbpf reads the types of the whole kernel, for a moment. */
const OBJECT = join(ROOT, 'bpf/build/leave_container.bpf.o');
const THREADS = 4;

/** Bytes of anonymous memory that a process has more after it has loaded and closed programs, on several threads. */
function keptAfterLoads(first: string): number {
  const script = `
    const { readFileSync } = require('node:fs');
    const native = require(${JSON.stringify(ADDON)});
    native.setErrorFactory((failure) => Object.assign(new Error('x'), failure));
    const anonymous = () => Number(/^RssAnon:\\s+(\\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
    ${first}
    const load = async () => {
      const object = native.objectOpen(${JSON.stringify(OBJECT)});
      await native.objectLoad(object);
      native.closeHandle(object);
    };
    const before = anonymous();
    // The first block that is freed raises the thresholds of the C library, if they move.
    load()
      .then(() => Promise.all(Array.from({ length: ${THREADS} }, load)))
      .then(() => console.log(anonymous() - before));
  `;
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
  expect(stderr).toBe('');
  return Number(stdout);
}

test('what the loading of programs has used goes back to the system', () => {
  const kept = keptAfterLoads('native.returnFreedMemory();');
  expect(kept).toBeLessThan(keptAfterLoads('') / 4);
});
