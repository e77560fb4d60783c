/**
 * What Docker asks of its network and IPAM plugins (libnetwork's remote drivers), as far as it is read. Fields that
 * are not named here are left alone: each version of Docker sends a few more.
 */
import { z } from 'zod';
import { ipAddress, ipv4Address, ipv6Address } from '../model/address.js';
import { containerId, macAddress } from '../model/names.js';

/** Most entries of a list. */
const ENTRIES_MAX = 256;

/** Go writes what is empty as "", null, or not at all. */
function optional<Schema extends z.ZodType>(schema: Schema) {
  return z.preprocess((value) => (value === '' || value === null ? undefined : value), schema.optional());
}

/** `10.0.0.1/16`: an address and the length of its prefix. */
const addressWithPrefix = z
  .string()
  .max(64)
  .regex(/^[0-9a-fA-F:.]+\/[0-9]{1,3}$/, 'must be an address with the length of its prefix')
  .transform((text) => text.slice(0, text.indexOf('/')));

const textMap = optional(
  z
    .record(z.string().max(256), z.string().max(4096))
    .refine((map) => Object.keys(map).length <= ENTRIES_MAX, {
      error: `must have at most ${ENTRIES_MAX} entries`,
    }),
);
const anyMap = optional(z.record(z.string().max(256), z.unknown()));

const ipamData = z.looseObject({
  AddressSpace: optional(z.string().max(256)),
  Pool: z.string().max(64),
  Gateway: optional(addressWithPrefix),
  AuxAddresses: optional(z.record(z.string(), z.unknown())),
});
export type IpamData = z.output<typeof ipamData>;

export const createNetwork = z.looseObject({
  NetworkID: containerId,
  Options: anyMap,
  IPv4Data: optional(z.array(ipamData).max(ENTRIES_MAX)),
  IPv6Data: optional(z.array(ipamData).max(ENTRIES_MAX)),
});
export type CreateNetwork = z.output<typeof createNetwork>;

export const networkReference = z.looseObject({ NetworkID: containerId });
export const endpointReference = z.looseObject({ NetworkID: containerId, EndpointID: containerId });
export type EndpointReference = z.output<typeof endpointReference>;

export const createEndpoint = z.looseObject({
  ...endpointReference.shape,
  Interface: optional(
    z.looseObject({
      Address: optional(addressWithPrefix.pipe(ipv4Address)),
      AddressIPv6: optional(addressWithPrefix.pipe(ipv6Address)),
      MacAddress: optional(macAddress),
    }),
  ),
  Options: anyMap,
});
export type CreateEndpoint = z.output<typeof createEndpoint>;

export const join = z.looseObject({
  ...endpointReference.shape,
  SandboxKey: z
    .string()
    .max(1024)
    .regex(/^\/[^\0]+$/, 'must be an absolute path'),
  Options: anyMap,
});
export type Join = z.output<typeof join>;

export const programConnectivity = z.looseObject({ ...endpointReference.shape, Options: anyMap });
export type ProgramConnectivity = z.output<typeof programConnectivity>;

export const requestPool = z.looseObject({
  AddressSpace: z.string().max(256),
  Pool: optional(z.string().max(64)),
  SubPool: optional(z.string().max(64)),
  Options: textMap,
  V6: optional(z.boolean()),
});
export type RequestPool = z.output<typeof requestPool>;

export const poolReference = z.looseObject({ PoolID: z.string().min(1).max(64) });

export const requestAddress = z.looseObject({
  ...poolReference.shape,
  Address: optional(ipAddress),
  Options: textMap,
});
export type RequestAddress = z.output<typeof requestAddress>;

export const releaseAddress = z.looseObject({ ...poolReference.shape, Address: optional(ipAddress) });
export type ReleaseAddress = z.output<typeof releaseAddress>;
