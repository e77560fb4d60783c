/** What goes in and out of src/native/net.ts. */
import type { NetnsHandle } from './netns-handle.js';

/** State of one interface. */
export interface LinkInfo {
  index: number;
  name: string;
  /** `02:00:00:00:00:01`; empty when the interface has none. */
  mac: string;
  /** Bytes. */
  mtu: number;
  up: boolean;
  /** False: the interface answers and asks no ARP (IFF_NOARP). */
  arp: boolean;
  operState: 'unknown' | 'notpresent' | 'down' | 'lowerlayerdown' | 'testing' | 'dormant' | 'up';
  /** `veth`, `bridge`…; absent for hardware and `lo`. */
  kind?: string;
  alias?: string;
  /** Of the bridge that the interface is a port of. */
  masterIndex?: number;
  /** Of the other end of a veth, *in its own namespace*. */
  peerIndex?: number;
  /** How IPv6 link-local addresses come about. */
  addrGenMode?: 'eui64' | 'none' | 'stable';
}

export interface AddressInfo {
  index: number;
  /** Without prefix length. */
  address: string;
  prefixLength: number;
  family: 4 | 6;
  scope: 'global' | 'site' | 'link' | 'host' | 'nowhere';
  /** IPv4: the broadcast address that it was given, which need not be the last of its range. */
  broadcast?: string;
  noDad: boolean;
  noPrefixRoute: boolean;
  /** IPv6: duplicate address detection is under way, or failed; the address cannot be used. */
  tentative: boolean;
  /** IPv6: its time is nearly up; nothing new is to begin under it. */
  deprecated: boolean;
}

/** One next hop of a unicast route in the main table. */
export interface RouteInfo {
  family: 4 | 6;
  /** `10.0.0.0/8`, or `default4`, `default6`. */
  destination: string;
  scope: 'link' | 'global';
  /** Who made it: `kernel` for what follows from an address, `static` for addRoute(). */
  protocol: 'kernel' | 'boot' | 'static' | 'ra' | 'dhcp' | 'other';
  onLink: boolean;
  via?: string;
  index?: number;
  source?: string;
  metric?: number;
}

export interface NeighbourInfo {
  index: number;
  address: string;
  mac?: string;
  state: 'none' | 'incomplete' | 'reachable' | 'stale' | 'delay' | 'probe' | 'failed' | 'noarp' | 'permanent';
}

export interface CreateLinkOptions {
  /** 1 to 15 bytes. */
  name: string;
  /** The kernel chooses one otherwise. */
  mac?: string | undefined;
  /** Bytes. */
  mtu?: number | undefined;
  /** At most 254 bytes. */
  alias?: string | undefined;
}

export interface CreateVethOptions extends CreateLinkOptions {
  peerName: string;
  /** Where the peer is made; the socket's namespace otherwise. */
  peerNetns?: NetnsHandle | undefined;
  peerMac?: string | undefined;
  /** Of the end that is not the peer. */
  addrGenMode?: 'eui64' | 'none' | undefined;
  /** Of the end that is not the peer. */
  ipv4Conf?: Ipv4Conf | undefined;
}

/** net.ipv4.conf of one interface (Documentation/networking/ip-sysctl.rst). */
export interface Ipv4Conf {
  arpIgnore?: number | undefined;
  acceptRedirects?: number | undefined;
  acceptSourceRoute?: number | undefined;
  dropUnicastInL2Multicast?: number | undefined;
}

/** Of both ends of a veth, each in its own namespace. */
export interface VethIndexes {
  index: number;
  peerIndex: number;
}

/** The queue of an interface that sends no faster than so. */
export interface TokenBucketOptions {
  /** Bytes a second, at most 2^53. */
  rate: number;
  /** Bytes that may be sent at once after a pause; no packet may be larger. */
  burst: number;
  /** Bytes that may wait; what comes beyond is dropped. */
  limit: number;
  /** Packets that may wait, in place of the bytes. */
  packets?: number;
}

/** The queue of an interface that lets each frame go at the time that a program has written on it (sch_fq). */
export interface DepartureQueueOptions {
  /** Packets that may wait; what comes beyond is dropped. */
  limit: number;
}

/** What the kernel tells of a queue; limit 0: of one by departure times that somebody has changed. */
export type QueueInfo =
  | ({ kind: 'tbf' } & Pick<TokenBucketOptions, 'rate' | 'limit' | 'packets'>)
  | ({ kind: 'fq' } & DepartureQueueOptions);

/** What a watch tells of: interfaces, their addresses, routes, or filters and queueing disciplines. */
export type ChangeKind = 'link' | 'address' | 'route' | 'filter';

export interface SetLinkOptions {
  up?: boolean | undefined;
  mac?: string | undefined;
  mtu?: number | undefined;
  name?: string | undefined;
  alias?: string | undefined;
  /** Index of a bridge; null releases the interface. */
  master?: number | null | undefined;
  addrGenMode?: 'eui64' | 'none' | undefined;
  arp?: boolean | undefined;
  /** Moves the interface; its index may change. */
  netns?: NetnsHandle | undefined;
}

export interface AddressOptions {
  index: number;
  /** With prefix length: `10.0.0.1/16`. */
  address: string;
  /** IPv6: usable at once, without duplicate address detection. */
  noDad?: boolean | undefined;
  /** Without the route to the prefix that the kernel adds by itself. */
  noPrefixRoute?: boolean | undefined;
}

export interface RouteKey {
  /** `10.0.0.0/8` (no host bits set), or `default4`, `default6`. */
  destination: string;
  via?: string | undefined;
  index?: number | undefined;
  metric?: number | undefined;
  scope?: 'link' | 'global' | undefined;
  /** Leads nowhere: whatever has no closer route is refused. By default it leads on, by `via` or `index`. */
  type?: 'unreachable' | undefined;
}

export interface RouteOptions extends RouteKey {
  /** `via` is reachable on the interface though no prefix says so. */
  onLink?: boolean | undefined;
  /** Preferred source address. */
  source?: string | undefined;
  /** Replaces a route with the same destination and metric; EEXIST otherwise. */
  replace?: boolean | undefined;
}

export interface NeighbourKey {
  index: number;
  address: string;
}

export interface NeighbourOptions extends NeighbourKey {
  mac: string;
  permanent: true;
}

export interface SocketAddress {
  address: string;
  /** Host order. */
  port: number;
}

/** A socket that takes what comes from anybody: TCP that listens, UDP that is not connected. */
export interface OpenSocket {
  /** `0.0.0.0` or `::` when it is bound to none. */
  address: string;
  /** Bound to `::`, it does not take IPv4. */
  v6Only: boolean;
  uid: number;
  inode: number;
}
