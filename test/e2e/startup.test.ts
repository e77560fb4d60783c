/** A daemon that cannot serve says why, ends with a code that tells it too, and leaves the node as it was. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { Container, unlike } from '../support/containers.js';
import { Daemon, type DaemonOptions, type Ending } from '../support/daemon.js';
import { kernelState, nodeState } from '../support/node-state.js';
import { copyProgram } from '../support/program-copy.js';

const open: Disposable[] = [];
const daemons: Daemon[] = [];
const folders: string[] = [];

afterEach(async () => {
  for (const one of open.splice(0)) one[Symbol.dispose]();
  for (const daemon of daemons.splice(0)) await daemon[Symbol.asyncDispose]();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** Not started yet. */
function prepare(options?: DaemonOptions): Daemon {
  const daemon = new Daemon(options);
  daemons.push(daemon);
  return daemon;
}

/** One that serves. */
async function serving(): Promise<Daemon> {
  const daemon = prepare();
  await daemon.start();
  return daemon;
}

function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'quantum-startup-'));
  folders.push(folder);
  return folder;
}

/** What there is of it on the machine. Empty directories of its own and an empty store in one are no harm. */
function traces(daemon: Daemon) {
  const files = readdirSync(daemon.directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => !/^(state|run)($|\/)/.test(name))
    .sort();
  return { files, ...kernelState(daemon) };
}

/** Runs a daemon that cannot start, and proves that it leaves no trace. */
async function refused(daemon: Daemon, options: DaemonOptions = {}): Promise<Ending> {
  const before = traces(daemon);
  const ending = await daemon.run(options);
  expect(traces(daemon)).toEqual(before);
  expect(ending.stdout).not.toContain('is ready');
  return ending;
}

/** The line that the operator reads, without stack traces. */
function expectMessage({ code, stderr }: Ending, exit: number, error: string, text: RegExp): void {
  expect(stderr).toMatch(new RegExp(`^quantum-api: ${error}: `, 'm'));
  expect(stderr).toMatch(text);
  expect(stderr).not.toMatch(/^ {4}at /m);
  expect(code).toBe(exit);
}

describe('rights', () => {
  it('without root', async () => {
    const wrapper = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
    expectMessage(await refused(prepare(), { wrapper }), 77, 'NOT_ROOT', /must run as root/);
  });

  it.each(['net_admin', 'sys_admin'])('root without CAP_%s', async (name) => {
    const wrapper = ['setpriv', `--bounding-set=-${name}`];
    const text = new RegExp(`lacks CAP_${name.toUpperCase()}`);
    expectMessage(await refused(prepare(), { wrapper }), 77, 'NOT_ROOT', text);
  });
});

describe('settings', () => {
  const rows: [what: string, settings: Record<string, string | number>, text: RegExp][] = [
    ['a number out of range', { conntrack_max: 1 }, /--conntrack-max/],
    ['a port that is none', { listen: '127.0.0.1:70000' }, /listen/],
    ['an address that is not loopback', { listen: '0.0.0.0:9443' }, /loopback/],
    ['a relative path', { state_dir: 'state' }, /--state-dir/],
    ['an unknown setting', { colour: 'red' }, /colour/],
    ['another store', { store: 'etcd://127.0.0.1:2379' }, /store/],
    ['pins where none can be made', { bpffs_dir: '/proc/pins' }, /--bpffs-dir/],
    ['a configuration file that is missing', { config: '/nonexistent/config.yaml' }, /config/],
  ];
  it.each(rows)('%s', async (_, settings, text) => {
    expectMessage(await refused(prepare(), { settings }), 78, 'INVALID_SETTINGS', text);
  });

  it('a configuration file that is no YAML', async () => {
    const daemon = prepare();
    const config = join(scratch(), 'config.yaml');
    writeFileSync(config, 'listen: [');
    expectMessage(await refused(daemon, { settings: { config } }), 78, 'INVALID_SETTINGS', /config/);
  });
});

