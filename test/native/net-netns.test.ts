import { mkdtempSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { ClosedError, KernelError } from '../../src/native/errors.js';
import { NetnsHandle, Rtnl, shareNetnsDirectory } from '../../src/native/net.js';

const threadNetns = () => readlinkSync('/proc/thread-self/ns/net');
const codeOf = (fn: () => unknown) => {
  try {
    fn();
  } catch (error) {
    return error instanceof KernelError ? error.code : error;
  }
  return 'no error';
};

const first = threadNetns();
const directories: string[] = [];
const temporaryDirectory = () => {
  const directory = mkdtempSync(join(tmpdir(), 'qt-netns-'));
  directories.push(directory);
  return directory;
};

afterEach(() => {
  expect(threadNetns()).toBe(first);
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

describe('opening a namespace', () => {
  it('current() is the namespace of the calling thread', () => {
    using netns = NetnsHandle.current();
    expect(`net:[${netns.inode}]`).toBe(first);
    expect(netns.device).toBe(statSync('/proc/self/ns/net').dev);
  });

  it('open() gives the namespace behind a path', () => {
    using netns = NetnsHandle.open('/proc/self/ns/net');
    expect(`net:[${netns.inode}]`).toBe(first);
  });

  it('createUnnamed() makes a new namespace without leaving the first one', () => {
    using netns = NetnsHandle.createUnnamed();
    expect(`net:[${netns.inode}]`).not.toBe(first);
    expect(threadNetns()).toBe(first);
  });

  it('cookie is the same for each handle of a namespace, and no other one has it', () => {
    using own = NetnsHandle.current();
    using again = NetnsHandle.open('/proc/self/ns/net');
    using other = NetnsHandle.createUnnamed();
    using another = NetnsHandle.createUnnamed();
    expect(again.cookie).toBe(own.cookie);
    expect(own.cookie).toBeGreaterThan(0n);
    expect(new Set([own.cookie, other.cookie, another.cookie]).size).toBe(3);
    other.close();
    expect(() => other.cookie).toThrow(ClosedError);
  });

  it.each([
    ['a path that does not exist', '/nonexistent/netns', 'ENOENT'],
    ['a process that does not exist', '/proc/2147483647/ns/net', 'ENOENT'],
    ['a regular file', '/etc/passwd', 'EINVAL'],
    ['a directory', '/tmp', 'EINVAL'],
    ['a device', '/dev/zero', 'EINVAL'],
    ['a mount namespace', '/proc/self/ns/mnt', 'EINVAL'],
    ['a user namespace', '/proc/self/ns/user', 'EINVAL'],
    ['a path longer than any', `/${'x'.repeat(5000)}`, 'ENAMETOOLONG'],
  ])('refuses %s with %s: %s', (_, path, code) => {
    expect(codeOf(() => NetnsHandle.open(path))).toBe(code);
  });

  it('an error says what was tried, on what, and the errno', () => {
    expect(() => NetnsHandle.open('/nonexistent/netns')).toThrow(
      'open network namespace /nonexistent/netns: No such file or directory (ENOENT)',
    );
  });

  it('refuses arguments of a wrong type and paths with NUL', () => {
    expect(() => NetnsHandle.open(5 as unknown as string)).toThrow(TypeError);
    expect(() => NetnsHandle.open('/proc/self/ns/net\0x')).toThrow(TypeError);
  });
});

describe('run', () => {
  it('runs the function inside and returns what it returns', () => {
    using netns = NetnsHandle.createUnnamed();
    expect(netns.run(threadNetns)).toBe(`net:[${netns.inode}]`);
    expect(threadNetns()).toBe(first);
  });

  it('returns to the first namespace when the function throws, and passes the very error on', () => {
    using netns = NetnsHandle.createUnnamed();
    const error = new Error('mine');
    let caught: unknown;
    try {
      netns.run(() => {
        throw error;
      });
    } catch (thrown) {
      caught = thrown;
    }
    expect(caught).toBe(error);
    expect(threadNetns()).toBe(first);
  });

  it('refuses a function that returns a Promise, after returning to the first namespace', async () => {
    using netns = NetnsHandle.createUnnamed();
    let after = '';
    expect(() =>
      netns.run(async () => {
        await null;
        after = threadNetns();
        throw new Error('nobody waits for this');
      }),
    ).toThrow(TypeError);
    expect(threadNetns()).toBe(first);
    await new Promise((resolve) => setImmediate(resolve));
    expect(after).toBe(first);
  });

  it('nests, and returns one step at a time', () => {
    using outer = NetnsHandle.createUnnamed();
    using inner = NetnsHandle.createUnnamed();
    outer.run(() => {
      inner.run(() => expect(threadNetns()).toBe(`net:[${inner.inode}]`));
      expect(threadNetns()).toBe(`net:[${outer.inode}]`);
    });
  });

  it('survives that the function closes the namespace', () => {
    using netns = NetnsHandle.createUnnamed();
    netns.run(() => netns.close());
    expect(threadNetns()).toBe(first);
  });

  it('refuses what is no function', () => {
    using netns = NetnsHandle.createUnnamed();
    expect(() => netns.run('x' as unknown as () => void)).toThrow(TypeError);
  });
});

describe('a closed namespace', () => {
  it('can be closed again and used no more', () => {
    const netns = NetnsHandle.createUnnamed();
    using second = NetnsHandle.current();
    expect(netns.closed).toBe(false);
    netns.close();
    netns.close();
    expect(netns.closed).toBe(true);
    expect(() => netns.fd).toThrow(ClosedError);
    expect(() => netns.run(() => 1)).toThrow(ClosedError);
    expect(() => netns.pinTo('/tmp/x')).toThrow(ClosedError);
    expect(() => Rtnl.open(netns)).toThrow(ClosedError);
    using rtnl = Rtnl.open(second);
    expect(() => rtnl.setLink('lo', { netns })).toThrow(ClosedError);
    expect(netns.inode).toBeGreaterThan(0);
  });
});

describe('pinning', () => {
  it('keeps the namespace alive and findable after its handle is closed', () => {
    const directory = temporaryDirectory();
    const path = join(directory, 'ns');
    const netns = NetnsHandle.createUnnamed();
    netns.pinTo(path);
    netns.close();
    try {
      using again = NetnsHandle.open(path);
      expect(again.inode).toBe(netns.inode);
    } finally {
      NetnsHandle.unpin(path);
    }
    expect(codeOf(() => statSync(path))).toMatchObject({ code: 'ENOENT' });
  });

  it('never mounts over a file that is there', () => {
    const path = join(temporaryDirectory(), 'ns');
    writeFileSync(path, 'precious');
    using netns = NetnsHandle.createUnnamed();
    expect(codeOf(() => netns.pinTo(path))).toBe('EEXIST');
  });

  it('unpin() deletes namespaces and empty leftovers, and nothing else', () => {
    const directory = temporaryDirectory();
    const path = join(directory, 'file');
    expect(codeOf(() => NetnsHandle.unpin(path))).toBe('ENOENT');
    writeFileSync(path, 'precious');
    expect(codeOf(() => NetnsHandle.unpin(path))).toBe('EINVAL');
    expect(statSync(path).size).toBe(8);
    expect(codeOf(() => NetnsHandle.unpin(directory))).toBe('EINVAL');
    expect(codeOf(() => NetnsHandle.unpin('/proc/self/ns/mnt'))).toBe('EINVAL');
    writeFileSync(path, '');
    NetnsHandle.unpin(path);
    expect(codeOf(() => statSync(path))).toMatchObject({ code: 'ENOENT' });
  });

  it('shareNetnsDirectory() refuses what is no directory and leaves it alone', () => {
    const path = join(temporaryDirectory(), 'file');
    writeFileSync(path, 'precious');
    expect(codeOf(() => shareNetnsDirectory(path))).toBe('ENOTDIR');
    expect(statSync(path).size).toBe(8);
  });
});
