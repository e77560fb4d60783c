/** The addon's network functions as they are: private to src/native. */
import { type Handle, nativeFunctions } from './addon.js';
import type {
  AddressInfo,
  LinkInfo,
  NeighbourInfo,
  OpenSocket,
  QueueInfo,
  RouteInfo,
  SocketAddress,
  VethIndexes,
} from './net-types.js';
import type { NativeNetns } from './netns-handle.js';

export type NativeSocket = Handle<'route-socket'>;
export type NativeWatch = Handle<'watch'>;

/** native/net_*.cc; which option each takes is written there. */
export interface NetFunctions {
  routeSocketOpen(netns: NativeNetns | undefined): NativeSocket;
  routeSocketClose(socket: NativeSocket): void;
  linkCreateVeth(socket: NativeSocket, options: object): VethIndexes;
  linkCreate(socket: NativeSocket, kind: string, options: object): void;
  linkGet(socket: NativeSocket, nameOrIndex: string | number): LinkInfo | undefined;
  linkList(socket: NativeSocket): LinkInfo[];
  linkSet(socket: NativeSocket, nameOrIndex: string | number, options: object): void;
  linkDelete(socket: NativeSocket, nameOrIndex: string | number): boolean;
  linkDeleteAsync(socket: NativeSocket, nameOrIndex: string | number): Promise<boolean>;
  addressAdd(socket: NativeSocket, options: object): void;
  addressDelete(socket: NativeSocket, options: object): boolean;
  addressList(socket: NativeSocket, index?: number): AddressInfo[];
  routeAdd(socket: NativeSocket, options: object): void;
  routeDelete(socket: NativeSocket, options: object): boolean;
  routeGet(socket: NativeSocket, options: object): RouteInfo[];
  routeList(socket: NativeSocket, family?: number, most?: number): RouteInfo[];
  routeListUnreachable(socket: NativeSocket, metric: number): string[];
  neighbourSet(socket: NativeSocket, options: object): void;
  neighbourDelete(socket: NativeSocket, options: object): boolean;
  neighbourList(socket: NativeSocket, index?: number): NeighbourInfo[];
  queueSetTokenBucket(socket: NativeSocket, index: number, options: object): void;
  queueSetDepartureQueue(socket: NativeSocket, index: number, options: object): void;
  queueGet(socket: NativeSocket, index: number): QueueInfo | undefined;
  queueRemove(socket: NativeSocket, index: number): boolean;
  watchOpen(socket: NativeSocket, kinds: number, onChange: (changes: number) => void): NativeWatch;
  watchClose(watch: NativeWatch): void;
  openSockets(protocol: number, port: number): OpenSocket[];
  socketOwner(own: SocketAddress, other: SocketAddress): number | undefined;
}

export const native = nativeFunctions<NetFunctions>();
