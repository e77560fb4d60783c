/** The plugin executable while the daemon is away, starts, or hangs; and what it costs. */
import { execFileSync, spawn } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { answerOf, buildPlugin, callEnv, Daemon, PLUGIN, runPlugin } from './plugin.js';
import { leaveSocket, RawDaemon } from './raw-daemon.js';

beforeAll(buildPlugin);

const spoolOf = (daemon: Daemon) => join(daemon.directory, 'run', 'cni-deferred');

describe('§2 without a daemon', () => {
  it.each([
    ['ADD', 11],
    ['CHECK', 11],
    ['GC', 11],
    ['STATUS', 50],
  ])('%s fails at once with code %i and says what to do', async (command, code) => {
    await using daemon = await Daemon.prepare();
    const outcome = await daemon.call(command);
    expect(outcome.code).toBe(1);
    expect(answerOf(outcome)).toMatchObject({ code, msg: expect.stringContaining(daemon.socket) });
    expect(outcome.stdout).toContain('systemctl start quantum-api');
    expect(outcome.ms).toBeLessThan(1000);
  });

  it('a socket that nobody listens at is the same as none', async () => {
    await using daemon = await Daemon.prepare();
    await mkdir(join(daemon.directory, 'run'));
    leaveSocket(daemon.socket);
    expect(answerOf(await daemon.call('ADD'))).toMatchObject({ code: 11 });
  });

  it('the socket of QUANTUM_CNI_SOCKET is used, and that of the configuration before it', async () => {
    await using daemon = await Daemon.start();
    const { socket, ...config } = daemon.config();
    const env = { ...callEnv('ADD'), QUANTUM_CNI_SOCKET: String(socket) };
    expect(await runPlugin({ env, stdin: config })).toMatchObject({ code: 0 });
    const elsewhere = { ...env, CNI_CONTAINERID: 'c2', QUANTUM_CNI_SOCKET: '/nonexistent/cni.sock' };
    expect(answerOf(await runPlugin({ env: elsewhere, stdin: config }))).toMatchObject({ code: 11 });
    expect(await runPlugin({ env: elsewhere, stdin: daemon.config() })).toMatchObject({ code: 0 });
  });
});

