import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ClosedError, createVethPair, KernelError, NETNS_DIRECTORY, Netns } from '../../src/netns/index.js';

const threadNetns = () => readlinkSync('/proc/thread-self/ns/net');
const first = threadNetns();
const randomName = () => `qt-${randomBytes(6).toString('hex')}`;

const names: string[] = [];
const newName = () => {
  const name = randomName();
  names.push(name);
  return name;
};
afterEach(() => {
  for (const name of names.splice(0)) if (existsSync(`${NETNS_DIRECTORY}/${name}`)) Netns.delete(name);
  expect(threadNetns()).toBe(first);
});

const failure = (fn: () => unknown): unknown => {
  try {
    fn();
  } catch (error) {
    return error;
  }
  throw new Error('it did not fail');
};

describe('named namespaces', () => {
  it('create() makes one that `ip netns` knows', () => {
    const name = newName();
    using netns = Netns.create({ name });
    expect(netns.path).toBe(`/run/netns/${name}`);
    const listed = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' });
    expect(listed).toContain(name);
    const inside = execFileSync('ip', ['netns', 'exec', name, 'readlink', '/proc/self/ns/net'], {
      encoding: 'utf8',
    });
    expect(inside.trim()).toBe(`net:[${netns.inode}]`);
    expect(Netns.names()).toContain(name);
  });

  it('named() opens what `ip netns add` made, and delete() removes it', () => {
    const name = newName();
    execFileSync('ip', ['netns', 'add', name]);
    using netns = Netns.named(name);
    expect(`net:[${netns.inode}]`).not.toBe(first);
    Netns.delete(name);
    expect(existsSync(`/run/netns/${name}`)).toBe(false);
    expect(Netns.names()).not.toContain(name);
  });

  it('outlive the handle that made them', () => {
    const name = newName();
    const made = Netns.create({ name });
    made.close();
    using again = Netns.named(name);
    expect(again.inode).toBe(made.inode);
  });

  it('are mounted where other mount namespaces see them', () => {
    const name = newName();
    using _ = Netns.create({ name });
    const line = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .find((mount) => mount.split(' ')[4] === NETNS_DIRECTORY);
    expect(line).toMatch(/ shared:\d+ /);
  });

  it('a name that is taken is EEXIST, and the first namespace keeps it', () => {
    const name = newName();
    using netns = Netns.create({ name });
    expect(failure(() => Netns.create({ name }))).toMatchObject({
      name: 'KernelError',
      code: 'EEXIST',
      message: `pin network namespace to /run/netns/${name}: File exists (EEXIST)`,
    });
    using same = Netns.named(name);
    expect(same.inode).toBe(netns.inode);
  });

  it('a name that is not there is ENOENT', () => {
    expect(failure(() => Netns.named(randomName()))).toMatchObject({ code: 'ENOENT' });
    expect(failure(() => Netns.delete(randomName()))).toMatchObject({ code: 'ENOENT' });
  });

  it.each(['', '.', '..', 'a/b', '../../etc/passwd', 'a\0b', 'x'.repeat(256)])(
    'refuses %j as a name',
    (name) => {
      expect(() => Netns.create({ name })).toThrow(RangeError);
      expect(() => Netns.named(name)).toThrow(RangeError);
      expect(() => Netns.delete(name)).toThrow(RangeError);
    },
  );
});

describe('opening', () => {
  it('current(), open() and ofProcess() give the namespace they name', () => {
    using current = Netns.current();
    using opened = Netns.open('/proc/self/ns/net');
    using own = Netns.ofProcess(process.pid);
    expect([current, opened, own].map((netns) => `net:[${netns.inode}]`)).toEqual([first, first, first]);
  });

  it('refuses what is no process and what is no network namespace', () => {
    for (const pid of [0, -1, 1.5, Number.NaN]) expect(() => Netns.ofProcess(pid)).toThrow(RangeError);
    expect(failure(() => Netns.ofProcess(2 ** 31 - 1))).toMatchObject({ code: 'ENOENT' });
    expect(failure(() => Netns.open('/proc/self/ns/mnt'))).toBeInstanceOf(KernelError);
  });
});

describe('closing', () => {
  it('can be repeated; use afterwards is ClosedError', async () => {
    const netns = Netns.create();
    expect(netns.link('lo')).toBeDefined();
    netns.close();
    netns.close();
    expect(netns.closed).toBe(true);
    expect(() => netns.link('lo')).toThrow(ClosedError);
    expect(() => netns.run(() => 1)).toThrow(ClosedError);
    expect(() => netns.spawn('true')).toThrow(ClosedError);
    expect(() => netns.configure('lo', { up: true })).toThrow(ClosedError);
    await expect(netns.exec('true')).rejects.toThrow(ClosedError);
  });

  it('happens at the end of a using block, also when that throws', () => {
    let leaked: Netns | undefined;
    expect(() => {
      using netns = Netns.create();
      leaked = netns;
      throw new Error('mine');
    }).toThrow('mine');
    expect(leaked?.closed).toBe(true);
  });

  it('100 rounds leave no descriptor, no name, no mount and no namespace', async () => {
    const descriptors = () => readdirSync('/proc/self/fd').length;
    using survivor = Netns.create();
    survivor.link('lo');
    const before = descriptors();
    for (let i = 0; i < 100; i++) {
      const name = newName();
      using netns = Netns.create({ name });
      netns.run(() => {});
      if (i % 10 === 0) {
        createVethPair({ netns: survivor, name: `v${i}` }, { netns, name: 'eth0' });
      }
      Netns.delete(name);
    }
    expect(descriptors()).toBe(before);
    const made = new Set(names);
    expect(Netns.names().filter((name) => made.has(name))).toEqual([]);
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
    expect([...made].filter((name) => mounts.includes(name))).toEqual([]);
    // A namespace that ends takes its interfaces along, and so the other ends of their pairs.
    await vi.waitFor(() => expect(survivor.rtnl.links().map((link) => link.name)).toEqual(['lo']), 20_000);
  });
});
