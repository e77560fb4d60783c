/** A node: a daemon in a network namespace of its own, with directories and pins of its own. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Netns } from '../../dist/netns/index.js';
import { end, lineOf } from './processes.mjs';
import { Rest } from './rest.mjs';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const READY_MS = 60_000;
/** Of /proc/<pid>/stat; sysconf(_SC_CLK_TCK) is 100 wherever Linux has a choice of its own. */
const TICK_MS = 10;
let made = 0;

export class Node {
  /** Without a daemon until start(). */
  constructor(cleanup, settings = {}) {
    made += 1;
    this.name = `quantum-bench-${process.pid}-${made}`;
    this.directory = mkdtempSync(join(tmpdir(), `${this.name}-`));
    cleanup.add(() => rmSync(this.directory, { recursive: true }));
    /** Of the daemon; what it logs by default is part of what it costs. */
    this.log = join(this.directory, 'log');
    this.bpffs = `/sys/fs/bpf/${this.name}`;
    cleanup.add(() => rmSync(this.bpffs, { recursive: true, force: true }));
    this.netns = Netns.create();
    cleanup.add(() => this.netns.close());
    // Where it is by default, since that is often another file system.
    const run = mkdtempSync(`/run/${this.name}-`);
    cleanup.add(() => rmSync(run, { recursive: true }));
    this.cniSocket = join(run, 'cni.sock');
    this.rest = new Rest(join(run, 'api.sock'));
    cleanup.add(() => this.rest.close());
    const all = {
      'state-dir': join(this.directory, 'state'),
      'run-dir': run,
      'cni-bin-dir': join(this.directory, 'bin'),
      'docker-plugin-dir': 'none',
      'cni-conf-dir': join(this.directory, 'conf'),
      'bpffs-dir': this.bpffs,
      'grpc-listen': 'none',
      listen: 'none',
      uplink: 'none',
      ...settings,
    };
    this.flags = Object.entries(all).map(([key, value]) => `--${key}=${value}`);
    cleanup.add(() => this.stop());
  }

  get pid() {
    return this.child.pid;
  }

  /** Milliseconds from the start of the process until it is ready. */
  async start() {
    const begin = performance.now();
    this.#spawn(process.execPath, [...nodeFlags(), join(ROOT, 'dist/bin/quantum-api.js'), ...this.flags]);
    try {
      await lineOf(this.child, /is ready/);
    } catch (error) {
      throw new Error(`${error.message}\n${readFileSync(this.log, 'utf8').slice(-2000)}`);
    }
    return performance.now() - begin;
  }

  /** The same by `npm start`'s script, until GET /readyz says so. */
  async startByScript() {
    const begin = performance.now();
    this.#spawn('sh', [join(ROOT, 'scripts/start.sh'), ...this.flags]);
    this.child.stdout.resume();
    for (;;) {
      const ready = await this.rest.call('GET', '/readyz').catch(() => undefined);
      if (ready !== undefined) return performance.now() - begin;
      if (this.child.exitCode !== null) throw new Error(`start.sh ended with ${this.child.exitCode}`);
      if (performance.now() - begin > READY_MS) throw new Error('start.sh: the daemon did not get ready');
      await delay(5);
    }
  }

  async stop() {
    if (this.child !== undefined) await end(this.child);
    this.child = undefined;
  }

  /** Resident memory, bytes. */
  residentBytes() {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+([0-9]+) kB$/m.exec(status)[1]) * 1024;
  }

  /** CPU time that all threads have used, milliseconds. */
  cpuMs() {
    const stat = readFileSync(`/proc/${this.pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  }

  #spawn(command, args) {
    const log = openSync(this.log, 'a');
    this.child = this.netns.spawn(command, args, { stdio: ['ignore', 'pipe', log], env: environment() });
    closeSync(log);
  }
}

/** What scripts/start.sh gives to Node.js: the last line, between the two paths. */
function nodeFlags() {
  const last = readFileSync(join(ROOT, 'scripts/start.sh'), 'utf8').trim().split('\n').at(-1);
  return last.split(/\s+/).filter((word) => word.startsWith('--'));
}

/** Without settings of whoever runs the benchmark. */
function environment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('QUANTUM_')));
}

/** Namespaces with names, as container runtimes make them. */
export function namedNamespaces(cleanup, count, prefix) {
  return Array.from({ length: count }, (_, index) => {
    const name = `qb-${process.pid}-${prefix}${index}`;
    Netns.create({ name }).close();
    cleanup.add(() => Netns.delete(name));
    return `/run/netns/${name}`;
  });
}
