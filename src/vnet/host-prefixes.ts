/**
 * Which addresses are the node's own and which ranges belong to networks, as the programs know it. The node's
 * addresses come and go without us: the kernel tells, and the table follows.
 */
import type { EndpointTable, Prefix } from '../datapath/endpoint-table.js';
import { addressBits, cidrOf, parseAddress } from '../model/address.js';
import { type Network, networkRanges } from '../model/network.js';
import type { Rtnl } from '../native/net.js';
import type { Reader } from '../store/store.js';
import { networks } from '../store/tables.js';

export class HostPrefixes {
  private watch: Disposable | undefined;
  private syncing: Promise<void> = Promise.resolve();

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

  /** Makes the table what it should be now. */
  sync(): Promise<void> {
    this.syncing = this.syncing
      .catch(() => undefined)
      .then(() => this.table.syncPrefixes(() => this.wanted()));
    return this.syncing;
  }

  /** Follows the node's addresses until stop(). */
  start(onError: (error: unknown) => void): void {
    this.watch = this.host.watch(['address'], () => void this.sync().catch(onError));
  }

  async stop(): Promise<void> {
    this.watch?.[Symbol.dispose]();
    await this.syncing.catch(() => undefined);
  }

  private wanted(): Prefix[] {
    const own: Prefix[] = this.host.addresses().map(({ address }) => hostPrefix(address));
    return [...this.reader.list(networks).flatMap(prefixesOf), ...own];
  }
}

/** Every address that is the node's own, as text. */
export function ownAddresses(reader: Reader, host: Rtnl): Set<string> {
  const gateways = reader.list(networks).flatMap(networkRanges);
  return new Set([
    ...gateways.map(({ gateway }) => gateway),
    ...host.addresses().map(({ address }) => address),
  ]);
}

/** The ranges of a network, and its gateways, which are addresses of the node. */
function prefixesOf(network: Network): Prefix[] {
  return networkRanges(network).flatMap(({ cidr, gateway }) => [
    hostPrefix(gateway),
    { cidr, networkId: network.id, gateway },
  ]);
}

function hostPrefix(text: string): Prefix {
  const address = parseAddress(text);
  return { cidr: cidrOf(address, addressBits(address.family)), networkId: undefined, gateway: undefined };
}
