/**
 * libnetwork's remote network driver. Docker repeats a call whose answer it did not get, also to the next daemon: each
 * can be carried out twice.
 */
import { formatCidr, parseCidr } from '../model/address.js';
import { endpointRequest, stagedInterface } from '../model/endpoint.js';
import { AppError, parseWith } from '../model/errors.js';
import { labelOf } from '../model/names.js';
import type { Network } from '../model/network.js';
import type {
  NetworkService,
  RuntimeNetworkService,
  StagedEndpoint,
  StagedEndpointService,
} from '../vnet/contract.js';
import type { Identification } from './identification.js';
import { ADDRESS_SPACE } from './ipam-driver.js';
import { endpointOptions, MADE_BY_DOCKER, MADE_BY_LABEL, networkOptions, type Ranges } from './options.js';
import { publishedPorts } from './ports.js';
import type {
  CreateEndpoint,
  CreateNetwork,
  EndpointReference,
  IpamData,
  Join,
  ProgramConnectivity,
} from './protocol.js';

/** How long Docker is kept waiting until it is known whose an endpoint is; it goes on without, and nothing passes. */
const PATIENCE_MS = 2_000;
/** What the interface is called in the container; Docker adds a number. */
const INTERFACE_PREFIX = 'eth';
/** What it is called there until that number is known. */
const FIRST_INTERFACE = `${INTERFACE_PREFIX}0`;

export interface NetworkDriverParts {
  networks: NetworkService;
  runtimeNetworks: RuntimeNetworkService;
  staged: StagedEndpointService;
  identification: Identification;
}

export class NetworkDriver {
  constructor(private readonly parts: NetworkDriverParts) {}

  capabilities() {
    return { Scope: 'local', ConnectivityScope: 'local' };
  }

  async createNetwork({ NetworkID, Options, ...data }: CreateNetwork): Promise<void> {
    const { runtimeNetworks, networks } = this.parts;
    const options = networkOptions(NetworkID, Options);
    const [data4, data6] = [single('IPv4', data.IPv4Data), single('IPv6', data.IPv6Data)];
    const ranges = rangesOf(data4, data6);
    const known = runtimeNetworks.find(NetworkID)?.network;
    if (known !== undefined) return requireRanges(known, ranges);
    if (options.existing === undefined) {
      const network = await this.make(options.request(ranges));
      requireRanges(network, ranges);
      await runtimeNetworks.bind(NetworkID, network, true);
      return;
    }
    const network = networks.get(options.existing);
    requireRanges(network, ranges);
    for (const [family, one] of [
      ['IPv4', data4],
      ['IPv6', data6],
    ] as const) {
      if (one === undefined || one.AddressSpace === ADDRESS_SPACE) continue;
      throw new AppError(
        'INVALID_REQUEST',
        `the ${family} addresses of network ${network.name} are its own`,
        {
          hint: `use --ipam-driver with this plugin and --ipam-opt quantum.network=${network.name}`,
        },
      );
    }
    await runtimeNetworks.bind(NetworkID, network, false);
  }

  async deleteNetwork({ NetworkID }: { NetworkID: string }): Promise<void> {
    const { runtimeNetworks, networks } = this.parts;
    const found = runtimeNetworks.find(NetworkID);
    try {
      // Whose it is must be known for as long as it is there: a daemon that ends meanwhile is asked again.
      if (found?.owned === true) await networks.delete(found.network.name);
    } finally {
      // Docker forgets it whatever it is answered.
      await runtimeNetworks.forget(NetworkID);
    }
  }

  async createEndpoint({ NetworkID, EndpointID, Interface, Options }: CreateEndpoint): Promise<object> {
    const network = this.requireNetwork(NetworkID);
    const { labels, namespace, bandwidth } = endpointOptions(Options);
    const ports = publishedPorts(Options);
    const fields = {
      interface_name: FIRST_INTERFACE,
      ip_address: Interface?.Address,
      ip6_address: Interface?.AddressIPv6,
      mac_address: Interface?.MacAddress,
      namespace,
      labels,
      ports,
      ...(bandwidth === undefined ? {} : { options: { bandwidth } }),
    };
    const schema = endpointRequest.omit({ container_id: true, netns_path: true });
    const request = parseWith(schema, fields, 'INVALID_REQUEST', 'endpoint');
    const endpoint = await this.parts.staged.stage(network.name, EndpointID, NetworkID, request);
    // What Docker has said itself it does not want to hear again.
    const MacAddress = Interface?.MacAddress === undefined ? endpoint.mac_address : '';
    return { Interface: { MacAddress } };
  }

