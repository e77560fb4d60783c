/**
 * The network of a configuration. The usual configuration names a network that exists; one with `subnet`
 * describes the network, and the first ADD makes it.
 */
import type { CniConfiguration } from '../model/cni.js';
import { AppError, type ErrorDetail, parseWith } from '../model/errors.js';
import {
  gatewayOf,
  type Network,
  type NetworkRequest,
  networkRequest,
  requireDriver,
} from '../model/network.js';
import { type Delegated, delegatedNetwork, requireOfNetwork } from './delegated.js';
import type { AddressSpan, CniNetworks } from './ports.js';

/** Label of networks that a CNI configuration made: that configuration is theirs, no other is written for them. */
export const MADE_BY_LABEL = 'quantum.network/made-by';
export const MADE_BY_CNI = 'cni';

/**
 * Finds the network or makes it; calls that race for it get the same one. `delegated`: what an IPAM plugin gave; it
 * describes a network that nobody else does.
 * Throws NETWORK_NOT_FOUND when there is none and the configuration describes none, INVALID_CNI_CONFIG when the one
 * that exists is not as described, UNSUPPORTED_CNI_FIELD, UNSUPPORTED_DRIVER, and what createNetwork throws.
 */
export async function ensureNetwork(
  networks: CniNetworks,
  configuration: CniConfiguration,
  delegated?: Delegated,
): Promise<Network> {
  const network = await findOrMake(networks, configuration, delegated);
  if (delegated !== undefined) requireOfNetwork(network, delegated);
  return network;
}

async function findOrMake(
  networks: CniNetworks,
  configuration: CniConfiguration,
  delegated: Delegated | undefined,
): Promise<Network> {
  const described = describedNetwork(configuration);
  const existing = await networks.findNetwork(configuration.name);
  if (existing !== undefined) return matching(existing, described, configuration);
  const wanted =
    described ?? (delegated && describedNetwork({ ...configuration, ...delegatedNetwork(delegated) }));
  if (wanted === undefined) {
    throw new AppError('NETWORK_NOT_FOUND', `there is no network ${configuration.name}`, {
      hint: 'create it, or describe it with "subnet" in the network configuration',
    });
  }
  try {
    const made = await networks.createNetwork(wanted);
    return matching(made, wanted, configuration);
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'NETWORK_EXISTS')) throw error;
    const winner = await networks.findNetwork(configuration.name);
    if (winner === undefined) throw error;
    return matching(winner, wanted, configuration);
  }
}

/** The network that the configuration describes, if it does. */
function describedNetwork(configuration: CniConfiguration): NetworkRequest | undefined {
  const { name, subnet, gateway, subnet6, gateway6, driver, isolation_mode, dns } = configuration;
  requireDriver(driver);
  if (subnet === undefined && subnet6 === undefined) {
    if (gateway !== undefined) throw invalid('gateway', 'needs "subnet"');
    if (gateway6 !== undefined) throw invalid('gateway6', 'needs "subnet6"');
    return undefined;
  }
  const described = {
    name,
    cidr: subnet,
    gateway,
    cidr6: subnet6,
    gateway6,
    driver,
    isolation_mode,
    labels: { [MADE_BY_LABEL]: MADE_BY_CNI },
    dns,
  };
  return parseWith(networkRequest, described, 'INVALID_CNI_CONFIG', 'network configuration');
}

/** The network, when it is what the configuration describes. */
function matching(
  network: Network,
  wanted: NetworkRequest | undefined,
  configuration: CniConfiguration,
): Network {
  const details: ErrorDetail[] = [];
  const compare = (path: string, described: string | undefined, actual: string | undefined) => {
    if (described === undefined || described === actual) return;
    details.push({ path, message: `is ${described}, the network has ${actual ?? 'none'}` });
  };
  const { cidr, cidr6 } = wanted ?? {};
  compare('subnet', cidr, network.cidr);
  compare('subnet6', cidr6, network.cidr6);
  if (cidr !== undefined) compare('gateway', gatewayOf(cidr, wanted?.gateway), network.gateway);
  if (cidr6 !== undefined) compare('gateway6', gatewayOf(cidr6, wanted?.gateway6), network.gateway6);
  const [first] = details;
  if (first !== undefined) {
    throw new AppError(
      'INVALID_CNI_CONFIG',
      `network ${network.name} exists and is another one: ${first.path} ${first.message}`,
      { details },
    );
  }
  checkRoutes(network, configuration);
  return network;
}

/**
 * Containers reach each other and the outside through the gateway alone: the programs would drop what a route sends
 * to another next hop, so such a route is refused rather than made.
 */
function checkRoutes(network: Network, { routes }: CniConfiguration): void {
  for (const [index, { gw }] of routes.entries()) {
    if (gw === undefined || gw === network.gateway || gw === network.gateway6) continue;
    throw new AppError('UNSUPPORTED_CNI_FIELD', `routes[${index}].gw is not supported: "${gw}"`, {
      hint: 'the next hop must be the gateway of the network',
    });
  }
}

/** Throws INVALID_CNI_CONFIG when whoever gave the spans thinks of another gateway. */
export function requireGateway(network: Network, spans: readonly AddressSpan[]): void {
  for (const { gateway } of spans) {
    if (gateway === undefined || gateway === network.gateway || gateway === network.gateway6) continue;
    throw invalid('runtimeConfig.ipRanges', `${gateway} is not the gateway of network ${network.name}`);
  }
}

function invalid(path: string, message: string): AppError {
  return new AppError('INVALID_CNI_CONFIG', `invalid network configuration: ${path}: ${message}`, {
    details: [{ path, message }],
  });
}
