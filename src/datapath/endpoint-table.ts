/** Who is where, as the programs see it: interfaces, addresses, and the ranges that belong to the fabric. */
import { addressBits, type Cidr, eui64LinkLocal, parseAddress, toBytes16 } from '../model/address.js';
import type { Buckets } from '../model/bandwidth.js';
import {
  type AddressKey,
  Endpoint,
  EndpointFlags,
  type NamedPortKey,
  NamedPortLimit,
  NamedPortValue,
  PrefixEntry,
  PrefixKind,
  UplinkFragments,
} from './abi/generated.js';
import { BandwidthTable } from './bandwidth-table.js';
import type { DatapathMaps } from './maps.js';

const NO_ADDRESS = new Uint8Array(16);

/** An endpoint as the programs need it. */
export interface EndpointState {
  ifindex: number;
  id: number;
  networkId: number;
  identity: number;
  ip4?: { address: string; prefixLength: number };
  ip6?: { address: string; prefixLength: number };
  mac: string;
  gatewayMac: string;
  multicast: boolean;
  broadcast: boolean;
  masquerade: boolean;
  /** Its network is in SourceAddresses. */
  sourceAddress: boolean;
  /** Its veth takes frames from XDP. */
  takesFrames: boolean;
  /** How much it may send and receive. */
  bandwidth: Buckets;
  /** The ports that have names. */
  namedPorts: readonly NamedPort[];
}

/** A port with the numbers of its names, which are at most PORT_NAMES_MAX. */
export interface NamedPort {
  /** IPPROTO_* */
  protocol: number;
  port: number;
  names: readonly number[];
}

/** A range of qn_prefixes. */
export interface Prefix {
  cidr: Cidr;
  /** The network that the range belongs to; `service`: the address of a service; undefined: the node itself. */
  networkId: number | 'service' | undefined;
  /** The node's address in the network; undefined with anything else. */
  gateway: string | undefined;
}

type Maps = Pick<
  DatapathMaps,
  'endpoints' | 'addresses' | 'prefixes' | 'namedPorts' | 'flowCounts' | 'fragments' | 'bandwidth'
>;

export class EndpointTable {
  private readonly bandwidth: BandwidthTable;

  constructor(private readonly maps: Maps) {
    this.bandwidth = new BandwidthTable(maps.bandwidth);
  }

  /**
   * Creates or replaces, first what its ports are called and its limits, then who it is and then where to find it: no
   * address ever leads to an unknown endpoint.
   */
  put(state: EndpointState): void {
    this.bandwidth.put(state.id, state.bandwidth);
    for (const value of namedPortValues(state)) this.maps.namedPorts.set(value.key, value);
    this.maps.endpoints.set(state.ifindex, encodeEndpoint(state));
    this.bandwidth.prune(state.id, state.bandwidth);
    for (const key of addressKeys(state)) {
      this.maps.addresses.set(key, { ifindex: state.ifindex, endpointId: state.id });
    }
  }

  /**
   * Removes an endpoint, what its addresses lead to, its account of flows and its fragments; what is not there is fine. The
   * interface may be gone: then its addresses tell which it was.
   */
  remove(state: EndpointState, ifindex: number | undefined): void {
    const interfaces = new Set(ifindex === undefined ? [] : [ifindex]);
    for (const key of addressKeys(state)) {
      const entry = this.maps.addresses.get(key);
      if (entry?.endpointId !== state.id) continue;
      interfaces.add(entry.ifindex);
      this.maps.addresses.delete(key);
    }
    for (const index of interfaces) {
      if (this.maps.endpoints.get(index)?.id === state.id) this.maps.endpoints.delete(index);
    }
    for (const { key } of namedPortValues(state)) this.maps.namedPorts.delete(key);
    this.bandwidth.prune(state.id, {});
    this.forget(state.id);
  }

  /** Removes what the programs keep of an endpoint that is gone: one that was still running may have made it anew. */
  forget(id: number): void {
    this.maps.flowCounts.delete(id);
    this.maps.fragments.delete(id);
  }

  /** Whether the kernel has the endpoint exactly so. */
  matches(state: EndpointState): boolean {
    const found = this.maps.endpoints.get(state.ifindex);
    return (
      found !== undefined &&
      sameEndpoint(found, encodeEndpoint(state)) &&
      this.bandwidth.matches(state.id, state.bandwidth) &&
      addressKeys(state).every((key) => {
        const entry = this.maps.addresses.get(key);
        return entry?.ifindex === state.ifindex && entry.endpointId === state.id;
      }) &&
      namedPortValues(state).every((value) => sameNames(this.maps.namedPorts.get(value.key), value))
    );
  }

  /** Removes every entry that belongs to none of these endpoints. */
  async retain(states: readonly EndpointState[]): Promise<void> {
    const ids = new Map(states.map((state) => [state.id, state]));
    for (const [key, entry] of await this.maps.addresses.entries()) {
      const state = ids.get(entry.endpointId);
      if (state === undefined || !addressKeys(state).some((own) => sameAddress(own, key)))
        this.maps.addresses.delete(key);
    }
    for (const [ifindex, endpoint] of await this.maps.endpoints.entries()) {
      if (ids.get(endpoint.id)?.ifindex !== ifindex) this.maps.endpoints.delete(ifindex);
    }
    for (const [key, value] of await this.maps.namedPorts.entries()) {
      const state = ids.get(key.endpointId);
      if (state === undefined || !namedPortValues(state).some((own) => sameNames(own, value)))
        this.maps.namedPorts.delete(key);
    }
    await this.bandwidth.retain(ids);
    for (const [id] of await this.maps.flowCounts.entries()) {
      if (id !== 0 && !ids.has(id)) this.maps.flowCounts.delete(id);
    }
    for (const [id] of await this.maps.fragments.entries()) {
      if (id < UplinkFragments.FIRST && !ids.has(id)) this.maps.fragments.delete(id);
    }
  }

