/**
 * Network namespaces, links, addresses, routes and neighbours: the kernel's rtnetlink, without `ip` processes.
 *
 * Everything but deleteLinkAsync() is synchronous: tens of microseconds each, but see deleteLink(). Failures of the kernel are `KernelError` with the kernel's own
 * words where it gives any; wrong arguments are `TypeError` or `RangeError`; use after close() is `ClosedError`.
 */
import { ClosedError } from './errors.js';
import { type NativeSocket, native } from './net-functions.js';
import type {
  AddressInfo,
  AddressOptions,
  ChangeKind,
  CreateLinkOptions,
  CreateVethOptions,
  DepartureQueueOptions,
  LinkInfo,
  NeighbourInfo,
  NeighbourKey,
  NeighbourOptions,
  OpenSocket,
  QueueInfo,
  RouteInfo,
  RouteKey,
  RouteOptions,
  SetLinkOptions,
  SocketAddress,
  TokenBucketOptions,
  VethIndexes,
} from './net-types.js';
import { type NetnsHandle, openNative } from './netns-handle.js';

export type * from './net-types.js';
export { NetnsHandle, shareNetnsDirectory } from './netns-handle.js';

/** Bits of what a watch reports; as in native/net_watch.cc. */
const CHANGES: readonly (readonly [kind: ChangeKind, bit: number])[] = [
  ['link', 1],
  ['address', 2],
  ['route', 4],
  ['filter', 8],
];

/** Watches go on until they are closed, not until the garbage collector finds them. */
const activeWatches = new Set<Disposable>();

/** An rtnetlink socket, bound for life to the namespace that it was opened in. */
export class Rtnl implements Disposable {
  readonly #native: NativeSocket;
  #closed = false;

  private constructor(socket: NativeSocket) {
    this.#native = socket;
  }

  /** In `netns`, which may be closed afterwards; in the calling thread's if it is not given. */
  static open(netns?: NetnsHandle): Rtnl {
    return new Rtnl(native.routeSocketOpen(netns && openNative(netns)));
  }

