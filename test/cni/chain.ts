/** A list of plugins, carried out as section 3 of the CNI specification wants it, on the node of a daemon. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Container } from '../support/containers.js';
import type { Daemon } from '../support/daemon.js';

const DEBIAN = '/usr/lib/cni';

export interface Plugin {
  type: string;
  [key: string]: unknown;
}
export type Result = Record<string, unknown>;

/** What a plugin said that refused. */
export class PluginError extends Error {
  constructor(
    readonly type: string,
    readonly command: string,
    readonly answer: Record<string, unknown>,
  ) {
    super(`${type} ${command}: ${JSON.stringify(answer)}`);
  }
}

export class Chain {
  readonly name: string;

  constructor(
    private readonly daemon: Daemon,
    name: string,
    private readonly plugins: readonly Plugin[],
    private readonly cniVersion = '1.0.0',
  ) {
    this.name = name;
  }

  /** ADD of each plugin; the result of the last one. */
  async add(container: Container, runtimeConfig: object = {}): Promise<Result> {
    let prevResult: Result | undefined;
    for (const plugin of this.plugins) {
      const text = await this.#run(plugin, 'ADD', container, { runtimeConfig, prevResult });
      prevResult = JSON.parse(text) as Result;
    }
    return prevResult ?? {};
  }

  async check(container: Container, prevResult: Result, runtimeConfig: object = {}): Promise<void> {
    for (const plugin of this.plugins) {
      await this.#run(plugin, 'CHECK', container, { runtimeConfig, prevResult });
    }
  }

  /** DEL of each plugin, in reverse order. */
  async del(container: Container, prevResult?: Result, runtimeConfig: object = {}): Promise<void> {
    for (const plugin of [...this.plugins].reverse()) {
      await this.#run(plugin, 'DEL', container, { runtimeConfig, prevResult });
    }
  }

  async #run(
    { type, ...plugin }: Plugin,
    command: string,
    container: Container,
    { runtimeConfig, prevResult }: { runtimeConfig: object; prevResult: Result | undefined },
  ): Promise<string> {
    const { daemon, name, cniVersion } = this;
    const wanted = (plugin.capabilities ?? {}) as Record<string, boolean>;
    const given = Object.fromEntries(Object.entries(runtimeConfig).filter(([key]) => wanted[key] === true));
    const { capabilities: _, ...rest } = plugin;
    const stdin = { ...rest, type, cniVersion, name, runtimeConfig: given, prevResult };
    const own = join(daemon.path('bin'), type);
    const env = {
      PATH: process.env.PATH,
      CNI_COMMAND: command,
      CNI_CONTAINERID: container.id,
      CNI_NETNS: container.netns.path,
      CNI_IFNAME: 'eth0',
      CNI_PATH: `${daemon.path('bin')}:${DEBIAN}`,
    };
    const child = daemon.netns.net.spawn(existsSync(own) ? own : join(DEBIAN, type), [], {
      env,
      stdio: 'pipe',
    });
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', (text) => {
      stdout += text;
    });
    child.stderr?.on('data', (text) => {
      stderr += text;
    });
    child.stdin?.end(JSON.stringify(stdin));
    const code = await new Promise((resolve) => child.on('close', resolve));
    if (code === 0) return stdout;
    throw new PluginError(type, command, stdout === '' ? { stderr } : JSON.parse(stdout));
  }
}

/** A plugin that leads to the daemon, as a configuration names it. */
export function ours(daemon: Daemon, fields: object = {}): Plugin {
  return { type: 'quantum-cni', socket: join(daemon.path('run'), 'cni.sock'), ...fields };
}
