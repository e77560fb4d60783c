/** Who is meant by a container's id or an address, when somebody asks about a packet between the two. */

import { Identity } from '../datapath/abi/generated.js';
import type { PacketPeer } from '../firewall/lookup.js';
import {
  type Address,
  cidrContains,
  type Family,
  formatAddress,
  ipAddress,
  parseAddress,
} from '../model/address.js';
import type { Endpoint } from '../model/endpoint.js';
import { AppError } from '../model/errors.js';
import type { ExplainedParty, ExplainRequest } from '../model/explanation.js';
import { PROTOCOL_NUMBERS } from '../model/names.js';
import { type Network, networkRanges } from '../model/network.js';
import type { Reader } from '../store/store.js';
import { addresses, endpoints, networks } from '../store/tables.js';
import type { IsOwn } from './host-prefixes.js';

export type Party =
  | { readonly kind: 'endpoint'; readonly endpoint: Endpoint; readonly address: Address }
  /** unknown: an address of a network that no endpoint has. */
  | { readonly kind: 'host' | 'world' | 'unknown'; readonly address: Address };

export type EndpointParty = Extract<Party, { kind: 'endpoint' }>;

export interface Parties {
  readonly source: Party;
  readonly destination: Party;
}

/** What may be meant by one end: an endpoint by its address of either family, or one address. */
type Candidate =
  | { readonly endpoint: Endpoint; readonly address?: Address }
  | { readonly party: Exclude<Party, EndpointParty> };

/**
 * The two parties of a request. `own`: addresses of the node. Throws CONTAINER_NOT_FOUND, NETWORK_NOT_FOUND, and
 * INVALID_REQUEST for what is ambiguous or cannot be.
 */
export function resolveParties(reader: Reader, own: IsOwn, request: ExplainRequest): Parties {
  const directory = new Directory(reader, own);
  const network = request.network === undefined ? undefined : directory.network(request.network);
  const from = directory.candidates('from', request.from);
  const to = directory.candidates('to', request.to);
  if (![...from, ...to].some((candidate) => 'endpoint' in candidate)) {
    throw invalid(
      'from',
      'neither side is a container',
      'one of `from` and `to` must be one; of a published port, ask about the container and its own port',
    );
  }
  const [left, right] = network === undefined ? [from, to] : narrow(network, from, to);
  const pairs = left.flatMap((source) => right.map((destination) => ({ source, destination })));
  const apart = pairs.filter(({ source, destination }) => !isOneContainer(source, destination));
  if (apart.length === 0) throw invalid('to', 'is the same container as `from`');
  const possible = apart.flatMap((pair) => pairOf(pair.source, pair.destination, request.family) ?? []);
  if (possible.length === 0)
    throw invalid('family', 'the two have no addresses of one family, or not of that');
  const near = possible.filter((pair) => directory.isOneNetwork(pair));
  const chosen = near.length > 0 ? near : possible;
  const [first] = chosen;
  if (chosen.length > 1 || first === undefined) {
    const names = new Set(
      chosen.flatMap(({ source, destination }) => [...networkOf(source), ...networkOf(destination)]),
    );
    throw invalid(
      'network',
      `several networks are possible: ${[...names].sort().join(', ')}`,
      'name one of them',
    );
  }
  return first;
}

/** What is known of addresses. */
class Directory {
  private readonly networks: Network[];

  constructor(
    private readonly reader: Reader,
    private readonly own: IsOwn,
  ) {
    this.networks = reader.list(networks);
  }

  network(name: string): Network {
    const found = this.networks.find((network) => network.name === name);
    if (found === undefined) {
      throw new AppError('NETWORK_NOT_FOUND', `there is no network ${JSON.stringify(name)}`);
    }
    return found;
  }

  candidates(path: 'from' | 'to', text: string): Candidate[] {
    if (ipAddress.safeParse(text).success) return [this.ofAddress(text)];
    const found = this.reader
      .list(endpoints)
      .filter(({ container_id, state }) => container_id === text && state === 'ready')
      .sort((left, right) => left.id - right.id);
    if (found.length === 0) {
      throw new AppError('CONTAINER_NOT_FOUND', `container ${JSON.stringify(text)} is not connected`, {
        details: [{ path, message: 'is not the id of a connected container' }],
      });
    }
    // Of several interfaces on one network it is the first, as everywhere.
    const perNetwork = new Map<number, Endpoint>();
    for (const endpoint of found) {
      if (!perNetwork.has(endpoint.network_id)) perNetwork.set(endpoint.network_id, endpoint);
    }
    return [...perNetwork.values()].map((endpoint) => ({ endpoint }));
  }

