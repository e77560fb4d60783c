/** A node with a daemon on which container runtimes run, and what every runtime of the tests needs. */
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import type { ExecResult } from '../../src/netns/index.js';
import type { DaemonOptions } from '../support/daemon.js';
import { Lines } from '../support/lines.js';
import { type Site, useSite } from '../support/site.js';
import { type Image, makeImage } from './image.js';
import { endAllOf, Machine, removeControlGroups } from './machine.js';

const DEBIAN_PLUGINS = '/usr/lib/cni';

/** Everything that is mounted below a directory, the innermost first. */
const UNMOUNT = `while read -r _ path _; do
  case $path in "$1"/*) echo "$path" ;; esac
done < /proc/self/mounts | sort -r | while read -r path; do umount -l "$path"; done`;

export class RuntimeNode {
  constructor(
    readonly site: Site,
    private readonly machine: Machine,
    readonly image: Image,
  ) {}

  /** Runs a command as on the node. */
  exec(
    command: string,
    args: readonly string[],
    options: { env?: NodeJS.ProcessEnv } = {},
  ): Promise<ExecResult> {
    const [enter, ...rest] = this.machine.prefix;
    return this.site.daemon.netns.net.exec(enter, [...rest, command, ...args], options);
  }

  /** Starts a program that runs until it is ended. */
  spawn(command: string, args: readonly string[], options: { env?: NodeJS.ProcessEnv } = {}): Lines {
    const [enter, ...rest] = this.machine.prefix;
    const stdio: ['ignore', 'pipe', 'pipe'] = ['ignore', 'pipe', 'pipe'];
    return new Lines(
      this.site.daemon.netns.net.spawn(enter, [...rest, command, ...args], { ...options, stdio }),
    );
  }

  /** Debian's plugin, beside ours. */
  addPlugin(name: string): void {
    copyFileSync(join(DEBIAN_PLUGINS, name), join(this.site.daemon.path('bin'), name));
  }

  /** Where runtimes look for plugins and configurations when nobody tells them. */
  async linkDirectories(): Promise<void> {
    const { daemon } = this.site;
    await this.exec('ln', ['-s', daemon.path('conf'), '/etc/cni/net.d']);
    await this.exec('ln', ['-s', daemon.path('bin'), '/opt/cni/bin']);
  }
}

/** A directory and a control group of one runtime; whatever of it runs at the end is ended. */
export class RuntimePlace implements AsyncDisposable {
  readonly name = `qt-${randomBytes(6).toString('hex')}`;
  readonly directory: string;

  constructor(readonly node: RuntimeNode) {
    this.directory = mkdtempSync(join(tmpdir(), `${this.name}-`));
  }

  path(...parts: string[]): string {
    const path = join(this.directory, ...parts);
    mkdirSync(join(path, '..'), { recursive: true });
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { daemon } = this.node.site;
    const deadline = performance.now() + 20_000;
    for (;;) {
      const strangers = daemon.strangers();
      if (strangers.length === 0) break;
      if (performance.now() > deadline) throw new Error(`processes do not end: ${strangers}`);
      endAllOf(strangers);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    removeControlGroups(this.name);
    await this.node.exec('sh', ['-c', UNMOUNT, 'sh', this.directory]);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Starts a node for the tests of a file; `node()` is it. */
export function useRuntimeNode(settings: DaemonOptions['settings'] = {}): () => RuntimeNode {
  const options: DaemonOptions = { settings };
  let machine: Machine | undefined;
  let directory: string | undefined;
  let node: RuntimeNode | undefined;
  beforeAll(async () => {
    machine = await Machine.start();
    options.wrapper = machine.prefix;
    directory = mkdtempSync(join(tmpdir(), 'qt-image-'));
  });
  const site = useSite(options);
  beforeAll(async () => {
    if (machine === undefined || directory === undefined) throw new Error('there is no machine');
    node = new RuntimeNode(site(), machine, makeImage(directory));
    await node.linkDirectories();
  });
  afterAll(() => {
    machine?.[Symbol.dispose]();
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  });
  return () => {
    if (node === undefined) throw new Error('the node has not started');
    return node;
  };
}
