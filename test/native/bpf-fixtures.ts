/** What the tests of the bridge's BPF half share: compiled fixtures, pin directories, byte layouts. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmdirSync, rmSync, statSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BpfObject, mountBpffs } from '../../src/native/bpf.js';

const FIXTURES = join(import.meta.dirname, 'fixtures');
const built = mkdtempSync(join(tmpdir(), 'qn-test-'));
process.on('exit', () => rmSync(built, { recursive: true, force: true }));

/** Compiles fixtures/<name>.bpf.c, once per test file. */
export function compiled(name: string): string {
  const output = join(built, `${name}.bpf.o`);
  if (existsSync(output)) return output;
  const triplet = execFileSync('gcc', ['-print-multiarch'], { encoding: 'utf8' }).trim();
  execFileSync('clang', [
    ...[
      '-O2',
      '-g',
      '-mcpu=v3',
      '-Wall',
      '-Werror',
      '-target',
      'bpf',
      '-idirafter',
      `/usr/include/${triplet}`,
    ],
    ...['-c', join(FIXTURES, `${name}.bpf.c`), '-o', output],
  ]);
  return output;
}

export const sample = (): BpfObject => BpfObject.open(compiled('sample'));

export async function loadedSample(options: { pinRoot?: string; verdict?: number } = {}): Promise<BpfObject> {
  const object = sample();
  if (options.verdict !== undefined) object.setVariable('verdict', u32(options.verdict));
  await object.load(options.pinRoot === undefined ? {} : { pinRoot: options.pinRoot });
  return object;
}

/** A path of its own on a bpffs, not made yet; removed with all pins in it on dispose. */
export function pinDirectory(): Disposable & { readonly path: string } {
  mountBpffs('/sys/fs/bpf');
  const path = `/sys/fs/bpf/qn-test-${randomBytes(6).toString('hex')}`;
  return { path, [Symbol.dispose]: () => removePins(path) };
}

function removePins(path: string): void {
  if (!existsSync(path)) return;
  for (const name of readdirSync(path)) {
    const child = join(path, name);
    if (statSync(child).isDirectory()) removePins(child);
    else unlinkSync(child);
  }
  rmdirSync(path);
}

/** Host order, as BPF programs see it. */
export const u32 = (...numbers: number[]): Uint8Array => new Uint8Array(new Uint32Array(numbers).buffer);
export const u64 = (...numbers: bigint[]): Uint8Array => new Uint8Array(new BigUint64Array(numbers).buffer);
export const readU32 = (bytes: Uint8Array | undefined, index = 0): number | undefined =>
  bytes && new DataView(bytes.buffer, bytes.byteOffset).getUint32(4 * index, true);

/** A packet that passes a test run of a tc or XDP program: an Ethernet header and some more. */
export const packet = (size = 64): Uint8Array => new Uint8Array(size).fill(0xab);

/** The error that a function throws. */
export function thrown(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}
