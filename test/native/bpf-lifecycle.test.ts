import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { BpfMap, BpfObject, isBpffs, monotonicNs, mountBpffs, possibleCpus } from '../../src/native/bpf.js';
import { compiled, loadedSample, pinDirectory, sample, thrown, u32 } from './bpf-fixtures.js';

const ADDON = join(import.meta.dirname, '../../native/build/quantum.node');
const SCRIPT = join(import.meta.dirname, 'fixtures/open-handles.cjs');

function endWithOpenHandles(
  how: string,
  ...more: string[]
): { status: number | null; stdout: string; stderr: string } {
  const child = spawnSync(process.execPath, [SCRIPT, how, ADDON, compiled('sample'), ...more], {
    ...{ encoding: 'utf8', timeout: 25_000, killSignal: 'SIGKILL' },
  });
  return { status: child.status, stdout: child.stdout, stderr: child.stderr };
}

/** Descriptors of this process that refer to BPF objects. */
function bpfDescriptors(): string[] {
  const found: string[] = [];
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`).includes('bpf')) found.push(fd);
    } catch {
      // The descriptor of the directory that is being read.
    }
  }
  return found;
}

test('a process with open handles ends when it has nothing more to do', () => {
  expect(endWithOpenHandles('end')).toEqual({ status: 0, stdout: 'open\n', stderr: '' });
});

test('a process with open handles may call process.exit', () => {
  expect(endWithOpenHandles('exit')).toEqual({ status: 0, stdout: 'open\n', stderr: '' });
});

test('an uncaught exception ends a process with open handles as any other', () => {
  const { status, stdout, stderr } = endWithOpenHandles('throw');
  expect({ status, stdout }).toEqual({ status: 1, stdout: 'open\n' });
  expect(stderr).toContain('on purpose');
});

test.each(['end', 'exit', 'throw', 'wait'])('a worker thread closes everything when it ends: %s', (how) => {
  expect(endWithOpenHandles(how, '--worker')).toEqual({ status: 0, stdout: 'descriptors 0\n', stderr: '' });
});

test('libbpf prints nothing', () => {
  const script = `
    const native = require(${JSON.stringify(ADDON)});
    native.setErrorFactory((failure) => Object.assign(new Error('x'), failure));
    try { native.objectOpen('/dev/null') } catch {}
    const object = native.objectOpen(${JSON.stringify(compiled('refused'))});
    native.objectLoad(object).catch((error) => console.log(error.kind, error.program));
  `;
  const child = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
  expect(child.stderr).toBe('');
  expect(child.stdout).toBe('verifier reads_beyond\n');
});

test('descriptors are closed on exec, and gone after close', async () => {
  const before = bpfDescriptors().length;
  const object = await loadedSample();
  const handles = [object.program('first'), object.map('pinned'), object];
  const opened = bpfDescriptors();
  expect(opened.length).toBeGreaterThan(before);
  for (const fd of opened) {
    const flags = /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0';
    expect(Number.parseInt(flags, 8) & 0o2000000).not.toBe(0);
  }
  for (const handle of handles) handle.close();
  expect(bpfDescriptors().length).toBe(before);
});

test('a failed load leaves no descriptors', async () => {
  const before = bpfDescriptors().length;
  const object = BpfObject.open(compiled('refused'));
  await expect(object.load()).rejects.toThrow();
  object.close();
  expect(bpfDescriptors().length).toBe(before);
});

test('a handle of one kind is not taken for another, nor anything else for a handle', async () => {
  using object = await loadedSample();
  using program = object.program('first');
  const get = BpfMap.prototype.get;
  expect(() => get.call(program as unknown as BpfMap, u32(1))).toThrow('argument is not a map');
  expect(() => get.call({ handle: {} } as unknown as BpfMap, u32(1))).toThrow(TypeError);
  expect(() => get.call({ handle: undefined } as unknown as BpfMap, u32(1))).toThrow(TypeError);
});

test('names with a NUL are refused rather than cut off', () => {
  using object = sample();
  expect(() => object.setVariable('verdict\0x', u32(1))).toThrow(TypeError);
  expect(() => BpfObject.open(`${compiled('sample')}\0`)).toThrow(TypeError);
});

test('a bpffs is recognised; mounting is repeatable and makes the directory', () => {
  using pins = pinDirectory();
  expect(isBpffs('/')).toBe(false);
  expect(isBpffs('/nonexistent')).toBe(false);
  expect(isBpffs(pins.path)).toBe(false);
  mountBpffs(`${pins.path}/deep`);
  mountBpffs(`${pins.path}/deep`);
  expect(isBpffs(`${pins.path}/deep`)).toBe(true);
  const mounts = readFileSync('/proc/self/mounts', 'utf8').match(/ \/sys\/fs\/bpf bpf /g);
  expect(mounts?.length).toBe(1);
});

test('a directory that cannot be made is a KernelError', () => {
  expect(thrown(() => mountBpffs('/proc/nothing/here'))).toMatchObject({
    ...{ name: 'KernelError', operation: 'make directory' },
  });
});

test('the number of possible CPUs and the monotonic clock', () => {
  const [, last] = /(\d+)\n$/.exec(readFileSync('/sys/devices/system/cpu/possible', 'utf8')) ?? [];
  expect(possibleCpus()).toBe(Number(last) + 1);
  const before = process.hrtime.bigint();
  const now = monotonicNs();
  expect(now).toBeGreaterThanOrEqual(before);
  expect(now).toBeLessThanOrEqual(process.hrtime.bigint());
});