  /** Both ends come up in one step, in their namespaces, down, with their addresses and the same MTU. */
  createVeth({ peerNetns, ipv4Conf, ...options }: CreateVethOptions): VethIndexes {
    return native.linkCreateVeth(this.#open(), { ...options, ...ipv4Conf, peerNetnsFd: peerNetns?.fd });
  }

  createBridge(options: CreateLinkOptions): void {
    native.linkCreate(this.#open(), 'bridge', options);
  }

  /** @throws KernelError EOPNOTSUPP when the kernel has no dummy interfaces. */
  createDummy(options: CreateLinkOptions): void {
    native.linkCreate(this.#open(), 'dummy', options);
  }

  /** Undefined when there is none. */
  link(nameOrIndex: string | number): LinkInfo | undefined {
    return native.linkGet(this.#open(), nameOrIndex);
  }

  links(): LinkInfo[] {
    return native.linkList(this.#open());
  }

  /** One message: the kernel applies one after another and stops at the first that fails. */
  setLink(nameOrIndex: string | number, { netns, master, ...options }: SetLinkOptions): void {
    const numbers = { master: master === null ? 0 : master, netnsFd: netns?.fd };
    native.linkSet(this.#open(), nameOrIndex, { ...options, ...numbers });
  }

  /**
   * False when there is none. A veth's peer goes with it. The kernel waits until nobody uses the link any more:
   * tens of milliseconds, in which this thread stands still.
   */
  deleteLink(nameOrIndex: string | number): boolean {
    return native.linkDelete(this.#open(), nameOrIndex);
  }

  /** As deleteLink(), off the event loop; goes on after this socket is closed. */
  async deleteLinkAsync(nameOrIndex: string | number): Promise<boolean> {
    return native.linkDeleteAsync(this.#open(), nameOrIndex);
  }

  addAddress(options: AddressOptions): void {
    native.addressAdd(this.#open(), options);
  }

  /** False when the address, or the interface, is not there. */
  deleteAddress(options: AddressOptions): boolean {
    return native.addressDelete(this.#open(), options);
  }

  /** Of one interface, or of all. */
  addresses(index?: number): AddressInfo[] {
    return native.addressList(this.#open(), index);
  }

  addRoute(options: RouteOptions): void {
    native.routeAdd(this.#open(), options);
  }

  /** Deletes the first route that has everything that is said; false when none has. */
  deleteRoute(key: RouteKey): boolean {
    return native.routeDelete(this.#open(), key);
  }

  /**
   * Unicast routes of the main table; one entry for each next hop. Of a namespace whose owner may fill the table, `most`
   * limits the answer: then KernelError E2BIG, and nothing more can be listed by this socket.
   */
  routes(family?: 4 | 6, most?: number): RouteInfo[] {
    return native.routeList(this.#open(), family, most);
  }

  /**
   * The route to an address that the kernel takes, by the interface if it is given, by next hop; none when it has no
   * unicast route in the main table.
   */
  routeTo(address: string, index?: number): RouteInfo[] {
    return native.routeGet(this.#open(), { address, index });
  }

  /** Destinations of the routes of that metric that refuse what has no closer one. */
  unreachable(metric: number): string[] {
    return native.routeListUnreachable(this.#open(), metric);
  }

  /** Creates it, or replaces what the kernel knew of this address. */
  setNeighbour(options: NeighbourOptions): void {
    native.neighbourSet(this.#open(), options);
  }

  /** False when there is none. */
  deleteNeighbour(key: NeighbourKey): boolean {
    return native.neighbourDelete(this.#open(), key);
  }

  /** Of one interface, or of all. */
  neighbours(index?: number): NeighbourInfo[] {
    return native.neighbourList(this.#open(), index);
  }

  /** Puts a token bucket in the place of the interface's queue. KernelError ENOENT: the kernel has none (sch_tbf). */
  setTokenBucket(index: number, options: TokenBucketOptions): void {
    native.queueSetTokenBucket(this.#open(), index, options);
  }

  /** Likewise one that goes by departure times. KernelError ENOENT: the kernel has none (sch_fq). */
  setDepartureQueue(index: number, options: DepartureQueueOptions): void {
    native.queueSetDepartureQueue(this.#open(), index, options);
  }

  /** Undefined when the interface has none that was made here. */
  queue(index: number): QueueInfo | undefined {
    return native.queueGet(this.#open(), index);
  }

  /** False when there is none that was made here. */
  removeQueue(index: number): boolean {
    return native.queueRemove(this.#open(), index);
  }

  /**
   * Calls back when something of these kinds came, went or changed in this namespace: once for all changes that have
   * gathered. Does not keep the process alive, and goes on after this socket is closed.
   */
  watch(kinds: readonly ChangeKind[], onChange: (kind: ChangeKind) => void): Disposable {
    let closed = false;
    const wanted = CHANGES.filter(([kind]) => kinds.includes(kind));
    const bits = wanted.reduce((all, [, bit]) => all | bit, 0);
    const handle = native.watchOpen(this.#open(), bits, (changes) => {
      for (const [kind, bit] of wanted) if (!closed && changes & bit) onChange(kind);
    });
    const watch = {
      [Symbol.dispose]() {
        if (closed) return;
        closed = true;
        activeWatches.delete(watch);
        native.watchClose(handle);
      },
    };
    activeWatches.add(watch);
    return watch;
  }

  get closed(): boolean {
    return this.#closed;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    native.routeSocketClose(this.#native);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #open(): NativeSocket {
    if (this.#closed) throw new ClosedError('rtnetlink socket');
    return this.#native;
  }
}

/**
 * User id of the *other* end of a TCP connection within this machine, as the kernel knows it.
 *
 * `local` and `remote` are as this end sees them (`socket.localAddress`…). Undefined when there is no such socket in
 * the calling thread's network namespace, or when its process has closed it already: ask before you answer.
 */
export function socketOwner({
  local,
  remote,
}: {
  local: SocketAddress;
  remote: SocketAddress;
}): number | undefined {
  return native.socketOwner(remote, local);
}

/** Open sockets of the port, in the calling thread's network namespace. protocol: IPPROTO_TCP or IPPROTO_UDP. */
export function openSockets(protocol: number, port: number): OpenSocket[] {
  return native.openSockets(protocol, port);
}
