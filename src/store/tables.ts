/** Every table of the store. A new kind of record starts here; a changed one needs a new STORE_VERSION. */
import { z } from 'zod';
import { ipAddress } from '../model/address.js';
import { DENY_LIST_MAX } from '../model/deny-list.js';
import { type Endpoint, endpoint, endpointId } from '../model/endpoint.js';
import { AppError } from '../model/errors.js';
import { type Identity, identity, identityId } from '../model/identity.js';
import { containerId, dnsLabel, interfaceName, timestamp } from '../model/names.js';
import { type Namespace, namespace } from '../model/namespace.js';
import { isolationMode, type Network, network, networkId } from '../model/network.js';
import { type PortMappingRecord, portMappingRecord } from '../model/port-mapping.js';
import { type ServiceRecord, serviceRecord } from '../model/service.js';
import { defineTable, type Reader, type Table, type Transaction } from './store.js';

/** Form of the records. A store of another version is not opened. */
export const STORE_VERSION = 1;

/** Networks by name. */
export const networks = defineTable<[name: string], Network>('networks', 1, network);

/** Endpoints by id. */
export const endpoints = defineTable<[id: number], Endpoint>('endpoints', 1, endpoint);

const endpointKey = z.strictObject({
  network_id: networkId,
  container_id: containerId,
  interface_name: interfaceName,
  endpoint_id: endpointId,
});

/** The endpoint of (network, container, interface): one record beside each record of `endpoints`. */
export const endpointKeys = defineTable<
  [networkId: number, containerId: string, interfaceName: string],
  z.infer<typeof endpointKey>
>('endpoint_keys', 3, endpointKey);

const containerRoute = z.strictObject({ dst: z.string().max(64), gw: ipAddress.optional() });

const attachment = z.strictObject({
  endpoint_id: endpointId,
  /** Who asked for it: only what CNI made is CNI's to collect. */
  origin: z.enum(['rest', 'cni', 'docker']),
  /** The routes that the container was given. */
  routes: z.array(containerRoute).max(256),
  /** Its key in `stagedEndpoints`, if it is one of those. */
  staged_key: containerId.optional(),
  /** The container's side was made to take frames from XDP; absent: by a daemon that did not know how. */
  takes_frames: z.boolean().optional(),
});
export type AttachmentRecord = z.infer<typeof attachment>;

/** How an endpoint came about, beside its record in `endpoints`. */
export const attachments = defineTable<[id: number], AttachmentRecord>('attachments', 1, attachment);

const stagedEndpoint = z.strictObject({
  /** What the container runtime calls the endpoint. */
  key: containerId,
  endpoint_id: endpointId,
  /** What the container runtime calls the network. */
  runtime_network: containerId,
  /** Whether a container is to have it, and its network namespace is known. */
  joined: z.boolean(),
});
export type StagedEndpointRecord = z.infer<typeof stagedEndpoint>;

/** Endpoints that are made before their container is there, by what its runtime calls them. */
export const stagedEndpoints = defineTable<[key: string], StagedEndpointRecord>(
  'staged_endpoints',
  1,
  stagedEndpoint,
);

const runtimeNetwork = z.strictObject({
  /** What the container runtime calls it. */
  key: containerId,
  network: dnsLabel,
  network_id: networkId,
  /** Whether it was made for the runtime, and goes with it. */
  owned: z.boolean(),
});
export type RuntimeNetworkRecord = z.infer<typeof runtimeNetwork>;

/** Networks that a container runtime has a name of its own for, by that name. */
export const runtimeNetworks = defineTable<[key: string], RuntimeNetworkRecord>(
  'runtime_networks',
  1,
  runtimeNetwork,
);

/** Namespaces by name. */
export const namespaces = defineTable<[name: string], Namespace>('namespaces', 1, namespace);

const policyRecord = z.strictObject({
  kind: z.enum(['NetworkPolicy', 'ClusterNetworkPolicy']),
  /** The object of Kubernetes, of that kind; its own schema judges it again when it is used. */
  object: z.record(z.string(), z.unknown()),
  created_at: timestamp,
});
export type PolicyRecord = z.infer<typeof policyRecord>;

/** Policies by namespace (`-`: cluster-wide) and name. */
export const policies = defineTable<[namespace: string, name: string], PolicyRecord>(
  'policies',
  2,
  policyRecord,
);

/** Identities by number. */
export const identities = defineTable<[id: number], Identity>('identities', 1, identity);

const identityKeyRecord = z.strictObject({ identity: identityId });

/** The identity of a set, by the SHA-256 (hexadecimal) of its canonical key, which itself can be too long for a key. */
export const identityKeys = defineTable<[sha256: string], z.infer<typeof identityKeyRecord>>(
  'identity_keys',
  1,
  identityKeyRecord,
);

const COUNTER_MAX = 0xffffffff;
const counter = z.strictObject({ last: z.int().min(1).max(COUNTER_MAX) });

/** The number given last, by what it counts. */
export const counters = defineTable<[name: string], z.infer<typeof counter>>('counters', 1, counter);

const family = z.union([z.literal(4), z.literal(6)]);

