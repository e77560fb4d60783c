/** Networks: what a caller asks for, and what exists. JSON and objects have the same shape (snake_case). */
import { z } from 'zod';
import {
  addressAt,
  type Cidr,
  cidrContains,
  formatAddress,
  formatCidr,
  ipAddress,
  ipv4Address,
  ipv6Address,
  networkCidr4,
  networkCidr6,
  parseAddress,
  parseCidr,
  reservedUse,
} from './address.js';
import { AppError } from './errors.js';
import { dnsLabel, dnsSubdomain, interfaceName, labels, timestamp } from './names.js';

/** Most networks that a network of mode `mesh` may name. */
export const PEERS_MAX = 64;

/** Ids of networks fit between the flags of enum policy_peer, and "qnbr<id>" into 15 characters. */
export const NETWORK_ID_MAX = 0x1fffffff;

export const DRIVERS = ['bridge'] as const;
export type Driver = (typeof DRIVERS)[number];

export const isolationMode = z
  .enum(['full', 'peer', 'mesh', 'none'])
  .describe(
    'Who may talk without any policy: full = nobody, peer = endpoints of the network, mesh = those and the networks in `peers`, none = everybody',
  );
export type IsolationMode = z.infer<typeof isolationMode>;

const ISOLATION_ALIASES = { 'peer-only': 'peer', 'mesh-only': 'mesh' } as const;

/** As a caller may write it: `peer-only` and `mesh-only` mean `peer` and `mesh`. */
export const isolationModeInput = z
  .enum(['full', 'peer', 'mesh', 'none', 'peer-only', 'mesh-only'])
  .transform(
    (mode): IsolationMode => (mode === 'peer-only' || mode === 'mesh-only' ? ISOLATION_ALIASES[mode] : mode),
  )
  .describe('Isolation mode; `peer-only` and `mesh-only` are other names of `peer` and `mesh`');

/** DNS settings for containers, in the form of the CNI specification. */
export const dnsSettings = z
  .strictObject({
    nameservers: z.array(ipAddress).max(8).optional().describe('Addresses of name servers'),
    domain: dnsSubdomain.optional().describe('Local domain'),
    search: z.array(dnsSubdomain).max(32).optional().describe('Search domains'),
    options: z
      .array(
        z
          .string()
          .min(1)
          .max(64)
          .regex(/^[!-~]+$/, 'must be printable ASCII without spaces'),
      )
      .max(16)
      .optional()
      .describe('Resolver options'),
  })
  .describe('DNS settings handed to containers')
  .meta({ id: 'DnsSettings' });
export type DnsSettings = z.infer<typeof dnsSettings>;

/** Smallest MTU that IPv4 and IPv6 allow. */
export const MTU_MIN = { 4: 576, 6: 1280 } as const;

const mtu = z
  .int()
  .min(MTU_MIN[4])
  .max(65535)
  .describe("MTU of the containers' interfaces, bytes; at least 1280 with IPv6");

const masquerade = z
  .boolean()
  .default(true)
  .describe("Whether containers reach the outside under the node's address, by its uplink");

const sourceAddresses = {
  source_address: ipv4Address
    .optional()
    .describe("What masqueraded IPv4 connections leave under in place of the uplink's address"),
  source_address6: ipv6Address
    .optional()
    .describe("What masqueraded IPv6 connections leave under in place of the uplink's address"),
};

const requestOptions = z.strictObject({
  mtu: mtu.optional(),
  multicast: z.boolean().default(false).describe('Whether containers may send multicast to each other'),
  broadcast: z.boolean().default(false).describe('Whether containers may send IPv4 broadcast to each other'),
  masquerade,
  ...sourceAddresses,
});

const uniquePeers = z
  .array(dnsLabel)
  .max(PEERS_MAX)
  .refine((names) => new Set(names).size === names.length, 'must not name a network twice')
  .describe(`Networks that a network of mode mesh talks to, at most ${PEERS_MAX}; they may be made later`);

type Check = z.core.ParsePayload<{
  name: string;
  cidr?: string | undefined;
  gateway?: string | undefined;
  cidr6?: string | undefined;
  gateway6?: string | undefined;
  isolation_mode: IsolationMode;
  peers: string[];
  options: {
    mtu?: number | undefined;
    masquerade: boolean;
    source_address?: string | undefined;
    source_address6?: string | undefined;
  };
}>;

/** What no single field can tell. */
function checkNetwork({ value, issues }: Check): void {
  const report = (path: PropertyKey[], message: string) =>
    issues.push({ code: 'custom', path, message, input: value });
  if (value.cidr === undefined && value.cidr6 === undefined)
    report(['cidr'], 'a network needs `cidr`, `cidr6` or both');
  for (const [range, gateway] of [
    ['cidr', 'gateway'],
    ['cidr6', 'gateway6'],
  ] as const) {
    const address = value[gateway];
    if (address === undefined) continue;
    const problem = gatewayProblem(value[range], address);
    if (problem !== undefined) report([gateway], problem);
  }
  if (value.cidr6 !== undefined && value.options.mtu !== undefined && value.options.mtu < MTU_MIN[6]) {
    report(['options', 'mtu'], `must be at least ${MTU_MIN[6]} with IPv6`);
  }
  for (const [option, range] of [
    ['source_address', value.cidr],
    ['source_address6', value.cidr6],
  ] as const) {
    if (value.options[option] === undefined) continue;
    if (!value.options.masquerade) report(['options', option], 'needs `masquerade`');
    if (range === undefined) report(['options', option], 'the network has no range of that family');
  }
  if (value.peers.length > 0 && value.isolation_mode !== 'mesh') {
    report(['peers'], 'only a network of isolation_mode "mesh" has peers');
  }
  const self = value.peers.indexOf(value.name);
  if (self >= 0) report(['peers', self], 'must not name the network itself');
}