  putPrefix(prefix: Prefix): void {
    this.maps.prefixes.set(prefixKey(prefix.cidr), encodePrefix(prefix));
  }

  removePrefix(cidr: Cidr): void {
    this.maps.prefixes.delete(prefixKey(cidr));
  }

  /**
   * Makes qn_prefixes hold exactly what `wanted` says at the moment of the change. Adds first, so that no address of
   * ours is the world's in between. True: something was otherwise.
   */
  async syncPrefixes(wanted: () => readonly Prefix[]): Promise<boolean> {
    let changed = false;
    const entries = await this.maps.prefixes.entries();
    // Not asked of the map one by one: for a range that it does not have it would tell of a wider one.
    const present = new Map(entries.map(([key, entry]) => [prefixText(key), entry]));
    const kept = new Set<string>();
    for (const prefix of wanted()) {
      const key = prefixKey(prefix.cidr);
      const entry = encodePrefix(prefix);
      const text = prefixText(key);
      kept.add(text);
      const found = present.get(text);
      if (found !== undefined && samePrefix(found, entry)) continue;
      this.maps.prefixes.set(key, entry);
      changed = true;
    }
    for (const [key] of entries) {
      if (kept.has(prefixText(key))) continue;
      this.maps.prefixes.delete(key);
      changed = true;
    }
    return changed;
  }
}

function encodeEndpoint(state: EndpointState): Endpoint {
  const { ip4, ip6 } = state;
  return {
    ifindex: state.ifindex,
    id: state.id,
    networkId: state.networkId,
    identity: state.identity,
    ip4: ip4 ? toBytes16(parseAddress(ip4.address)) : NO_ADDRESS,
    ip6: ip6 ? toBytes16(parseAddress(ip6.address)) : NO_ADDRESS,
    linkLocal: ip6 ? toBytes16(parseAddress(eui64LinkLocal(state.mac))) : NO_ADDRESS,
    mac: macBytes(state.mac),
    gatewayMac: macBytes(state.gatewayMac),
    ip4PrefixLength: ip4?.prefixLength ?? 0,
    ip6PrefixLength: ip6?.prefixLength ?? 0,
    flags:
      (state.multicast ? EndpointFlags.ALLOW_MULTICAST : 0) |
      (state.broadcast ? EndpointFlags.ALLOW_BROADCAST : 0) |
      (state.masquerade ? EndpointFlags.MASQUERADE : 0) |
      (state.sourceAddress ? EndpointFlags.SOURCE_ADDRESS : 0) |
      (state.takesFrames ? EndpointFlags.TAKES_FRAMES : 0) |
      (state.bandwidth.egress === undefined ? 0 : EndpointFlags.LIMITED_EGRESS) |
      (state.bandwidth.ingress === undefined ? 0 : EndpointFlags.LIMITED_INGRESS),
  };
}

function addressKeys(state: Pick<EndpointState, 'networkId' | 'ip4' | 'ip6'>): AddressKey[] {
  return [state.ip4, state.ip6].flatMap((ip) =>
    ip === undefined ? [] : [{ networkId: state.networkId, address: toBytes16(parseAddress(ip.address)) }],
  );
}

function namedPortValues({ id, namedPorts }: EndpointState): NamedPortValue[] {
  return namedPorts.map(({ protocol, port, names }) => {
    if (names.length > NamedPortLimit.NAMES_MAX)
      throw new RangeError(`${names.length} names of port ${port}`);
    const [first = 0, second = 0, third = 0, fourth = 0] = names;
    const key: NamedPortKey = { endpointId: id, port, protocol };
    return { key, name: [first, second, third, fourth] };
  });
}

function sameNames(a: NamedPortValue | undefined, b: NamedPortValue): boolean {
  return a !== undefined && Buffer.compare(NamedPortValue.encode(a), NamedPortValue.encode(b)) === 0;
}

function prefixKey(cidr: Cidr): { prefixLength: number; address: Uint8Array } {
  return {
    prefixLength: 128 - addressBits(cidr.family) + cidr.prefixLength,
    address: toBytes16({ family: cidr.family, value: cidr.base }),
  };
}

function encodePrefix(prefix: Prefix): PrefixEntry {
  if (prefix.networkId === 'service') return { kind: PrefixKind.SERVICE, networkId: 0, gateway: NO_ADDRESS };
  return prefix.networkId === undefined
    ? { kind: PrefixKind.HOST, networkId: 0, gateway: NO_ADDRESS }
    : {
        kind: PrefixKind.NETWORK,
        networkId: prefix.networkId,
        gateway: prefix.gateway === undefined ? NO_ADDRESS : toBytes16(parseAddress(prefix.gateway)),
      };
}

function samePrefix(a: PrefixEntry, b: PrefixEntry): boolean {
  return Buffer.compare(PrefixEntry.encode(a), PrefixEntry.encode(b)) === 0;
}

function prefixText(key: { prefixLength: number; address: Uint8Array }): string {
  return `${Buffer.from(key.address).toString('hex')}/${key.prefixLength}`;
}

function sameAddress(a: AddressKey, b: AddressKey): boolean {
  return a.networkId === b.networkId && Buffer.compare(a.address, b.address) === 0;
}

function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return Buffer.compare(Endpoint.encode(a), Endpoint.encode(b)) === 0;
}

function macBytes(mac: string): Uint8Array {
  return Uint8Array.from(mac.split(':'), (byte) => Number.parseInt(byte, 16));
}
