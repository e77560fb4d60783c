/**
 * Which addresses are the node's own and which ranges belong to networks, as the programs know it. The node's
 * addresses come and go without us: the kernel tells, and the table follows.
 *
 * With an address the kernel takes others for itself: the broadcast address of its range, the subnet-router anycast
 * address in IPv6, and of an IPv4 range on lo every address. What is sent there reaches sockets of the node, so they
 * are the node too.
 */
import { isDeepStrictEqual } from 'node:util';
import type { EndpointTable, Prefix } from '../datapath/endpoint-table.js';
import {
  type Address,
  addressBits,
  type Cidr,
  cidrContains,
  cidrOf,
  cidrWithin,
  formatCidr,
  lastAddress,
  parseAddress,
} from '../model/address.js';
import { type Network, networkRanges } from '../model/network.js';
import type { AddressInfo, Rtnl } from '../native/net.js';
import type { Reader } from '../store/store.js';
import { networks, services } from '../store/tables.js';
import { addressesOf } from './nat/published.js';

/** Of `lo` (LOOPBACK_IFINDEX of linux/net_namespace.h). */
const LOOPBACK_INDEX = 1;

/** What is inside, and what tells it. */
interface Inside {
  readonly by: readonly object[];
  readonly ranges: readonly Cidr[];
}

export class HostPrefixes {
  private watch: Disposable | undefined;
  /** The node's, when it was looked last: the kernel tells when to look again. */
  private addresses: readonly AddressInfo[] = [];
  private known: Inside | undefined;
  private syncing: Promise<boolean> = Promise.resolve(false);

  constructor(
    private readonly reader: Reader,
    private readonly host: Rtnl,
    private readonly table: EndpointTable,
  ) {}

  addNetwork(network: Network): void {
    for (const prefix of prefixesOf(network)) this.table.putPrefix(prefix);
  }

  removeNetwork(network: Network): void {
    for (const { cidr } of prefixesOf(network)) this.table.removePrefix(cidr);
  }

  /** Programs look for a service at the address from now on. */
  addService(address: string): void {
    this.table.putPrefix(servicePrefix(address));
  }

  removeService(address: string): void {
    this.table.removePrefix(servicePrefix(address).cidr);
  }

  /**
   * Addresses that nobody outside has: the node's own, as the kernel has told last, and those of networks and services. The
   * same object as long as they are the same.
   */
  inside(): readonly Cidr[] {
    const { addresses } = this;
    const list = this.reader.list(networks);
    const listed = this.reader.list(services);
    // Records are replaced, never changed.
    const by = [...list, ...listed, addresses];
    if (this.known === undefined || !isSame(this.known.by, by)) {
      const ranges = [
        ...list.flatMap(networkRanges).map(({ cidr }) => cidr),
        ...listed.flatMap(addressesOf).map(single),
        ...ownOf(list, addresses),
      ];
      this.known = { by, ranges };
    }
    return this.known.ranges;
  }

  /** Makes the table what it should be now. True: something was otherwise. */
  sync(): Promise<boolean> {
    this.syncing = this.syncing
      .catch(() => undefined)
      .then(() => this.table.syncPrefixes(() => this.wanted()));
    return this.syncing;
  }

  /** Follows the node's addresses until stop(). `onChange`: who is the node and who is not has changed. */
  start(onChange: () => Promise<void>, onError: (error: unknown) => void): void {
    const follow = async () => {
      if (await this.sync()) await onChange();
    };
    this.watch = this.host.watch(['address'], () => void follow().catch(onError));
  }

  async stop(): Promise<void> {
    this.watch?.[Symbol.dispose]();
    await this.syncing.catch(() => undefined);
  }

  private wanted(): Prefix[] {
    const addresses = this.host.addresses();
    if (!isDeepStrictEqual(addresses, this.addresses)) this.addresses = addresses;
    const own = takenRanges(this.reader.list(networks), addresses);
    const taken = new Set(own.map(formatCidr));
    return [
      ...this.reader.list(networks).flatMap(prefixesOf),
      // What is the node's own is that, should it have got the address of a service.
      ...this.reader
        .list(services)
        .flatMap(addressesOf)
        .map(servicePrefix)
        .filter(({ cidr }) => !taken.has(formatCidr(cidr))),
      ...own.map(nodePrefix),
    ];
  }
}

/** Whether an address is the node's own. */
export type IsOwn = (address: Address) => boolean;

/** As party_of_address() of the programs has it now. */
export function ownAddresses(reader: Reader, host: Rtnl): IsOwn {
  const own = ownRanges(reader, host);
  const strangers = reader.list(networks).flatMap(networkRanges);
  return (address) => {
    // The narrowest range counts.
    const around = strangers.find(({ cidr }) => cidrContains(cidr, address))?.cidr;
    return own.some((range) => cidrContains(range, address) && !(around && cidrWithin(around, range)));
  };
}

/** Every range that is the node's own, most of them of one address. */
export function ownRanges(reader: Reader, host: Rtnl): Cidr[] {
  return ownOf(reader.list(networks), host.addresses());
}

function ownOf(list: readonly Network[], found: readonly AddressInfo[]): Cidr[] {
  const gateways = list.flatMap(networkRanges).map(({ gateway }) => single(gateway));
  const ranges = [...gateways, ...takenRanges(list, found)];
  return [...new Map(ranges.map((range) => [formatCidr(range), range])).values()];
}

/** What the kernel takes for the node. Of a network's range that is the gateway's address alone: the rest is nobody's. */
export function takenRanges(list: readonly Network[], found: readonly AddressInfo[]): Cidr[] {
  const ranges = list.flatMap(networkRanges).map(({ cidr }) => cidr);
  const isOfNetwork = (taken: Cidr) => ranges.some((range) => cidrWithin(taken, range));
  return [
    ...found.map(({ address }) => single(address)),
    ...found.flatMap(takenWith).filter((taken) => !isOfNetwork(taken)),
  ];
}

/** What the kernel takes for itself with an address: fib_add_ifaddr() and addrconf_join_anycast() of Linux. */
function takenWith({ index, address, prefixLength, family, broadcast }: AddressInfo): Cidr[] {
  const range = cidrOf(parseAddress(address), prefixLength);
  if (family === 6) return prefixLength < 127 ? [hostRange({ family, value: range.base })] : [];
  return [
    ...(index === LOOPBACK_INDEX ? [range] : []),
    ...(prefixLength < 31 ? [hostRange(lastAddress(range))] : []),
    ...(broadcast === undefined ? [] : [single(broadcast)]),
  ];
}

/** The ranges of a network, and its gateways, which are addresses of the node. */
function prefixesOf(network: Network): Prefix[] {
  return networkRanges(network).flatMap(({ cidr, gateway }) => [
    nodePrefix(single(gateway)),
    { cidr, networkId: network.id, gateway },
  ]);
}

function servicePrefix(address: string): Prefix {
  return { cidr: single(address), networkId: 'service', gateway: undefined };
}

function nodePrefix(cidr: Cidr): Prefix {
  return { cidr, networkId: undefined, gateway: undefined };
}

function single(text: string): Cidr {
  return hostRange(parseAddress(text));
}

/** The range of that address alone. */
function hostRange(address: Address): Cidr {
  return cidrOf(address, addressBits(address.family));
}

function isSame(left: readonly object[], right: readonly object[]): boolean {
  return left.length === right.length && left.every((one, index) => one === right[index]);
}
