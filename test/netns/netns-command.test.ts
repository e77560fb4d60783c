import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { CommandError, Netns } from '../../src/netns/index.js';

const first = readlinkSync('/proc/thread-self/ns/net');
afterEach(() => expect(readlinkSync('/proc/thread-self/ns/net')).toBe(first));

const failure = (promise: Promise<unknown>): Promise<CommandError> =>
  promise.then(
    () => {
      throw new Error('it did not fail');
    },
    (error: unknown) => {
      if (error instanceof CommandError) return error;
      throw error;
    },
  );

describe('run', () => {
  it('returns to the first namespace whether the function returns, throws or gives a Promise', () => {
    using netns = Netns.create();
    expect(netns.run(() => readlinkSync('/proc/thread-self/ns/net'))).toBe(`net:[${netns.inode}]`);
    expect(() =>
      netns.run(() => {
        throw new Error('mine');
      }),
    ).toThrow('mine');
    expect(() => netns.run(() => Promise.resolve(1))).toThrow(TypeError);
  });
});

describe('exec', () => {
  it('runs the command inside, and gives its output', async () => {
    using netns = Netns.create();
    const { stdout, stderr } = await netns.exec('sh', [
      '-c',
      'readlink /proc/self/ns/net; echo complaint >&2',
    ]);
    expect(stdout).toBe(`net:[${netns.inode}]\n`);
    expect(stderr).toBe('complaint\n');
  });

  it('gives the command input, environment and directory', async () => {
    using netns = Netns.create();
    const script = 'cat; echo $COLOUR; pwd';
    const options = { input: 'in\n', env: { ...process.env, COLOUR: 'red' }, cwd: '/' };
    expect((await netns.exec('sh', ['-c', script], options)).stdout).toBe('in\nred\n/\n');
  });

  it('does not mind a command that leaves its input unread', async () => {
    using netns = Netns.create();
    await netns.exec('true', [], { input: 'x'.repeat(1 << 20) });
  });

  it('an exit code other than 0 is a CommandError with everything that was seen', async () => {
    using netns = Netns.create();
    const error = await failure(netns.exec('sh', ['-c', 'echo out; echo why >&2; exit 7']));
    expect(error).toMatchObject({ exitCode: 7, signal: null, stdout: 'out\n', stderr: 'why\n' });
    expect(error.command[0]).toBe('sh');
    expect(error.message).toMatch(new RegExp(`^run sh -c .* in netns ${netns.inode}: exit code 7: why$`));
  });

  it('a command that does not exist is a CommandError that says so', async () => {
    using netns = Netns.create();
    const error = await failure(netns.exec('no-such-command'));
    expect(error.message).toContain('ENOENT');
    expect(error.cause).toMatchObject({ code: 'ENOENT' });
  });

  it('kills what takes too long, is aborted or says too much', async () => {
    using netns = Netns.create();
    expect((await failure(netns.exec('sleep', ['60'], { timeoutMs: 50 }))).signal).toBe('SIGKILL');
    const aborted = await failure(netns.exec('sleep', ['60'], { signal: AbortSignal.abort() }));
    expect(aborted.cause).toMatchObject({ name: 'AbortError' });
    const verbose = await failure(netns.exec('cat', ['/dev/zero'], { maxOutput: 1000 }));
    expect(verbose.message).toContain('more than 1000 bytes of output');
  });

  it('many at once, in different namespaces, each land in their own', async () => {
    const all = Array.from({ length: 10 }, () => Netns.create());
    try {
      const seen = await Promise.all(all.map((netns) => netns.exec('readlink', ['/proc/self/ns/net'])));
      expect(seen.map(({ stdout }) => stdout.trim())).toEqual(all.map((netns) => `net:[${netns.inode}]`));
    } finally {
      for (const netns of all) netns.close();
    }
  });

  it('leaves no descriptor behind', async () => {
    using netns = Netns.create();
    await netns.exec('true');
    const before = readdirSync('/proc/self/fd').length;
    for (let i = 0; i < 20; i++) await netns.exec('true');
    expect(readdirSync('/proc/self/fd').length).toBe(before);
  });
});

describe('spawn', () => {
  it('gives a process that is inside for good, also after the namespace is closed here', async () => {
    const netns = Netns.create();
    const child = netns.spawn('cat', [], { stdio: ['pipe', 'ignore', 'ignore'] });
    netns.close();
    try {
      using again = Netns.ofProcess(child.pid ?? 0);
      expect(again.inode).toBe(netns.inode);
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  });
});