  /** The same network has both, be it a range that an address is in. */
  isOneNetwork({ source, destination }: Parties): boolean {
    const [one, other] = source.kind === 'endpoint' ? [source, destination] : [destination, source];
    if (one.kind !== 'endpoint') return false;
    if (other.kind === 'endpoint') return one.endpoint.network_id === other.endpoint.network_id;
    const network = this.networks.find(({ id }) => id === one.endpoint.network_id);
    return network !== undefined && isIn(network, other.address);
  }

  /** As party_of_address() of the programs: what is the node's own is that, whatever range it is in. */
  private ofAddress(text: string): Candidate {
    const address = parseAddress(text);
    if (this.own(address)) return { party: { kind: 'host', address } };
    const network = this.networks.find((candidate) => isIn(candidate, address));
    if (network === undefined) return { party: { kind: 'world', address } };
    const owner = this.reader.get(addresses, [network.id, text]);
    const endpoint = this.reader.get(endpoints, [owner?.endpoint_id ?? 0]);
    return endpoint === undefined ? { party: { kind: 'unknown', address } } : { endpoint, address };
  }
}

/** Of each side what is in the network, where something of it is. */
function narrow(network: Network, from: Candidate[], to: Candidate[]): [Candidate[], Candidate[]] {
  const inside = (candidates: Candidate[]) =>
    candidates.filter((candidate) => 'endpoint' in candidate && candidate.endpoint.network_id === network.id);
  const [left, right] = [inside(from), inside(to)];
  if (left.length === 0 && right.length === 0) {
    throw invalid('network', `neither \`from\` nor \`to\` is connected to ${network.name}`);
  }
  return [left.length > 0 ? left : from, right.length > 0 ? right : to];
}

function isOneContainer(left: Candidate, right: Candidate): boolean {
  return (
    'endpoint' in left && 'endpoint' in right && left.endpoint.container_id === right.endpoint.container_id
  );
}

/** Both with an address of one family; IPv4 where there is a choice. */
function pairOf(from: Candidate, to: Candidate, wanted: Family | undefined): Parties | undefined {
  for (const family of [4, 6] as const) {
    if (wanted !== undefined && wanted !== family) continue;
    const [source, destination] = [partyOf(from, family), partyOf(to, family)];
    if (source !== undefined && destination !== undefined) return { source, destination };
  }
  return undefined;
}

function partyOf(candidate: Candidate, family: Family): Party | undefined {
  if ('party' in candidate) return candidate.party.address.family === family ? candidate.party : undefined;
  const { endpoint, address } = candidate;
  if (address !== undefined)
    return address.family === family ? { kind: 'endpoint', endpoint, address } : undefined;
  const text = family === 4 ? endpoint.ip_address : endpoint.ip6_address;
  return text === undefined ? undefined : { kind: 'endpoint', endpoint, address: parseAddress(text) };
}

function isIn(network: Network, address: Address): boolean {
  return networkRanges(network).some(({ cidr }) => cidrContains(cidr, address));
}

function networkOf(party: Party): string[] {
  return party.kind === 'endpoint' ? [party.endpoint.network] : [];
}

/** The party as the compiled policy knows it; undefined: it does not. */
export function packetPeer(party: Party): PacketPeer | undefined {
  const address = formatAddress(party.address);
  if (party.kind === 'unknown') return undefined;
  if (party.kind !== 'endpoint') return { kind: party.kind, address };
  const { identity, network_id } = party.endpoint;
  return { kind: 'identity', id: identity, network_id, address };
}

/** What an endpoint calls one of its ports. */
export function portNames({ ports }: Pick<Endpoint, 'ports'>, protocol: number, port: number): string[] {
  return ports.flatMap((entry) =>
    entry.name !== undefined && entry.container_port === port && PROTOCOL_NUMBERS[entry.protocol] === protocol
      ? entry.name
      : [],
  );
}

/** Number of who the party is; 0: nobody that is known. */
export function identityOf(party: Party): number {
  switch (party.kind) {
    case 'endpoint':
      return party.endpoint.identity;
    case 'host':
      return Identity.HOST;
    case 'world':
      return Identity.WORLD;
    case 'unknown':
      return Identity.NONE;
  }
}

/** The party for a reader. */
export function describeParty(party: Party): ExplainedParty {
  const { kind } = party;
  const ip = formatAddress(party.address);
  const identity = identityOf(party);
  if (kind !== 'endpoint') return { kind, ip, ...(identity === Identity.NONE ? {} : { identity }) };
  const { container_id, network, namespace, labels } = party.endpoint;
  return { kind, container_id, network, namespace, labels, ip, identity };
}

function invalid(path: string, message: string, hint?: string): AppError {
  return new AppError('INVALID_REQUEST', `${path}: ${message}`, {
    details: [{ path, message }],
    ...(hint === undefined ? {} : { hint }),
  });
}