describe('§2 DEL without a daemon', () => {
  it('succeeds, and is carried out before anything else when the daemon is back', async () => {
    await using daemon = await Daemon.start();
    await daemon.call('ADD');
    await daemon.call('ADD', {}, { CNI_CONTAINERID: 'c2' });
    await daemon.stop();
    for (let round = 0; round < 3; round++) {
      expect(await daemon.call('DEL')).toMatchObject({ code: 0, stdout: '', stderr: '' });
    }
    expect(await readdir(spoolOf(daemon))).toEqual(['c1@eth0@web.json']);
    expect(daemon.ports.attached.size).toBe(2);
    await daemon.start();
    expect([...daemon.ports.attached.keys()]).toEqual(['web/c2/eth0']);
    expect(await readdir(spoolOf(daemon))).toEqual([]);
  });

  it('succeeds on a machine where the daemon never ran: the directories are made, closed to others', async () => {
    await using daemon = await Daemon.prepare();
    expect(await daemon.call('DEL')).toMatchObject({ code: 0 });
    for (const path of [join(daemon.directory, 'run'), spoolOf(daemon)]) {
      expect((await stat(path)).mode & 0o777).toBe(0o700);
    }
    const file = join(spoolOf(daemon), 'c1@eth0@web.json');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const { stdin } = JSON.parse(await readFile(file, 'utf8')) as { stdin: string };
    expect(JSON.parse(stdin)).toEqual({ cniVersion: '1.1.0', name: 'web', type: 'quantum-cni' });
  });

  it('is checked as the daemon would', async () => {
    await using daemon = await Daemon.prepare();
    const codeOf = async (fields: object, env: Record<string, string>) =>
      answerOf(await daemon.call('DEL', fields, env)).code;
    expect(await codeOf({ cniVersion: '0.2.0' }, {})).toBe(1);
    expect(await codeOf({ name: '../x' }, {})).toBe(7);
    expect(await codeOf({}, { CNI_CONTAINERID: '../x' })).toBe(4);
    expect(await codeOf({}, { CNI_CONTAINERID: '' })).toBe(4);
    expect(await codeOf({}, { CNI_IFNAME: 'a/b' })).toBe(4);
    expect(await daemon.call('DEL', {}, { CNI_CONTAINERID: 'c'.repeat(5000) })).toMatchObject({ code: 0 });
    await expect(readdir(spoolOf(daemon))).rejects.toThrow('ENOENT');
  });

  it('is refused (11) when it cannot be kept: too many wait', async () => {
    await using daemon = await Daemon.prepare();
    expect(await daemon.call('DEL')).toMatchObject({ code: 0 });
    for (let index = 1; index < 4096; index++) {
      await writeFile(join(spoolOf(daemon), `x${index}@eth0@web.json`), '');
    }
    const more = await daemon.call('DEL', {}, { CNI_CONTAINERID: 'c2' });
    expect(answerOf(more)).toMatchObject({ code: 11, details: expect.stringContaining('4096') });
    expect(await daemon.call('DEL')).toMatchObject({ code: 0 });
  });

  it.each([
    ['the directory is open to others', (path: string) => mkdir(path).then(() => chmod(path, 0o777))],
    ['the directory is a link', (path: string) => symlink('/tmp', path)],
    ['the directory is a file', (path: string) => writeFile(path, '')],
  ])('is refused (11) when it cannot be kept: %s', async (_what, prepare) => {
    await using daemon = await Daemon.prepare();
    await mkdir(join(daemon.directory, 'run'), { mode: 0o700 });
    await prepare(spoolOf(daemon));
    expect(answerOf(await daemon.call('DEL'))).toMatchObject({ code: 11 });
  });

  it('what stands in a directory that is open to others is not carried out', async () => {
    await using daemon = await Daemon.start();
    await daemon.call('ADD');
    await daemon.stop();
    await daemon.call('DEL');
    await chmod(spoolOf(daemon), 0o777);
    await daemon.start();
    expect(daemon.ports.attached.size).toBe(1);
  });

  it('what is no call is removed, and nothing else is done with it', async () => {
    await using daemon = await Daemon.start();
    await daemon.call('ADD');
    await daemon.stop();
    const put = (name: string, text: string) => writeFile(join(spoolOf(daemon), name), text);
    const call = (env: object, stdin: object) => JSON.stringify({ env, stdin: JSON.stringify(stdin) });
    const config = { cniVersion: '1.0.0', name: 'web', type: 'quantum-cni' };
    await put('a@eth0@web.json', 'rubbish');
    await put('b@eth0@web.json', call(callEnv('DEL'), config));
    await put('c1@eth0@web.json', call(callEnv('ADD'), config));
    await put('d@eth0@web.json', 'x'.repeat(100_000));
    await symlink('/etc/passwd', join(spoolOf(daemon), 'e@eth0@web.json'));
    await daemon.start();
    expect(daemon.ports.attached.size).toBe(1);
    expect(daemon.ports.detached).toEqual([]);
    expect(await readdir(spoolOf(daemon))).toEqual([]);
    expect(await readFile('/etc/passwd', 'utf8')).not.toBe('');
  });

  it('what fails stays, and is carried out before a new ADD of the same container', async () => {
    await using daemon = await Daemon.start();
    await daemon.call('ADD');
    await daemon.stop();
    await daemon.call('DEL');
    daemon.ports.detachError = new Error('not now');
    await daemon.start();
    expect(await readdir(spoolOf(daemon))).toHaveLength(1);
    expect(await daemon.call('ADD')).toMatchObject({ code: 1 });
    daemon.ports.detachError = undefined;
    expect(await daemon.call('ADD')).toMatchObject({ code: 0 });
    expect(await readdir(spoolOf(daemon))).toEqual([]);
    expect(daemon.ports.attached.size).toBe(1);
  });

  it('the daemon comes while the call is kept: it is carried out, and the file goes', async () => {
    await using daemon = await Daemon.start();
    await daemon.call('ADD');
    // As it is when the daemon has looked into the directory just before the file was in it.
    await daemon.stop();
    await daemon.call('DEL');
    const [name] = await readdir(spoolOf(daemon));
    const file = join(spoolOf(daemon), String(name));
    const text = await readFile(file, 'utf8');
    await rm(file);
    await daemon.start();
    await writeFile(file, text);
    expect(daemon.ports.attached.size).toBe(1);
    expect(await daemon.call('DEL')).toMatchObject({ code: 0 });
    expect(daemon.ports.attached.size).toBe(0);
    expect(await readdir(spoolOf(daemon))).toEqual([]);
  });
});

