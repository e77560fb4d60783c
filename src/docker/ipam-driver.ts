/**
 * libnetwork's remote IPAM driver. Ranges of networks never overlap, so the range is all that a pool is: there is
 * nothing to keep of it. Addresses are those of the network, whoever else connects containers to it.
 */
import {
  type Cidr,
  formatCidr,
  networkCidr4,
  networkCidr6,
  parseAddress,
  parseCidr,
} from '../model/address.js';
import { AppError, parseWith } from '../model/errors.js';
import { dnsLabel } from '../model/names.js';
import { gatewayOf, type Network } from '../model/network.js';
import type { NetworkService, ReservationService } from '../vnet/contract.js';
import { EXISTING } from './options.js';
import type { ReleaseAddress, RequestAddress, RequestPool } from './protocol.js';

export const ADDRESS_SPACE = 'quantum';

const ADDRESS_TYPE = 'RequestAddressType';
const GATEWAY = 'com.docker.network.gateway';

export interface IpamDriverParts {
  networks: NetworkService;
  reservations: ReservationService;
}

export class IpamDriver {
  constructor(private readonly parts: IpamDriverParts) {}

  capabilities() {
    return { RequiresMACAddress: false, RequiresRequestReplay: false };
  }

  addressSpaces() {
    return { LocalDefaultAddressSpace: ADDRESS_SPACE, GlobalDefaultAddressSpace: ADDRESS_SPACE };
  }

  requestPool({ AddressSpace, Pool, SubPool, Options = {}, V6 = false }: RequestPool): object {
    if (AddressSpace !== ADDRESS_SPACE) throw refused('AddressSpace', `must be "${ADDRESS_SPACE}"`);
    if (SubPool !== undefined) throw refused('SubPool', '--ip-range is not supported');
    const unknown = Object.keys(Options).find((key) => key !== EXISTING);
    if (unknown !== undefined) throw refused(unknown, `is not known; there is ${EXISTING}`);
    const range = Object.hasOwn(Options, EXISTING)
      ? this.existingRange(Options[EXISTING], Pool, V6)
      : newRange(Pool, V6);
    return { PoolID: range, Pool: range, Data: {} };
  }

  async requestAddress({ PoolID, Address, Options = {} }: RequestAddress): Promise<object> {
    const pool = poolOf(PoolID);
    const network = this.networkOf(PoolID);
    const address =
      Options[ADDRESS_TYPE] === GATEWAY
        ? gateway(network, PoolID, Address)
        : await this.reserve(network, pool, Address);
    return { Address: `${address}/${pool.prefixLength}`, Data: {} };
  }

  async releaseAddress({ PoolID, Address }: ReleaseAddress): Promise<void> {
    const pool = poolOf(PoolID);
    const network = this.networkOf(PoolID);
    if (network === undefined || Address === undefined) return;
    if (parseAddress(Address).family !== pool.family) throw refused('Address', 'is of another family');
    await this.parts.reservations.release(network.name, Address);
  }

  private reserve(network: Network | undefined, pool: Cidr, wanted: string | undefined): Promise<string> {
    if (network === undefined) {
      throw new AppError('NETWORK_NOT_FOUND', `there is no network of the range ${formatCidr(pool)}`);
    }
    if (wanted !== undefined && parseAddress(wanted).family !== pool.family) {
      throw refused('Address', 'is of another family');
    }
    return this.parts.reservations.reserve(network.name, pool.family, wanted);
  }

  private existingRange(name: unknown, pool: string | undefined, isV6: boolean): string {
    const network = this.parts.networks.get(parseWith(dnsLabel, name, 'INVALID_REQUEST', EXISTING));
    const family = isV6 || (pool?.includes(':') ?? false) ? 6 : 4;
    const range = family === 6 ? network.cidr6 : network.cidr;
    if (range === undefined) {
      throw new AppError('INVALID_REQUEST', `network ${network.name} has no IPv${family} range`);
    }
    if (pool !== undefined && formatCidr(poolOf(pool)) !== range) {
      throw new AppError('INVALID_REQUEST', `network ${network.name} has the range ${range}, not ${pool}`);
    }
    return range;
  }

  private networkOf(range: string): Network | undefined {
    return this.parts.networks.list().find(({ cidr, cidr6 }) => cidr === range || cidr6 === range);
  }
}

/** The gateway that the network has, or, before it is made, will have. */
function gateway(network: Network | undefined, range: string, wanted: string | undefined): string {
  if (network === undefined) return gatewayOf(range, wanted);
  const actual = (network.cidr === range ? network.gateway : network.gateway6) ?? gatewayOf(range);
  if (wanted === undefined || wanted === actual) return actual;
  throw new AppError('INVALID_REQUEST', `the gateway of network ${network.name} is ${actual}, not ${wanted}`);
}

function newRange(pool: string | undefined, isV6: boolean): string {
  if (pool === undefined) {
    throw new AppError('INVALID_REQUEST', `an IPv${isV6 ? 6 : 4} range is needed`, {
      hint: `name one with --subnet, or a network that exists with --ipam-opt ${EXISTING}=NAME`,
    });
  }
  const schema = pool.includes(':') ? networkCidr6 : networkCidr4;
  return parseWith(schema, pool, 'INVALID_REQUEST', 'Pool');
}

function poolOf(text: string): Cidr {
  return parseCidr(text, 'mask');
}

function refused(path: string, message: string): AppError {
  return new AppError('INVALID_REQUEST', `${path}: ${message}`, { details: [{ path, message }] });
}