const pool = z.strictObject({
  network_id: networkId,
  family,
  /** First offset that was never given by the pool itself, decimal. */
  mark: z.string().regex(/^(0|[1-9][0-9]{0,38})$/),
  /** Addresses in use. */
  used: z.int().min(0),
  /** Released addresses that wait for reuse: a queue, linked through `released`. */
  waiting: z.int().min(0),
  oldest: ipAddress.optional(),
  newest: ipAddress.optional(),
});
export type Pool = z.infer<typeof pool>;

/** What is known of a network's addresses, by network and family. */
export const pools = defineTable<[networkId: number, family: number], Pool>('pools', 2, pool);

const addressRecord = z.strictObject({ network_id: networkId, address: ipAddress, endpoint_id: endpointId });

/** Who has an address. */
export const addresses = defineTable<[networkId: number, address: string], z.infer<typeof addressRecord>>(
  'addresses',
  2,
  addressRecord,
);

const releasedRecord = z.strictObject({
  network_id: networkId,
  address: ipAddress,
  older: ipAddress.optional(),
  newer: ipAddress.optional(),
});
export type ReleasedRecord = z.infer<typeof releasedRecord>;

/** Released addresses, each with its neighbours in the pool's queue. */
export const released = defineTable<[networkId: number, address: string], ReleasedRecord>(
  'released',
  2,
  releasedRecord,
);

const ruleRef = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('policy'),
    namespace: z.string().max(63),
    name: z.string().max(253),
    direction: z.enum(['egress', 'ingress']),
    index: z.int().min(0),
  }),
  z.strictObject({ kind: z.literal('isolation'), network: dnsLabel, mode: isolationMode }),
  z.strictObject({ kind: z.literal('host-access') }),
]);
const rule = z.strictObject({ cookie: z.int().min(1).max(COUNTER_MAX), ref: ruleRef });
export type RuleRecord = z.infer<typeof rule>;

/** What a rule's number in the kernel stands for; by number. */
export const rules = defineTable<[cookie: number], RuleRecord>('rules', 1, rule);

const ruleKey = z.strictObject({ cookie: z.int().min(1).max(COUNTER_MAX) });

/** The number of a rule, by the text of its reference (ruleText). */
export const ruleKeys = defineTable<[text: string], z.infer<typeof ruleKey>>('rule_keys', 1, ruleKey);

/** A rule's reference as one text, equal exactly when the references are equal. */
export function ruleText(ref: RuleRecord['ref']): string {
  switch (ref.kind) {
    case 'policy':
      return `policy/${ref.namespace}/${ref.name}/${ref.direction}/${ref.index}`;
    case 'isolation':
      return `isolation/${ref.network}/${ref.mode}`;
    case 'host-access':
      return 'host-access';
  }
}

const numbered = z.strictObject({ text: z.string().min(1).max(64), number: z.int().min(1).max(COUNTER_MAX) });

/** Numbers by text; they come from the counter of the table's name. */
export type NumberTable = Table<[text: string], z.infer<typeof numbered>>;

/** What the ranges of policies are called in the kernel, by their canonical text. */
export const cidrNumbers: NumberTable = defineTable('cidr_numbers', 1, numbered);

/** What the names of ports are called in the kernel. */
export const portNames: NumberTable = defineTable('port_names', 1, numbered);

const denyPart = z.strictObject({ cidrs: z.array(z.string().max(49)).max(DENY_LIST_MAX) });

/** The deny list, in parts: each range is in the one that its text tells. */
export const denyParts = defineTable<[part: number], z.infer<typeof denyPart>>('deny_parts', 1, denyPart);
/** Port mappings by endpoint and number. */
export const portMappings = defineTable<[endpointId: number, id: number], PortMappingRecord>(
  'port_mappings',
  2,
  portMappingRecord,
);

/** Services by namespace and name. */
export const services = defineTable<[namespace: string, name: string], ServiceRecord>(
  'services',
  2,
  serviceRecord,
);

/** What the places of port mappings and services are called in the kernel. */
export const frontendNumbers: NumberTable = defineTable('frontend_numbers', 1, numbered);

/** A table without the types of its keys and values. */
export interface AnyTable {
  readonly name: string;
  readonly keyParts: number;
  readonly schema: z.ZodType;
}

/** All tables, by name: what a store may hold. */
export const TABLES: ReadonlyMap<string, AnyTable> = new Map(
  [
    networks,
    endpoints,
    endpointKeys,
    attachments,
    stagedEndpoints,
    runtimeNetworks,
    namespaces,
    policies,
    identities,
    identityKeys,
    counters,
    pools,
    addresses,
    released,
    rules,
    ruleKeys,
    cidrNumbers,
    portNames,
    denyParts,
    portMappings,
    services,
    frontendNumbers,
  ].map((table: AnyTable) => [table.name, table]),
);

/** The next number of a counter: `first` at first, then one more each time; never given again. */
export function nextNumber(transaction: Transaction, name: string, first = 1): number {
  const last = (transaction.get(counters, [name])?.last ?? first - 1) + 1;
  transaction.put(counters, [name], { last });
  return last;
}

/**
 * For the transaction that records who has a number which an earlier one was given `soon`. Throws STORE_ERROR when that
 * one could not be written: the number would be given again.
 */
export function requireGiven(reader: Reader, name: string, number: number): void {
  if ((reader.get(counters, [name])?.last ?? 0) >= number) return;
  throw new AppError('STORE_ERROR', `could not write that the number ${number} of ${name} is given`);
}