describe('a second daemon', () => {
  it('with the port of another program', async () => {
    const daemon = prepare();
    const listener = daemon.netns.spawn(process.execPath, [
      '-e',
      "require('net').createServer().listen(9443, '127.0.0.1', () => console.log('ready'))",
    ]);
    await new Promise((resolve) => listener.stdout?.once('data', resolve));
    expectMessage(await refused(daemon), 69, 'PORT_IN_USE', /127\.0\.0\.1 port 9443/);
  });

  /** Another daemon on the node of the first, which has only these directories in common with it. */
  const rows: [what: string, shared: string[]][] = [
    ['everything', ['state_dir', 'run_dir', 'bpffs_dir']],
    ['the state', ['state_dir']],
    ['the sockets', ['run_dir']],
    ['the pins', ['bpffs_dir']],
    ['nothing but the network namespace', []],
  ];
  it.each(rows)('that shares %s', async (_, shared) => {
    const first = await serving();
    await first.rest.createNetwork({ name: 'blue', cidr: '10.60.1.0/24', isolation_mode: 'peer' });
    const [a, b] = [new Container(first, 'a'), new Container(first, 'b')];
    open.push(a, b);
    for (const container of [a, b]) {
      await container.connect('blue');
      await container.serve('tcp:80', 'udp:53');
    }
    const own = scratch();
    const pins = `/sys/fs/bpf/${own.split('/').at(-1)}`;
    folders.push(pins);
    const elsewhere: Record<string, string> = {
      state_dir: join(own, 'state'),
      run_dir: join(own, 'run'),
      bpffs_dir: pins,
    };
    for (const key of shared) delete elsewhere[key];
    const before = await nodeState(first);
    const ending = await first.run({
      settings: { ...elsewhere, listen: '127.0.0.1:9553', grpc_listen: 'none' },
    });
    expectMessage(ending, 75, 'ALREADY_RUNNING', /./);
    expect(await nodeState(first)).toEqual(before);
    expect(existsSync(pins)).toBe(false);
    expect(await unlike('open', 4, [a, b], [b, a])).toEqual([]);
  });

  it('can serve once the first has been killed', async () => {
    const daemon = await serving();
    await daemon.kill();
    await daemon.start();
    expect(await daemon.stop()).toBe(0);
  });
});

describe('directories', () => {
  it.each(['state', 'run'] as const)('a %s directory that is a file', async (kind) => {
    const daemon = prepare();
    writeFileSync(daemon.path(kind), '');
    expectMessage(await refused(daemon), 74, 'STORE_ERROR', new RegExp(`${kind}`));
  });

  it('a directory of sockets that others may write to', async () => {
    const daemon = prepare();
    mkdirSync(daemon.path('run'));
    chmodSync(daemon.path('run'), 0o777);
    expectMessage(await refused(daemon), 74, 'STORE_ERROR', /can be written by others/);
  });

  it('a directory of pins that is a file', async () => {
    const daemon = prepare();
    const file = join(scratch(), 'file');
    writeFileSync(file, '');
    expectMessage(await refused(daemon, { settings: { bpffs_dir: file } }), 71, 'KERNEL_UNSUPPORTED', /file/);
  });

  it('a directory for the CNI plugin that is a file', async () => {
    const daemon = prepare();
    writeFileSync(daemon.path('bin'), '');
    expectMessage(await refused(daemon), 74, 'STORE_ERROR', /CNI plugin/);
  });

  it('a node that has no BPF file system yet is given one, where every node has it', async () => {
    const wrapper = ['unshare', '-m', 'sh', '-c', 'umount /sys/fs/bpf; exec "$@"', 'sh'];
    const daemon = prepare({ wrapper });
    await daemon.start();
    const mounts = readFileSync(`/proc/${daemon.pid}/mounts`, 'utf8');
    expect(mounts).toMatch(/^\S+ \/sys\/fs\/bpf bpf /m);
    expect(await daemon.stop()).toBe(0);
  });

  it('a directory of pins that is in no BPF file system is given one', async () => {
    const pins = join(scratch(), 'pins');
    const daemon = prepare({ settings: { bpffs_dir: pins } });
    try {
      await daemon.start();
      expect(execFileSync('stat', ['-f', '-c', '%T', pins], { encoding: 'utf8' }).trim()).toBe('bpf_fs');
      expect(await daemon.stop()).toBe(0);
    } finally {
      execFileSync('umount', [pins]);
    }
  });
});

