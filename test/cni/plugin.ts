/** Runs the plugin executable as a container runtime does, with a daemon or without one. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DeferredCalls } from '../../src/cni/deferred.js';
import { CniHandler } from '../../src/cni/handler.js';
import type { Log } from '../../src/cni/ports.js';
import { CniServer } from '../../src/cni/server.js';
import type { CniAnswer, CniCall } from '../../src/model/cni.js';
import { InMemoryPorts } from './in-memory-ports.js';

const root = join(import.meta.dirname, '../..');
export const PLUGIN = join(root, 'native/build/quantum-cni');

/** Brings the executable up to date. */
export function buildPlugin(): void {
  execFileSync('make', ['-s', '-C', join(root, 'native/cni')], { stdio: 'pipe' });
}

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
  /** Wall time, milliseconds. */
  ms: number;
}

export interface Input {
  env?: Record<string, string>;
  /** An object is written as JSON. */
  stdin?: string | Buffer | object;
  /** Leaves standard input open. */
  keepOpen?: boolean;
  /** Kills it, whatever it is doing. */
  signal?: AbortSignal;
}

export function runPlugin({ env = {}, stdin = '', keepOpen = false, signal }: Input): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(PLUGIN, [], { env, stdio: 'pipe' });
    signal?.addEventListener('abort', () => child.kill('SIGKILL'));
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    // The plugin stops reading when the input is too large.
    child.stdin.on('error', () => undefined);
    child.on('error', reject);
    child.on('close', (code) => {
      child.stdin.destroy();
      resolve({ code, stdout, stderr, ms: performance.now() - started });
    });
    const bytes = typeof stdin === 'string' || Buffer.isBuffer(stdin) ? stdin : JSON.stringify(stdin);
    if (keepOpen) child.stdin.write(bytes);
    else child.stdin.end(bytes);
  });
}

/** The object on standard output. */
export function answerOf({ stdout }: Outcome): Record<string, unknown> {
  return JSON.parse(stdout) as Record<string, unknown>;
}

export const silent: Log = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** A run directory of its own, and the daemon's part of CNI over ports in memory. */
export class Daemon implements AsyncDisposable {
  readonly ports = new InMemoryPorts();
  readonly socket: string;
  #server: CniServer | undefined;
  #handler: CniHandler | undefined;

  private constructor(readonly directory: string) {
    this.socket = join(directory, 'run', 'cni.sock');
  }

  /** Not started yet. */
  static async prepare(): Promise<Daemon> {
    return new Daemon(await mkdtemp(join(tmpdir(), 'quantum-cni-')));
  }

  static async start(): Promise<Daemon> {
    const daemon = await Daemon.prepare();
    daemon.ports.addNetwork({ name: 'web', cidr: '198.18.0.0/24' });
    await daemon.start();
    return daemon;
  }

  async start(): Promise<void> {
    const deferred = new DeferredCalls(this.socket, silent);
    const handler = new CniHandler({ ports: this.ports, deferred, log: silent });
    this.#handler = handler;
    this.#server = await CniServer.start({ socketPath: this.socket, handler, log: silent });
    await this.#server.settled;
  }

  async stop(): Promise<void> {
    await this.#server?.close();
    this.#server = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.directory, { recursive: true, force: true });
  }

  /** A configuration that leads here. */
  config(fields: object = {}): Record<string, unknown> {
    return { cniVersion: '1.1.0', name: 'web', type: 'quantum-cni', socket: this.socket, ...fields };
  }

  /** What the daemon makes of a call that no plugin has sent. */
  async handle(call: CniCall): Promise<CniAnswer> {
    if (this.#handler === undefined) throw new Error('the daemon does not run');
    return this.#handler.handle(call);
  }

  /** A call with everything that ADD needs. */
  call(command: string, fields: object = {}, env: Record<string, string> = {}): Promise<Outcome> {
    return runPlugin({ env: { ...callEnv(command), ...env }, stdin: this.config(fields) });
  }
}

export function callEnv(command: string): Record<string, string> {
  return {
    CNI_COMMAND: command,
    CNI_CONTAINERID: 'c1',
    CNI_IFNAME: 'eth0',
    CNI_NETNS: '/run/netns/c1',
    CNI_PATH: '/opt/cni/bin',
  };
}
