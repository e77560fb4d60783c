import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { type LinkInfo, NetnsHandle, Rtnl } from '../native/net.js';
import { type ExecOptions, type ExecResult, execIn, spawnIn } from './command.js';
import { createNamed, deleteNamed, listNamed, namedPath } from './named.js';

export interface InterfaceRoute {
  /** `10.0.0.0/8` (no host bits set), or `default4`, `default6`. */
  destination: string;
  via?: string;
  /** `via` is on the interface's own link though no prefix says so. */
  onLink?: boolean;
  scope?: 'link' | 'global';
  /** Preferred source address. */
  source?: string;
  metric?: number;
}

export interface InterfaceSettings {
  mac?: string;
  /** Bytes. */
  mtu?: number;
  /** At most 254 bytes. */
  alias?: string;
  /** `none`: no IPv6 link-local address of its own. */
  addrGenMode?: 'eui64' | 'none';
  /** With prefix length; usable at once (no duplicate address detection). */
  addresses?: readonly string[];
  up?: boolean;
  routes?: readonly InterfaceRoute[];
}

/**
 * One network namespace, held open, with what one does in it. `using ns = Netns.create()` closes it at the end of the
 * block; an unnamed namespace without processes ends with that.
 */
export class Netns implements Disposable {
  /** Where it was opened; undefined for an unnamed one. */
  readonly path: string | undefined;
  readonly handle: NetnsHandle;
  #rtnl: Rtnl | undefined;

  private constructor(handle: NetnsHandle, path?: string) {
    this.handle = handle;
    this.path = path;
  }

  /** The calling thread's. */
  static current(): Netns {
    return new Netns(NetnsHandle.current());
  }

  /** `/run/netns/<name>`, `/proc/<pid>/ns/net`… @throws KernelError ENOENT; EINVAL when it is no network namespace. */
  static open(path: string): Netns {
    return new Netns(NetnsHandle.open(path), path);
  }

  /** The one that a process is in. @throws KernelError ENOENT when there is no such process. */
  static ofProcess(pid: number): Netns {
    if (!Number.isInteger(pid) || pid <= 0) throw new RangeError(`${pid} is no process id`);
    return Netns.open(`/proc/${pid}/ns/net`);
  }

  /** One that `ip netns add` or create() named. */
  static named(name: string): Netns {
    return Netns.open(namedPath(name));
  }

  /**
   * A new one: with a name as `ip netns add` gives it, or unnamed. It has nothing but a `lo` that is down.
   * @throws KernelError EEXIST when the name is taken.
   */
  static create(options: { name?: string } = {}): Netns {
    if (options.name === undefined) return new Netns(NetnsHandle.createUnnamed());
    return new Netns(createNamed(options.name), namedPath(options.name));
  }

  /** Takes the name away, as `ip netns del`. @throws KernelError ENOENT when there is none. */
  static delete(name: string): void {
    deleteNamed(name);
  }

  /** As `ip netns list`. */
  static names(): string[] {
    return listNamed();
  }

  /** The number that `ls -l /proc/<pid>/ns/net` shows. */
  get inode(): number {
    return this.handle.inode;
  }

  /** Links, addresses, routes and neighbours of this namespace in full. Closed with it. */
  get rtnl(): Rtnl {
    if (this.#rtnl === undefined || this.handle.closed) this.#rtnl = Rtnl.open(this.handle);
    return this.#rtnl;
  }

  /**
   * Calls a synchronous function inside; see `NetnsHandle.run` for what Node does synchronously.
   * @throws TypeError when it returns a Promise.
   */
  run<T>(fn: () => T): T {
    return this.handle.run(fn);
  }

  /** Starts a command inside; as `child_process.spawn`. /sys and /etc stay those of the caller. */
  spawn(command: string, args: readonly string[] = [], options: SpawnOptions = {}): ChildProcess {
    return spawnIn(this.handle, command, args, options);
  }

  /** Runs a command inside to its end. @throws CommandError unless it exits with 0. */
  exec(command: string, args: readonly string[] = [], options: ExecOptions = {}): Promise<ExecResult> {
    return execIn(this.handle, command, args, options);
  }

  /** Undefined when there is no such interface. */
  link(name: string): LinkInfo | undefined {
    return this.rtnl.link(name);
  }

  /**
   * Sets up an interface: its own settings, then addresses, then up, then routes (which need all that).
   * Stops at the first failure and leaves what it did: the error says at which address or route.
   * @throws KernelError ENODEV when there is no such interface; EEXIST when an address or a route is there already.
   */
  configure(name: string, settings: InterfaceSettings): void {
    const { addresses = [], routes = [], up, ...link } = settings;
    this.rtnl.setLink(name, link);
    const index = this.rtnl.link(name)?.index ?? 0;
    for (const address of addresses) this.rtnl.addAddress({ index, address, noDad: true });
    if (up !== undefined) this.rtnl.setLink(index, { up });
    for (const route of routes) this.rtnl.addRoute({ ...route, index });
  }

  get closed(): boolean {
    return this.handle.closed;
  }

  /** Idempotent. Does not delete a name. */
  close(): void {
    this.#rtnl?.close();
    this.handle.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
