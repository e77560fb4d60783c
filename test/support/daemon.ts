/**
 * A real daemon: a process in a network namespace of its own, which is the node, with directories and pins of its
 * own. Everything is gone at the end, whether the test passed or not.
 */
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { Lines } from './lines.js';
import { TestNetns } from './netns.js';
import { Rest } from './rest.js';
import { trafficProgram } from './traffic.js';

const ROOT = join(import.meta.dirname, '../..');
export const DAEMON_PROGRAM = join(ROOT, 'dist/bin/quantum-api.js');

const READY_MS = 60_000;
const STOP_MS = 30_000;

/** Settings of whoever runs the tests are not those of the tests. */
const ENVIRONMENT = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith('QUANTUM_')),
);

const running = new Set<ChildProcess>();
// Also when a test process gives up half-way.
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export interface DaemonOptions {
  /** Settings beside the directories, by their keys: `events_per_second`. They may replace those. */
  settings?: Record<string, string | number>;
  /** The program; another copy of it for tests that damage its files. */
  program?: string;
  /** What is to run instead of node itself, such as `setpriv …`. */
  wrapper?: readonly string[];
}

/** How a process that was to end ended. */
export interface Ending {
  code: number | null;
  stdout: string;
  stderr: string;
}

export class Daemon implements AsyncDisposable {
  /** The node. */
  readonly netns: TestNetns;
  readonly directory: string;
  readonly bpffs: string;
  readonly rest: Rest;
  /** Everything that its processes wrote to standard error. */
  log = '';
  #child: ChildProcess | undefined;
  #lines: Lines | undefined;

  /** Not started yet. */
  constructor(private readonly options: DaemonOptions = {}) {
    const name = `qt-${randomBytes(6).toString('hex')}`;
    this.netns = TestNetns.create();
    this.directory = mkdtempSync(join(tmpdir(), `${name}-`));
    this.bpffs = `/sys/fs/bpf/${name}`;
    this.rest = new Rest(join(this.directory, 'run/api.sock'), () => this.log);
  }

  static async start(options?: DaemonOptions): Promise<Daemon> {
    const daemon = new Daemon(options);
    try {
      await daemon.start();
      return daemon;
    } catch (error) {
      await daemon[Symbol.asyncDispose]();
      throw error;
    }
  }

  get isRunning(): boolean {
    return this.#child !== undefined;
  }

  /** It does not run any more, or has never been started. */
  get hasEnded(): boolean {
    const child = this.#child;
    return child === undefined || child.exitCode !== null || child.signalCode !== null;
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error('the daemon does not run');
    return this.#child.pid;
  }

  path(kind: 'state' | 'run' | 'bin' | 'conf' | 'plugins' | 'docker.sock'): string {
    return join(this.directory, kind);
  }

  /** Resolves when it has said that it is ready and /readyz agrees. The options are of this start alone. */
  async start(options: DaemonOptions = {}): Promise<void> {
    const child = this.#spawn(this.#merged(options));
    this.#child = child;
    this.#lines = new Lines(child);
    const line = await this.#lines.find((text) => text.endsWith('is ready.'), READY_MS);
    if (line === undefined) {
      child.kill('SIGKILL');
      throw new Error(`the daemon did not get ready (exit ${child.exitCode}):\n${this.log}`);
    }
    await this.rest.expect('GET', '/readyz');
  }

  /** Runs a daemon that is expected to end by itself, in the same place. */
  async run(options: DaemonOptions = {}): Promise<Ending> {
    const child = this.#spawn(this.#merged(options));
    let stderr = '';
    child.stderr?.on('data', (text) => {
      stderr += text;
    });
    const lines = new Lines(child);
    const timer = setTimeout(() => child.kill('SIGKILL'), READY_MS);
    const code = await lines.ended;
    clearTimeout(timer);
    return { code, stdout: lines.all.join('\n'), stderr };
  }

  /** SIGTERM; its exit code. */
  stop(): Promise<number | null> {
    return this.#end('SIGTERM');
  }

  /** SIGKILL: it gets no chance to clean up. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async restart(): Promise<void> {
    if (this.#child !== undefined) await this.stop();
    await this.start();
  }

  /** A client on a loopback connection inside of the node; a prefix such as `setpriv …` makes it another user's. */
  loopback(port = 9443, wrapper: readonly string[] = []): Rest {
    const open = () => {
      const argv = [...wrapper, trafficProgram('sockets'), 'pipe', '127.0.0.1', String(port)];
      const [command = '', ...args] = argv;
      const child = this.netns.net.spawn(command, args, { stdio: ['pipe', 'pipe', 'ignore'] });
      return Duplex.from({ readable: child.stdout, writable: child.stdin } as never);
    };
    return new Rest('', () => this.log, open);
  }

  /** Processes that are in the namespace of the node, but for the daemon's own. */
  strangers(): number[] {
    const link = `net:[${this.netns.net.inode}]`;
    return readdirSync('/proc')
      .filter((name) => /^[0-9]+$/.test(name) && namespaceOf(name) === link)
      .map(Number)
      .filter((pid) => pid !== this.#child?.pid);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.kill();
    } finally {
      this.netns.close();
      rmSync(this.bpffs, { recursive: true, force: true });
      rmSync(this.directory, { recursive: true, force: true });
    }
  }

  #merged({ settings, ...rest }: DaemonOptions): DaemonOptions {
    return { ...this.options, ...rest, settings: { ...this.options.settings, ...settings } };
  }

  #spawn({ settings, program = DAEMON_PROGRAM, wrapper = [] }: DaemonOptions): ChildProcess {
    const all: Record<string, string | number> = {
      state_dir: this.path('state'),
      run_dir: this.path('run'),
      bpffs_dir: this.bpffs,
      cni_bin_dir: this.path('bin'),
      cni_conf_dir: this.path('conf'),
      docker_plugin_dir: this.path('plugins'),
      docker_socket: this.path('docker.sock'),
      uplink: 'none',
      // Room for them is made at the start: as much as tests need.
      conntrack_max: 65536,
      ...settings,
    };
    const flags = Object.entries(all).flatMap(([key, value]) => [
      `--${key.replaceAll('_', '-')}`,
      String(value),
    ]);
    const argv = [...wrapper, process.execPath, '--enable-source-maps', program, ...flags];
    const [command = '', ...args] = argv;
    const child = this.netns.net.spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: ENVIRONMENT,
    });
    running.add(child);
    child.once('exit', () => running.delete(child));
    child.stderr?.on('data', (text) => {
      this.log += text;
    });
    return child;
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child;
    const lines = this.#lines;
    if (child === undefined || lines === undefined) return null;
    this.#child = undefined;
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    const code = await lines.ended;
    clearTimeout(timer);
    return code;
  }
}

function namespaceOf(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return undefined;
  }
}