  async deleteEndpoint({ EndpointID }: EndpointReference): Promise<void> {
    await this.parts.staged.remove(EndpointID);
  }

  endpointInfo({ EndpointID }: EndpointReference): object {
    this.requireEndpoint(EndpointID);
    return { Value: {} };
  }

  async join({ EndpointID, SandboxKey }: Join): Promise<object> {
    const { staged, identification } = this.parts;
    this.requireEndpoint(EndpointID);
    const endpoint = await staged.join(EndpointID, SandboxKey);
    identification.follow(EndpointID);
    return {
      InterfaceName: { SrcName: stagedInterface(endpoint.id), DstPrefix: INTERFACE_PREFIX },
      Gateway: endpoint.ip_address === undefined ? '' : (endpoint.gateway ?? ''),
      GatewayIPv6: endpoint.ip6_address === undefined ? '' : (endpoint.gateway6 ?? ''),
    };
  }

  async leave({ EndpointID }: EndpointReference): Promise<void> {
    await this.parts.staged.leave(EndpointID);
  }

  /** Called when Docker can tell the container already, and before it makes it: so its first packet finds its rules. */
  async programConnectivity({ EndpointID }: ProgramConnectivity): Promise<void> {
    this.requireEndpoint(EndpointID);
    await this.parts.identification.settled(EndpointID, PATIENCE_MS);
  }

  private async make(request: Parameters<NetworkService['create']>[0]): Promise<Network> {
    const { networks, runtimeNetworks } = this.parts;
    try {
      return await networks.create(request);
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'NETWORK_EXISTS') throw error;
      // A daemon before this one may have ended between the network and the record of what Docker calls it.
      const found = networks.get(request.name);
      const isOrphan =
        labelOf(found.labels, MADE_BY_LABEL) === MADE_BY_DOCKER && !runtimeNetworks.isOwned(found);
      if (!isOrphan) throw error;
      return found;
    }
  }

  private requireNetwork(key: string): Network {
    const found = this.parts.runtimeNetworks.find(key);
    if (found !== undefined) return found.network;
    throw new AppError('NETWORK_NOT_FOUND', `there is no network ${key.slice(0, 12)} here any more`, {
      hint: 'remove it with `docker network rm` and create it again',
    });
  }

  private requireEndpoint(key: string): StagedEndpoint {
    const found = this.parts.staged.find(key);
    if (found !== undefined) return found;
    throw new AppError('CONTAINER_NOT_FOUND', `there is no endpoint ${key.slice(0, 12)} here any more`, {
      hint: 'start the container again',
    });
  }
}

/** The only entry of the list, if there is one. */
function single(family: string, data: IpamData[] = []): IpamData | undefined {
  const [first, second] = data;
  if (second !== undefined) {
    throw new AppError('INVALID_REQUEST', `a network has at most one ${family} subnet`);
  }
  if (Object.keys(first?.AuxAddresses ?? {}).length > 0) {
    throw new AppError('INVALID_REQUEST', '--aux-address is not supported');
  }
  return first;
}

function rangesOf(data4: IpamData | undefined, data6: IpamData | undefined): Ranges {
  return {
    ...(data4 === undefined ? {} : { cidr: data4.Pool, gateway: data4.Gateway }),
    ...(data6 === undefined ? {} : { cidr6: data6.Pool, gateway6: data6.Gateway }),
  };
}

/** Throws INVALID_REQUEST when the network is another one than Docker takes it for. */
function requireRanges(network: Network, ranges: Ranges): void {
  const compare = (wanted: string | undefined, actual: string | undefined, what: string) => {
    if (wanted === undefined || wanted === actual) return;
    const has = actual === undefined ? `no ${what}` : `the ${what} ${actual}, not ${wanted}`;
    throw new AppError('INVALID_REQUEST', `network ${network.name} has ${has}`);
  };
  compare(canonical(ranges.cidr), network.cidr, 'IPv4 range');
  compare(ranges.gateway, network.gateway, 'IPv4 gateway');
  compare(canonical(ranges.cidr6), network.cidr6, 'IPv6 range');
  compare(ranges.gateway6, network.gateway6, 'IPv6 gateway');
}

function canonical(range: string | undefined): string | undefined {
  return range === undefined ? undefined : formatCidr(parseCidr(range));
}
