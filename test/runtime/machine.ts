/**
 * A machine for container runtimes: a mount namespace in which the directories that they share with everybody
 * (/run, /var/lib, /opt, /etc/cni, /dev/shm) are empty. The daemon and the runtimes run in it, so that both see the
 * same namespaces and processes; what they mount and write there is gone with it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { Lines } from '../support/lines.js';

const HIDDEN = ['/run', '/var/lib', '/opt', '/dev/shm', '/etc/cni'];
const MAKE = `set -e
for directory in ${HIDDEN.join(' ')}; do mount -t tmpfs none "$directory"; done
mkdir -p /run/netns /run/lock /opt/cni
echo ready
exec sleep infinity`;

const CGROUPS = '/sys/fs/cgroup';

const machines = new Set<ChildProcess>();
// Also when a test process gives up half-way.
process.on('exit', () => {
  for (const child of machines) child.kill('SIGKILL');
});

export class Machine implements Disposable {
  private constructor(private readonly child: ChildProcess) {}

  static async start(): Promise<Machine> {
    const child = spawn('unshare', ['--mount', 'sh', '-c', MAKE], { stdio: ['ignore', 'pipe', 'inherit'] });
    machines.add(child);
    const lines = new Lines(child);
    if ((await lines.find((line) => line === 'ready', 10_000)) === undefined) {
      throw new Error('the mount namespace could not be made');
    }
    return new Machine(child);
  }

  /** What a command line starts with to run in it. */
  get prefix(): [string, ...string[]] {
    return ['nsenter', `--mount=/proc/${this.child.pid}/ns/mnt`, '--'];
  }

  [Symbol.dispose](): void {
    machines.delete(this.child);
    this.child.kill('SIGKILL');
  }
}

/** Ends every process of a network namespace and everything that they have started, in whichever namespace it is. */
export function endAllOf(strangers: readonly number[]): void {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    const parent = /^\d+$/.test(name) ? parentOf(name) : undefined;
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const end = (pid: number) => {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
    for (const child of children.get(pid) ?? []) end(child);
  };
  for (const pid of strangers) end(pid);
}

function parentOf(pid: string): number | undefined {
  try {
    return Number(/^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  } catch {
    return undefined;
  }
}

/** Removes what a runtime that was killed has left of its control groups, in every hierarchy. */
export function removeControlGroups(name: string): void {
  const hierarchies = existsSync(join(CGROUPS, 'cgroup.controllers'))
    ? [CGROUPS]
    : readdirSync(CGROUPS).map((hierarchy) => join(CGROUPS, hierarchy));
  for (const hierarchy of hierarchies) {
    const top = join(hierarchy, name);
    if (!existsSync(top)) continue;
    const below = readdirSync(top, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name));
    for (const directory of [top, ...below].sort().reverse()) rmdirSync(directory);
  }
}
