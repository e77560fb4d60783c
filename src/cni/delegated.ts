/** What a delegated IPAM plugin gave (section 4 of the specification), as this fabric can use it. */
import { cidrOf, formatAddress, formatCidr, parseAddress } from '../model/address.js';
import { type CniCall, type CniConfiguration, type CniRoute, parseIpamResult } from '../model/cni.js';
import { AppError } from '../model/errors.js';
import type { DnsSettings, Network } from '../model/network.js';

/** One address of an endpoint, and the range that the IPAM plugin took it from. */
export interface DelegatedAddress {
  readonly family: 4 | 6;
  readonly address: string;
  readonly range: string;
  readonly gateway: string | undefined;
}

export interface Delegated {
  readonly addresses: readonly DelegatedAddress[];
  readonly routes: readonly CniRoute[];
  readonly dns: DnsSettings | undefined;
}

/** Whether the configuration lets an IPAM plugin give addresses. */
export function isDelegated({ ipam }: CniConfiguration): boolean {
  return ipam?.type !== undefined && ipam.type !== '';
}

/** What the IPAM plugin gave; undefined when the configuration names none. Throws INVALID_CNI_CONFIG. */
export function delegatedOf(call: CniCall, configuration: CniConfiguration): Delegated | undefined {
  if (!isDelegated(configuration)) return undefined;
  if (call.ipam === undefined) {
    throw new AppError('INVALID_CNI_CONFIG', 'the result of the IPAM plugin is missing', {
      hint: 'the plugin quantum-cni executes it; whoever calls without the plugin sends its result as "ipam"',
    });
  }
  const { ips, routes, dns } = parseIpamResult(call.ipam);
  const addresses = ips.map(({ address, gateway }) => readAddress(address, gateway ?? undefined));
  for (const family of [4, 6] as const) {
    if (addresses.filter((entry) => entry.family === family).length > 1) {
      throw bad('ips', 'an interface gets at most one address of each family');
    }
  }
  return { addresses, routes: routes ?? [], dns: dns ?? undefined };
}

/** The network that addresses are from, for a configuration that does not describe one itself. */
export function delegatedNetwork({ addresses }: Delegated) {
  const of = (family: 4 | 6) => addresses.find((entry) => entry.family === family);
  return {
    subnet: of(4)?.range,
    gateway: of(4)?.gateway,
    subnet6: of(6)?.range,
    gateway6: of(6)?.gateway,
  };
}

/** Throws INVALID_CNI_CONFIG when the addresses are not of the network. */
export function requireOfNetwork(network: Network, { addresses }: Delegated): void {
  for (const { family, address, range, gateway } of addresses) {
    const [cidr, own] = family === 4 ? [network.cidr, network.gateway] : [network.cidr6, network.gateway6];
    if (range !== cidr) {
      throw bad('ips', `${address} is of ${range}, network ${network.name} has ${cidr ?? 'no such range'}`);
    }
    if (gateway !== undefined && gateway !== own) {
      throw bad('ips', `the gateway of ${address} is ${gateway}, that of network ${network.name} ${own}`);
    }
  }
}

function readAddress(text: string, gateway: string | undefined): DelegatedAddress {
  const [, plain = '', prefix] = /^([^/]+)\/([0-9]{1,3})$/.exec(text) ?? [];
  try {
    const address = parseAddress(plain);
    if (Number(prefix) > (address.family === 4 ? 32 : 128)) throw bad('ips', 'prefix length');
    return {
      family: address.family,
      address: formatAddress(address),
      range: formatCidr(cidrOf(address, Number(prefix))),
      gateway: gateway === undefined || gateway === '' ? undefined : formatAddress(parseAddress(gateway)),
    };
  } catch (cause) {
    throw bad('ips', `${JSON.stringify(text)} is no address with a prefix length and a gateway`, cause);
  }
}

function bad(path: string, message: string, cause?: unknown): AppError {
  return new AppError('INVALID_CNI_CONFIG', `result of the IPAM plugin: ${message}`, {
    details: [{ path: `ipam: ${path}`, message }],
    cause,
  });
}
