/** Addresses of services: asked for, or given out of a range, and nobody else's. */
import {
  type Address,
  type Cidr,
  cidrContains,
  formatAddress,
  parseAddress,
  specialUse,
} from '../../model/address.js';
import { AppError } from '../../model/errors.js';
import { networkRanges, sourceAddressesOf } from '../../model/network.js';
import type { ServiceRecord, ServiceRequest } from '../../model/service.js';
import { type Settings, serviceCidr } from '../../model/settings.js';
import { freeServiceAddress } from '../../nat/service-addresses.js';
import type { Reader } from '../../store/store.js';
import { networks, services } from '../../store/tables.js';
import { addressesOf, serviceName } from './published.js';

export class ServiceAddresses {
  constructor(
    private readonly settings: Pick<Settings, 'service_cidr' | 'service_cidr6'>,
    /** Whether an address is the node's own, as it is now. */
    private readonly isOwn: (address: Address) => boolean,
  ) {}

  /** Those that are asked for; else those that it has; else free ones. */
  choose(
    reader: Reader,
    request: ServiceRequest,
    before: ServiceRecord | undefined,
  ): Pick<ServiceRecord, 'ip_address' | 'ip6_address'> {
    const { ip_address, ip6_address } = request;
    const asked = ip_address ?? ip6_address;
    const source = asked === undefined && before !== undefined ? before : request;
    for (const field of ['ip_address', 'ip6_address'] as const) {
      const text = source[field];
      const problem = text === undefined ? undefined : this.problemOf(reader, parseAddress(text));
      if (problem === undefined) continue;
      const message = `${text} ${problem}`;
      throw new AppError('SERVICE_ADDRESS_INVALID', `${field}: ${message}`, {
        details: [{ path: field, message }],
      });
    }
    if (source.ip_address !== undefined || source.ip6_address !== undefined) {
      return {
        ...(source.ip_address === undefined ? {} : { ip_address: source.ip_address }),
        ...(source.ip6_address === undefined ? {} : { ip6_address: source.ip6_address }),
      };
    }
    const ip4 = this.free(reader, request, serviceCidr(this.settings.service_cidr));
    const ip6 = this.free(reader, request, serviceCidr(this.settings.service_cidr6));
    if (ip4 === undefined && ip6 === undefined) {
      const message = 'must be given: there is no range that services get an address of';
      throw new AppError('INVALID_REQUEST', `ip_address: ${message}`, {
        details: [{ path: 'ip_address', message }],
      });
    }
    return {
      ...(ip4 === undefined ? {} : { ip_address: ip4 }),
      ...(ip6 === undefined ? {} : { ip6_address: ip6 }),
    };
  }

  private free(reader: Reader, request: ServiceRequest, cidr: Cidr | undefined): string | undefined {
    if (cidr === undefined) return undefined;
    const used = new Set(reader.list(services).flatMap(addressesOf));
    const found = freeServiceAddress(
      cidr,
      serviceName(request),
      (address) => !used.has(formatAddress(address)) && this.problemOf(reader, address) === undefined,
    );
    if (found !== undefined) return formatAddress(found);
    throw new AppError('POOL_EXHAUSTED', `no IPv${cidr.family} address of the range of services is free`, {
      hint: 'name an address, or widen service_cidr or service_cidr6',
    });
  }

  /** Why no service can have the address. */
  private problemOf(reader: Reader, address: Address): string | undefined {
    const use = specialUse(address);
    if (use !== undefined) return `is one of the ${use} addresses`;
    for (const network of reader.list(networks)) {
      if (networkRanges(network).some(({ cidr }) => cidrContains(cidr, address)))
        return `is inside the network ${network.name}`;
      if (sourceAddressesOf(network).some((source) => source.address === formatAddress(address)))
        return `is what the network ${network.name} leaves under`;
    }
    return this.isOwn(address) ? 'is an address of the node' : undefined;
  }
}
