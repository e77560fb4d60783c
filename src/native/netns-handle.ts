/** Network namespaces held open; public through net.ts. */
import { type Handle, nativeFunctions } from './addon.js';
import { ClosedError } from './errors.js';

/** What a function of the addon takes for a namespace. */
export type NativeNetns = Handle<'netns'>;

/** native/net_netns.cc */
interface NetnsFunctions {
  netnsCurrent(): NativeNetns;
  netnsOpen(path: string): NativeNetns;
  netnsCreate(): NativeNetns;
  netnsInfo(netns: NativeNetns): { inode: number; device: number };
  netnsCookie(netns: NativeNetns): bigint;
  netnsFd(netns: NativeNetns): number;
  netnsSharesUser(netns: NativeNetns): boolean;
  netnsPin(netns: NativeNetns, path: string): void;
  netnsUnpin(path: string): void;
  netnsShareDirectory(path: string): void;
  netnsRun<T>(netns: NativeNetns, fn: () => T): T;
  netnsClose(netns: NativeNetns): void;
}

const native = nativeFunctions<NetnsFunctions>();

/** What the `native` functions need of a namespace; kept out of the public surface. */
const nativeOf = new WeakMap<NetnsHandle, NativeNetns>();

/** A network namespace that is held open: it exists at least until close(). */
export class NetnsHandle implements Disposable {
  /** Tells namespaces apart (with `device`) as long as they exist: `net:[4026531840]` in /proc. */
  readonly inode: number;
  readonly device: number;
  readonly #native: NativeNetns;
  #closed = false;

  private constructor(handle: NativeNetns) {
    this.#native = handle;
    nativeOf.set(this, handle);
    const { inode, device } = native.netnsInfo(handle);
    this.inode = inode;
    this.device = device;
  }

  /** The calling thread's. */
  static current(): NetnsHandle {
    return new NetnsHandle(native.netnsCurrent());
  }

  /** @throws KernelError ENOENT; EINVAL when the path is anything but a network namespace. */
  static open(path: string): NetnsHandle {
    return new NetnsHandle(native.netnsOpen(path));
  }

  /** A new one with nothing but a `lo` that is down. The calling thread does not enter it. */
  static createUnnamed(): NetnsHandle {
    return new NetnsHandle(native.netnsCreate());
  }

  /**
   * Whether it belongs to our own user namespace (or one above it): then CAP_NET_ADMIN in it is CAP_NET_ADMIN in every
   * network namespace of that owner, the node's included.
   */
  get sharesUserNamespace(): boolean {
    return native.netnsSharesUser(this.#open());
  }

  /** The number that BPF programs know it by; no other namespace gets it until the next boot. */
  get cookie(): bigint {
    return native.netnsCookie(this.#open());
  }

  /**
   * Keeps the namespace alive under a path: creates the file and mounts the namespace on it, as `ip netns add` does.
   * @throws KernelError EEXIST, ENOENT…
   */
  pinTo(path: string): void {
    native.netnsPin(this.#open(), path);
  }

  /** Undoes pinTo(). @throws KernelError ENOENT; EINVAL when the file is neither a network namespace nor empty. */
  static unpin(path: string): void {
    native.netnsUnpin(path);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The descriptor, owned by this handle. */
  get fd(): number {
    return native.netnsFd(this.#open());
  }

  /**
   * Calls `fn` with the calling thread in this namespace, and returns to the first one whatever happens (the process
   * aborts if it cannot). `fn` must do its work before it returns: sockets that it *creates* stay in this namespace,
   * but whatever Node does later (name lookups, `listen` with a host, `fetch`) happens outside.
   * @throws TypeError when `fn` returns a Promise (or is async): its work would go on outside.
   */
  run<T>(fn: () => T): T {
    const result = native.netnsRun(this.#open(), fn);
    if (isThenable(result)) {
      // Nobody can wait for it any more: without this, its failure would end the process.
      result.then(undefined, () => {});
      throw new TypeError(
        'a function that runs in a network namespace must be synchronous: it returned a Promise',
      );
    }
    return result;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    native.netnsClose(this.#native);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #open(): NativeNetns {
    if (this.#closed) throw new ClosedError('network namespace');
    return this.#native;
  }
}

/**
 * Makes the directory (created if it is missing, mode 0755) a mount point whose mounts show in all mount namespaces:
 * what `ip netns add` does with /run/netns. Repeatable.
 */
export function shareNetnsDirectory(path: string): void {
  native.netnsShareDirectory(path);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}

/** Of an open namespace; ClosedError otherwise. */
export function openNative(netns: NetnsHandle): NativeNetns {
  const handle = nativeOf.get(netns);
  if (handle === undefined || netns.closed) throw new ClosedError('network namespace');
  return handle;
}
