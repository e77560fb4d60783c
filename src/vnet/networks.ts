/** Virtual networks: their records, their bridge on the host, and their place in the policy. */

import { ownerOf } from '../bridge/aliases.js';
import { ensureNetworkDevice, removeNetworkDevice } from '../bridge/network-device.js';
import type { NetworkSource, SourceAddresses } from '../datapath/source-addresses.js';
import {
  cidrContains,
  cidrsOverlap,
  type Family,
  formatCidr,
  parseAddress,
  parseCidr,
} from '../model/address.js';
import { AppError } from '../model/errors.js';
import {
  hasSourceAddress,
  type Network,
  type NetworkRequest,
  networkFrom,
  networkRanges,
  requireDriver,
  sourceAddressesOf,
} from '../model/network.js';
import type { ServiceRecord } from '../model/service.js';
import type { Rtnl } from '../native/net.js';
import type { Reader, Store, Transaction } from '../store/store.js';
import {
  endpointKeys,
  networks,
  nextNumber,
  type RuntimeNetworkRecord,
  requireGiven,
  runtimeNetworks,
  services,
} from '../store/tables.js';
import type { NetworkService } from './contract.js';
import type { HostPrefixes } from './host-prefixes.js';
import { addressUsage, forgetAddresses } from './ipam.js';
import { addressesOf, serviceName } from './nat/published.js';
import type { EngineChange, PolicySync } from './policy/policy-sync.js';
import { type OnLeft, Rollback } from './rollback.js';
import type { Serial } from './serial.js';

/** Files that tell container runtimes of a network. */
export interface NetworkFiles {
  /** Throws NETWORK_EXISTS when a file of that name is not ours. */
  write(network: Network): Promise<void>;
  remove(network: Network): Promise<void>;
}

export interface NetworksParts {
  store: Store;
  serial: Serial;
  host: Rtnl;
  prefixes: HostPrefixes;
  sources: SourceAddresses;
  policy: PolicySync;
  files: NetworkFiles;
  onLeft: OnLeft;
}

export class Networks implements NetworkService {
  constructor(private readonly parts: NetworksParts) {}

  list(): Network[] {
    return this.parts.store.list(networks);
  }

  get(name: string): Network {
    return requireNetwork(this.parts.store, name);
  }

  /** The family of which the network has no free address left, if there is one. */
  exhaustedFamily(network: Network): Family | undefined {
    return ([4, 6] as const).find((family) => {
      if ((family === 4 ? network.cidr : network.cidr6) === undefined) return false;
      const { used, capacity } = addressUsage(this.parts.store, network, family);
      return BigInt(used) >= capacity;
    });
  }

  create(request: NetworkRequest): Promise<Network> {
    return this.parts.serial.run(async () => {
      const { store, host, prefixes, sources, policy, files, onLeft } = this.parts;
      requireDriver(request.driver);
      const { result: network } = await store.stage(
        (transaction) => this.draft(transaction, request),
        'soon',
      );
      const { id, name } = network;
      const comes: EngineChange = (engine) => engine.upsertingNetwork(network);
      const goes: EngineChange = (engine) => engine.removingNetwork(id);
      const rollback = new Rollback(onLeft);
      try {
        // Rules of policies that mean every endpoint may have no room for those of another network.
        await policy.change(comes, goes, async () => {
          await store.transaction((transaction) => {
            requireGiven(transaction, 'network', id);
            transaction.put(networks, [name], network);
          });
          rollback.add(`the record of network ${name}`, () =>
            store.transaction((transaction) => eraseNetwork(transaction, network)),
          );
        });
        rollback.add(`rules about network ${name}`, () => policy.change(goes, comes));
        await files.write(network);
        rollback.add(`the files of network ${name}`, () => files.remove(network));
        // The ranges are known before an address of theirs exists: until then they were the outside world's.
        prefixes.addNetwork(network);
        rollback.add(`the ranges of network ${name}`, () => prefixes.removeNetwork(network));
        for (const source of networkSources([network])) {
          sources.put(source);
          rollback.add(`the source address of network ${name}`, () => sources.remove(id));
        }
        rollback.add(`the bridge of network ${name}`, () => removeNetworkDevice(host, network));
        ensureNetworkDevice(host, network);
        return network;
      } catch (error) {
        await rollback.run();
        throw error;
      }
    });
  }

  delete(name: string): Promise<void> {
    return this.parts.serial.run(async () => {
      const { store, host, prefixes, sources, policy, files, onLeft } = this.parts;
      const network = this.unused(name);
      const comes: EngineChange = (engine) => engine.upsertingNetwork(network);
      const goes: EngineChange = (engine) => engine.removingNetwork(network.id);
      const rollback = new Rollback(onLeft);
      try {
        // Erased before the rules go: what then fails is taken back without asking the kernel for room.
        await policy.change(goes, comes, async () => {
          const bound = await store.transaction((transaction) => eraseNetwork(transaction, network));
          rollback.add(`network ${name} is in force and not recorded`, () =>
            store.transaction((transaction) => {
              transaction.put(networks, [name], network);
              for (const one of bound) transaction.put(runtimeNetworks, [one.key], one);
            }),
          );
        });
      } catch (error) {
        await rollback.run();
        throw error;
      }
      // It is gone, and a daemon that starts anew would finish the rest: the bridge is nobody's.
      const rest = new Rollback(onLeft);
      rest.add(`the files of network ${name}`, () => files.remove(network));
      rest.add(`the source address of network ${name}`, () => sources.remove(network.id));
      rest.add(`the ranges of network ${name}`, () => prefixes.removeNetwork(network));
      rest.add(`the bridge of network ${name}`, () => removeNetworkDevice(host, network));
      await rest.run();
    });
  }