describe('a damaged store', () => {
  const damages: [what: string, damage: (path: string) => void][] = [
    ['that is empty', (path) => truncateSync(path, 0)],
    ['that is cut in half', (path) => truncateSync(path, statSync(path).size / 2)],
    ['of random bytes', (path) => writeFileSync(path, Buffer.alloc(65536, 0xa5))],
    [
      'whose pages are overwritten',
      (path) => {
        const bytes = readFileSync(path);
        writeFileSync(path, bytes.fill(0x5a, 8192));
      },
    ],
  ];
  it.each(damages)('%s: traffic and enforcement go on', async (_, damage) => {
    const daemon = await serving();
    await daemon.rest.createNetwork({ name: 'blue', cidr: '10.60.1.0/24', isolation_mode: 'peer' });
    const [a, b] = [new Container(daemon, 'a'), new Container(daemon, 'b')];
    open.push(a, b);
    for (const container of [a, b]) {
      await container.connect('blue');
      await container.serve('tcp:80', 'udp:53');
    }
    await daemon.stop();
    const store = join(daemon.path('state'), 'store.mdb');
    damage(store);
    const damaged = readFileSync(store);
    expectMessage(await refused(daemon), 65, 'STORE_DAMAGED', /store\.mdb/);
    if (damaged.length > 0) expect(readFileSync(store).equals(damaged)).toBe(true);
    // Looking at it has not made it whole.
    expectMessage(await refused(daemon), 65, 'STORE_DAMAGED', /store\.mdb/);
    expect(await unlike('open', 4, [a, b], [b, a])).toEqual([]);
  });
});

describe('a kernel or a build that lacks something', () => {
  const copy = () => copyProgram(scratch());

  it.each(['from_container', 'to_container', 'conntrack_sweep', 'node_connect'])(
    'the program %s is missing',
    async (name) => {
      const { program, objects } = copy();
      unlinkSync(join(objects, `${name}.bpf.o`));
      const ending = await refused(prepare(), { program });
      expectMessage(ending, 71, 'KERNEL_UNSUPPORTED', new RegExp(`${name}\\.bpf\\.o is missing`));
    },
  );

  it('a program is no object file', async () => {
    const { program, objects } = copy();
    truncateSync(join(objects, 'to_container.bpf.o'), 1000);
    expectMessage(await refused(prepare(), { program }), 71, 'KERNEL_UNSUPPORTED', /to_container/);
  });

  it('the kernel refuses a program', async () => {
    const { program, objects } = copy();
    // Instructions that are none.
    const path = join(objects, 'to_container.bpf.o');
    const section = join(objects, 'section');
    execFileSync('llvm-objcopy', ['--dump-section', `tc=${section}`, path]);
    writeFileSync(section, Buffer.alloc(statSync(section).size, 0xff));
    execFileSync('llvm-objcopy', ['--update-section', `tc=${section}`, path]);
    expectMessage(await refused(prepare(), { program }), 71, 'KERNEL_UNSUPPORTED', /to_container/);
  });

  it('while another daemon is upgraded, what it left goes on', async () => {
    const daemon = await serving();
    await daemon.rest.createNetwork({ name: 'blue', cidr: '10.60.1.0/24', isolation_mode: 'peer' });
    const [a, b] = [new Container(daemon, 'a'), new Container(daemon, 'b')];
    open.push(a, b);
    for (const container of [a, b]) {
      await container.connect('blue');
      await container.serve('tcp:80', 'udp:53');
    }
    await daemon.stop();
    const { program, objects } = copy();
    unlinkSync(join(objects, 'to_container.bpf.o'));
    expectMessage(await refused(daemon, { program }), 71, 'KERNEL_UNSUPPORTED', /to_container/);
    expect(await unlike('open', 4, [a, b], [b, a])).toEqual([]);
    await daemon.start();
    expect(await unlike('open', 4, [a, b], [b, a])).toEqual([]);
  });
});