function gatewayProblem(range: string | undefined, gateway: string): string | undefined {
  if (range === undefined) return 'needs the range that it is in';
  const cidr = parseCidr(range);
  const address = parseAddress(gateway);
  if (!cidrContains(cidr, address)) return `must be inside ${formatCidr(cidr)}`;
  const use = reservedUse(cidr, address);
  return use === undefined ? undefined : `must not be ${use} of ${formatCidr(cidr)}`;
}

/** Body of POST /networks. The driver is any word here, so that an unknown one is answered UNSUPPORTED_DRIVER. */
export const networkRequest = z
  .strictObject({
    name: dnsLabel.describe('Name of the network'),
    cidr: networkCidr4.optional(),
    gateway: ipv4Address.optional().describe('Gateway inside cidr; the first address if unsaid'),
    cidr6: networkCidr6.optional(),
    gateway6: ipv6Address.optional().describe('Gateway inside cidr6; the first address if unsaid'),
    driver: z
      .string()
      .min(1)
      .max(32)
      .default('bridge')
      .describe(`Driver: ${DRIVERS.join(', ')}`),
    isolation_mode: isolationModeInput.prefault('full'),
    peers: uniquePeers.default([]),
    options: requestOptions.prefault({}).describe('Options of the driver'),
    labels: labels.prefault({}),
    dns: dnsSettings.optional(),
  })
  .check(checkNetwork)
  .meta({ id: 'NetworkRequest', description: 'A network to make' });
export type NetworkRequest = z.output<typeof networkRequest>;
export type NetworkRequestInput = z.input<typeof networkRequest>;

export const networkId = z
  .int()
  .min(1)
  .max(NETWORK_ID_MAX)
  .describe('Number of the network; never used again');

export const network = z
  .strictObject({
    id: networkId,
    name: dnsLabel.describe('Name of the network'),
    cidr: networkCidr4.optional(),
    gateway: ipv4Address.optional().describe('IPv4 gateway'),
    cidr6: networkCidr6.optional(),
    gateway6: ipv6Address.optional().describe('IPv6 gateway'),
    driver: z.enum(DRIVERS).describe('Driver'),
    isolation_mode: isolationMode,
    peers: uniquePeers,
    options: z
      .strictObject({
        mtu: mtu.optional(),
        multicast: z.boolean(),
        broadcast: z.boolean(),
        masquerade,
        ...sourceAddresses,
      })
      .describe('Options of the driver'),
    labels,
    dns: dnsSettings.optional(),
    bridge_interface: interfaceName.describe('Interface of the host that holds the gateway addresses'),
    created_at: timestamp,
  })
  .check(checkNetwork)
  .meta({ id: 'Network', description: 'A virtual network' });
export type Network = z.infer<typeof network>;

export const networkList = z.strictObject({ networks: z.array(network) }).meta({ id: 'NetworkList' });
export type NetworkList = z.infer<typeof networkList>;

/** The gateway of a range: the one asked for, or the first address after the base. */
export function gatewayOf(range: string, requested?: string): string {
  return requested ?? formatAddress(addressAt(parseCidr(range), 1n));
}

/** The ranges of a network, with their gateways. */
export function networkRanges(
  of: Pick<Network, 'cidr' | 'gateway' | 'cidr6' | 'gateway6'>,
): { cidr: Cidr; gateway: string }[] {
  const pairs = [
    [of.cidr, of.gateway],
    [of.cidr6, of.gateway6],
  ] as const;
  return pairs.flatMap(([range, gateway]) =>
    range === undefined ? [] : [{ cidr: parseCidr(range), gateway: gatewayOf(range, gateway) }],
  );
}

/** The addresses that the network's masqueraded connections leave under, where they are not the uplink's. */
export function sourceAddressesOf({ options }: Pick<Network, 'options'>): {
  option: 'source_address' | 'source_address6';
  address: string;
}[] {
  return (['source_address', 'source_address6'] as const).flatMap((option) => {
    const address = options[option];
    return address === undefined ? [] : [{ option, address }];
  });
}

export function hasSourceAddress(of: Pick<Network, 'options'>): boolean {
  return sourceAddressesOf(of).length > 0;
}

/** The driver of that name. Throws UNSUPPORTED_DRIVER. */
export function requireDriver(name: string): Driver {
  const driver = DRIVERS.find((known) => known === name);
  if (driver !== undefined) return driver;
  throw new AppError('UNSUPPORTED_DRIVER', `there is no driver ${JSON.stringify(name)}`, {
    details: [{ path: 'driver', message: `must be one of: ${DRIVERS.join(', ')}` }],
  });
}

/** What a network is made of: the request with its defaults, its number, and its gateways filled in. */
export function networkFrom(request: NetworkRequest, made: { id: number; created_at: string }): Network {
  const { cidr, cidr6, driver, ...rest } = request;
  return network.parse({
    ...rest,
    ...(cidr === undefined ? {} : { cidr, gateway: gatewayOf(cidr, request.gateway) }),
    ...(cidr6 === undefined ? {} : { cidr6, gateway6: gatewayOf(cidr6, request.gateway6) }),
    driver: requireDriver(driver),
    bridge_interface: bridgeInterface(made.id),
    ...made,
  });
}

/** Name of the bridge that holds a network's gateway addresses. */
export function bridgeInterface(id: number): string {
  return `qnbr${id}`;
}