  /** Throws NETWORK_NOT_FOUND, NETWORK_IN_USE. */
  private unused(name: string): Network {
    const { store } = this.parts;
    const network = requireNetwork(store, name);
    if (store.any(endpointKeys, [network.id])) {
      throw new AppError('NETWORK_IN_USE', `containers are connected to the network ${name}`);
    }
    const service = store.list(services).find(({ network: named }) => named === name);
    if (service === undefined) return network;
    throw new AppError('NETWORK_IN_USE', `the service ${serviceName(service)} names the network ${name}`);
  }

  /** A network that may be made, and its number; not recorded. */
  private draft(transaction: Transaction, request: NetworkRequest): Network {
    if (transaction.get(networks, [request.name]) !== undefined) {
      throw new AppError('NETWORK_EXISTS', `a network ${request.name} exists`);
    }
    const id = nextNumber(transaction, 'network');
    const network = networkFrom(request, { id, created_at: new Date().toISOString() });
    const others = transaction.list(networks);
    const served = transaction.list(services).flatMap(serviceRanges);
    refuseOverlap(network, [
      ...others.flatMap(networkTaken),
      ...others.flatMap(sourcesTaken),
      ...hostRanges(this.parts.host),
      ...served,
    ]);
    refuseSource(network, [...[network, ...others].flatMap(networkTaken), ...served]);
    return network;
  }
}

/** Of the networks that do not leave under the uplink's address. */
export function networkSources(list: readonly Network[]): NetworkSource[] {
  return list.filter(hasSourceAddress).map(({ id, options }) => ({
    networkId: id,
    ip4: options.source_address,
    ip6: options.source_address6,
  }));
}

/** The network of that name. Throws NETWORK_NOT_FOUND. */
export function requireNetwork(reader: Reader, name: string): Network {
  const network = reader.get(networks, [name]);
  if (network === undefined) throw new AppError('NETWORK_NOT_FOUND', `there is no network ${name}`);
  return network;
}

/** Throws NETWORK_IN_USE. Returns what container runtimes called the network. */
function eraseNetwork(transaction: Transaction, network: Network): RuntimeNetworkRecord[] {
  transaction.delete(networks, [network.name]);
  const bound = transaction.where(runtimeNetworks, ({ network_id }) => network_id === network.id);
  for (const { key } of bound) transaction.delete(runtimeNetworks, [key]);
  forgetAddresses(transaction, network);
  return bound;
}

interface TakenRange {
  range: string;
  owner: string;
}

function refuseOverlap(network: Network, taken: readonly TakenRange[]): void {
  for (const { cidr } of networkRanges(network)) {
    const clash = taken.find(({ range }) => cidrsOverlap(cidr, parseCidr(range)));
    if (clash === undefined) continue;
    throw new AppError('CIDR_OVERLAP', `${formatCidr(cidr)} overlaps ${clash.range} of ${clash.owner}`, {
      details: [
        { path: cidr.family === 4 ? 'cidr' : 'cidr6', message: `overlaps ${clash.range} of ${clash.owner}` },
      ],
    });
  }
}

/** A network over the address of a service would take what is sent there. */
function serviceRanges(service: ServiceRecord): TakenRange[] {
  return addressesOf(service).map((address) => ({
    range: single(address),
    owner: `the service ${serviceName(service)}`,
  }));
}

/** Who leaves under an address of the fabric would never get an answer. */
function refuseSource(network: Network, taken: readonly TakenRange[]): void {
  for (const { option, address } of sourceAddressesOf(network)) {
    const clash = taken.find(({ range }) => cidrContains(parseCidr(range), parseAddress(address)));
    if (clash === undefined) continue;
    const message = `is in ${clash.range} of ${clash.owner}`;
    throw new AppError('CIDR_OVERLAP', `${address} ${message}`, {
      details: [{ path: `options.${option}`, message }],
    });
  }
}

function networkTaken(network: Network): TakenRange[] {
  const owner = `network ${network.name}`;
  return networkRanges(network).map(({ cidr }) => ({ range: formatCidr(cidr), owner }));
}

function sourcesTaken(network: Network): TakenRange[] {
  return sourceAddressesOf(network).map(({ option, address }) => ({
    range: single(address),
    owner: `network ${network.name} (${option})`,
  }));
}

/** The range of one address, as text. */
function single(address: string): string {
  return `${address}/${address.includes(':') ? 128 : 32}`;
}

/** Ranges that the node's own interfaces are in: a network over one would take the node's traffic. */
function hostRanges(host: Rtnl): TakenRange[] {
  const links = new Map(host.links().map((link) => [link.index, link]));
  return host.addresses().flatMap((address) => {
    const link = links.get(address.index);
    if (link === undefined || link.name === 'lo' || ownerOf(link) !== undefined || address.scope === 'link')
      return [];
    const range = formatCidr(parseCidr(`${address.address}/${address.prefixLength}`, 'mask'));
    return [{ range, owner: `the node's interface ${link.name}` }];
  });
}
