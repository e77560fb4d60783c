/**
 * A real Docker Engine in the network namespace of a daemon of ours, with directories, socket and an image of its own.
 * Nothing of it is left at the end, whether the test passed or not.
 */
import { type ChildProcess, execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Network } from '../../src/model/network.js';
import type { Daemon } from './daemon.js';
import { type Program, trafficProgram } from './traffic.js';

/** Debian's, whatever else is called so. */
const ENGINE = '/usr/sbin/dockerd';
const CLIENT = '/usr/bin/docker';
/** Where every Docker Engine of the machine looks for plugins. */
const PLUGINS = '/run/docker/plugins';

const READY_MS = 60_000;
const STOP_MS = 30_000;
const RUN_MS = 90_000;

export const IMAGE = 'box';
/** Label of the image. */
export const IMAGE_LABEL = 'made-by=image';
const PROGRAMS: readonly Program[] = ['sockets', 'hostile'];
const APPLETS = ['sh', 'sleep', 'ip', 'cat'];

const running = new Set<ChildProcess>();
// Also when a test process gives up half-way.
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export interface Held extends AsyncDisposable {
  /** How many questions wait. */
  asked(): number;
  release(): void;
}

export interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

export class Dockerd implements AsyncDisposable {
  /** What this engine calls our plugin: plugins are found in one directory, whose they are. */
  readonly driver = `qt${randomBytes(6).toString('hex')}`;
  readonly directory = mkdtempSync(join(tmpdir(), 'qt-docker-'));
  #child: ChildProcess | undefined;
  #log = '';

  private constructor(private readonly daemon: Daemon) {}

  static async start(daemon: Daemon): Promise<Dockerd> {
    const dockerd = new Dockerd(daemon);
    try {
      mkdirSync(PLUGINS, { recursive: true });
      symlinkSync(join(daemon.path('plugins'), 'quantum.sock'), dockerd.#plugin);
      symlinkSync(dockerd.socket, daemon.path('docker.sock'));
      await dockerd.start();
      await dockerd.#makeImage();
      return dockerd;
    } catch (error) {
      await dockerd[Symbol.asyncDispose]();
      throw error;
    }
  }

  get socket(): string {
    return join(this.directory, 'docker.sock');
  }

  get log(): string {
    return this.#log;
  }

  async start(): Promise<void> {
    // Of an engine that was killed. Who has become a zombie would pass for alive.
    for (const path of ['pid', 'exec/containerd/containerd.pid']) {
      rmSync(join(this.directory, path), { force: true });
    }
    const options = {
      'data-root': join(this.directory, 'data'),
      'exec-root': join(this.directory, 'exec'),
      pidfile: join(this.directory, 'pid'),
      host: `unix://${this.socket}`,
      bridge: 'none',
      iptables: 'false',
      ip6tables: 'false',
      'storage-driver': 'vfs',
    };
    const flags = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
    const child = this.daemon.netns.net.spawn(ENGINE, flags, { stdio: ['ignore', 'ignore', 'pipe'] });
    running.add(child);
    child.once('exit', () => running.delete(child));
    child.stderr?.on('data', (text) => {
      this.#log += text;
    });
    this.#child = child;
    const deadline = performance.now() + READY_MS;
    while ((await this.run('version')).code !== 0) {
      if (child.exitCode !== null || performance.now() > deadline) {
        throw new Error(`the Docker Engine did not get ready:\n${this.#log}`);
      }
      await delay(100);
    }
  }

  /** SIGKILL: its containers go on, and it gets no chance to tell anybody. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
    // Its containerd follows it, and must not be met by the next engine.
    while (this.#ours().some((pid) => procText(pid, 'comm').trim() === 'containerd')) await delay(50);
  }

  /** The command line, to its end. */
  run(...args: string[]): Promise<Ran> {
    const env = { ...process.env, DOCKER_CONFIG: join(this.directory, 'config') };
    const all = ['--host', `unix://${this.socket}`, ...args];
    return new Promise((resolve) => {
      execFile(CLIENT, all, { env, timeout: RUN_MS }, (error, stdout, stderr) => {
        resolve({
          code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1,
          stdout,
          stderr,
        });
      });
    });
  }

  /** What it prints; it must succeed. */
  async ok(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...args);
    if (code === 0) return stdout.trim();
    throw new Error(`docker ${args.join(' ')}: ${code} ${stderr}`);
  }