describe('§2 with a daemon that hangs', () => {
  it.each([
    ['ADD', 11],
    ['CHECK', 11],
    ['STATUS', 50],
    ['GC', 11],
  ])('%s ends after "timeout" with code %i', async (command, code) => {
    await using daemon = await Daemon.prepare();
    await using _raw = await RawDaemon.listen(daemon.socket, () => undefined);
    const outcome = await daemon.call(command, { timeout: 0.2 });
    expect(answerOf(outcome)).toMatchObject({ code, msg: expect.stringContaining('in time') });
    expect(outcome.ms).toBeGreaterThan(190);
    expect(outcome.ms).toBeLessThan(2000);
  });

  it('an answer that comes byte by byte does not lengthen it', async () => {
    await using daemon = await Daemon.prepare();
    await using _raw = await RawDaemon.listen(daemon.socket, (socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      const timer = setInterval(() => socket.write('x: y\r\n'), 20);
      socket.on('close', () => clearInterval(timer));
    });
    const outcome = await daemon.call('ADD', { timeout: 0.3 });
    expect(answerOf(outcome)).toMatchObject({ code: 11 });
    expect(outcome.ms).toBeLessThan(2000);
  });

  it('DEL succeeds, and is carried out when the daemon is back', async () => {
    await using daemon = await Daemon.start();
    await daemon.call('ADD');
    await daemon.stop();
    {
      await using _raw = await RawDaemon.listen(daemon.socket, () => undefined);
      expect(await daemon.call('DEL', { timeout: 0.2 })).toMatchObject({ code: 0, stdout: '' });
    }
    await daemon.start();
    expect(daemon.ports.attached.size).toBe(0);
  });

  it('DEL succeeds when the daemon dies during the call', async () => {
    await using daemon = await Daemon.prepare();
    await using raw = await RawDaemon.listen(daemon.socket, (socket) => socket.destroy());
    expect(await daemon.call('DEL')).toMatchObject({ code: 0 });
    expect(raw.connections).toBe(2);
    expect(await readdir(spoolOf(daemon))).toHaveLength(1);
  });
});

describe('the executable', () => {
  it('starts without the dynamic linker, at random addresses, with read-only relocations and no executable stack', () => {
    const headers = execFileSync('readelf', ['-lWd', PLUGIN], { encoding: 'utf8' });
    expect(headers).toContain('Elf file type is DYN');
    expect(headers).not.toContain('INTERP');
    expect(headers).not.toContain('NEEDED');
    expect(headers).toMatch(/GNU_RELRO/);
    expect(headers).toMatch(/BIND_NOW/);
    expect(headers).toMatch(/GNU_STACK.* RW /);
  });

  it('needs at most 3 MB of memory', async () => {
    await using daemon = await Daemon.prepare();
    let peak = 0;
    const child = spawn(PLUGIN, [], { env: callEnv('ADD'), stdio: ['pipe', 'ignore', 'ignore'] });
    const ended = new Promise((resolve) => child.on('close', resolve));
    await using _raw = await RawDaemon.listen(daemon.socket, (socket) => {
      // It has read, parsed and sent everything by now, and waits.
      socket.once('data', async () => {
        const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
        peak = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]);
        socket.end('HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{"exit_code":0,"stdout":""}');
      });
    });
    child.stdin.end(JSON.stringify(daemon.config()));
    await ended;
    expect(peak).toBeGreaterThan(0);
    expect(peak).toBeLessThan(3000);
  });

  it('adds less than 5 ms to a call', async () => {
    await using daemon = await Daemon.start();
    const call = { env: { CNI_COMMAND: 'STATUS' }, stdin: JSON.stringify(daemon.config()) };
    // CPU time of the plugin alone, kernel included; wall time would measure the machine and this test.
    const script = 'for i in $(seq 100); do "$1" < "$2" > /dev/null; done; times | tail -n 1';
    const file = join(daemon.directory, 'config.json');
    await writeFile(file, call.stdin);
    const times = await new Promise<string>((resolve, reject) => {
      const child = spawn('sh', ['-c', script, 'sh', PLUGIN, file], {
        env: { ...call.env, PATH: '/usr/bin:/bin' },
      });
      let text = '';
      child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      child.on('error', reject);
      child.on('close', () => resolve(text));
    });
    const seconds = [...times.matchAll(/(\d+)m([\d.]+)s/g)].map(([, m, s]) => Number(m) * 60 + Number(s));
    const total = seconds.reduce((sum, value) => sum + value, 0);
    expect(seconds).toHaveLength(2);
    expect((total / 100) * 1000).toBeLessThan(5);
  });
});