  /** What it complains of; it must fail. */
  async refused(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...args);
    if (code !== 0) return stderr;
    throw new Error(`docker ${args.join(' ')} succeeded: ${stdout}`);
  }

  /** A network that is of our driver and has our addresses. */
  network(name: string, ...args: string[]): Promise<string> {
    const ours = ['--driver', this.driver, '--ipam-driver', this.driver];
    return this.ok('network', 'create', ...ours, ...args, name);
  }

  /** A network that exists, under the same name, with its ranges, which Docker wants to hear for `--ip`. */
  async existing(name: string): Promise<void> {
    const { cidr, cidr6 } = await this.daemon.rest.expect<Network>('GET', `/networks/${name}`);
    const subnets = [cidr, cidr6].flatMap((range) => (range === undefined ? [] : ['--subnet', range]));
    const option = `quantum.network=${name}`;
    const ipv6 = cidr6 === undefined ? [] : ['--ipv6'];
    await this.network(name, ...ipv6, ...subnets, '--ipam-opt', option, '--opt', option);
  }

  /** A container in the background; its id. */
  container(name: string, args: readonly string[], ...command: string[]): Promise<string> {
    return this.ok('run', '--detach', '--name', name, ...args, IMAGE, ...command);
  }

  /**
   * The daemon's questions to the engine wait until release() is called. From then on there is no difference, but that
   * they go through this process.
   */
  async hold(): Promise<Held> {
    const path = this.daemon.path('docker.sock');
    const waiting: Socket[] = [];
    let isHeld = true;
    const forward = (socket: Socket) => {
      const engine = connect(this.socket);
      for (const [one, other] of [
        [socket, engine],
        [engine, socket],
      ] as const) {
        one.on('error', () => other.destroy());
        one.pipe(other);
      }
    };
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      if (isHeld) waiting.push(socket);
      else forward(socket);
    });
    rmSync(path);
    await new Promise<void>((resolve) => server.listen(path, resolve));
    return {
      asked: () => waiting.length,
      release: () => {
        isHeld = false;
        for (const socket of waiting) forward(socket);
      },
      [Symbol.asyncDispose]: async () => {
        for (const socket of waiting) socket.destroy();
        await new Promise((resolve) => server.close(resolve));
        rmSync(path, { force: true });
        symlinkSync(this.socket, path);
      },
    };
  }

  /** Takes away every container and network. */
  async clear(): Promise<void> {
    if (this.#child === undefined) await this.start();
    const containers = (await this.ok('ps', '--all', '--quiet')).split('\n').filter(Boolean);
    if (containers.length > 0) await this.ok('rm', '--force', '--volumes', ...containers);
    const filter = ['--filter', `driver=${this.driver}`];
    const networks = (await this.ok('network', 'ls', '--quiet', ...filter)).split('\n').filter(Boolean);
    if (networks.length > 0) await this.ok('network', 'rm', ...networks);
  }

  /** Ends what a killed engine has left running, and lets go of the namespaces, as a reboot would. */
  endContainers(): void {
    for (const pid of this.#leftovers()) endProcess(pid);
    for (const path of mountsBelow(this.directory)) execFileSync('umount', ['--lazy', path]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
    this.endContainers();
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
    rmSync(this.#plugin, { force: true });
    // They stay if somebody else uses them.
    for (const path of [PLUGINS, '/run/docker']) {
      if (readdirSync(path).length === 0) rmdirSync(path);
    }
  }

  get #plugin(): string {
    return join(PLUGINS, `${this.driver}.sock`);
  }

  async #stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await ended;
    clearTimeout(timer);
  }

  /** Processes that it has started and that did not end with it, and theirs. */
  #leftovers(): string[] {
    const ours = this.#ours();
    const children = ours.flatMap((pid) => procText(pid, `task/${pid}/children`).split(' ').filter(Boolean));
    return [...children, ...ours];
  }

  /** By their arguments, in which our directory is. */
  #ours(): string[] {
    return readdirSync('/proc')
      .filter((name) => /^[0-9]+$/.test(name))
      .filter((pid) => procText(pid, 'cmdline').includes(`${this.directory}/exec`));
  }

  async #makeImage(): Promise<void> {
    const root = join(this.directory, 'image');
    mkdirSync(join(root, 'bin'), { recursive: true });
    const busybox = execFileSync('which', ['busybox'], { encoding: 'utf8' }).trim();
    copyFileSync(busybox, join(root, 'bin/busybox'));
    for (const name of APPLETS) symlinkSync('busybox', join(root, 'bin', name));
    for (const name of PROGRAMS) copyFileSync(trafficProgram(name, 'static'), join(root, 'bin', name));
    const archive = join(this.directory, 'image.tar');
    execFileSync('tar', ['--create', '--file', archive, '--directory', root, '.']);
    await this.ok('import', '--change', `LABEL ${IMAGE_LABEL}`, archive, IMAGE);
  }
}

function procText(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

function endProcess(pid: string): void {
  try {
    process.kill(Number(pid), 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function mountsBelow(directory: string): string[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${directory}/`))
    .reverse();
}
