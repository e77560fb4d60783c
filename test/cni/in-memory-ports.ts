/** The endpoint service as the CNI server sees it, in memory: addresses are given out, nothing is made. */

import type {
  Attachment,
  AttachmentKey,
  AttachRequest,
  CniPorts,
  Inspection,
  NodeStatus,
} from '../../src/cni/ports.js';
import { addressAt, formatAddress, parseCidr } from '../../src/model/address.js';
import { AppError } from '../../src/model/errors.js';
import {
  type Network,
  type NetworkRequest,
  type NetworkRequestInput,
  networkFrom,
  networkRequest,
} from '../../src/model/network.js';

function keyText({ network, container_id, interface_name }: AttachmentKey): string {
  return `${network}/${container_id}/${interface_name}`;
}

export class InMemoryPorts implements CniPorts {
  readonly networks = new Map<string, Network>();
  readonly attached = new Map<string, Attachment>();
  /** What attach was asked for, in order. */
  readonly requests: AttachRequest[] = [];
  /** Every detach, in order. */
  readonly detached: AttachmentKey[] = [];
  /** Attachments that another interface of the daemon made. */
  readonly others = new Set<string>();
  problems: string[] = [];
  state: NodeStatus = { ready: true, connectivity: true };
  /** Thrown by the next calls of attach or detach. */
  attachError: unknown;
  detachError: unknown;
  /** Held by attach and detach before they do anything. */
  gate: Promise<void> = Promise.resolve();
  createCalls = 0;
  #next = 1;

  /** A network made through another interface. */
  addNetwork(request: NetworkRequestInput): Network {
    const parsed = networkRequest.parse(request);
    const made = networkFrom(parsed, { id: this.networks.size + 1, created_at: new Date().toISOString() });
    this.networks.set(made.name, made);
    return made;
  }

  async findNetwork(name: string): Promise<Network | undefined> {
    await Promise.resolve();
    return this.networks.get(name);
  }

  async createNetwork(request: NetworkRequest): Promise<Network> {
    this.createCalls += 1;
    await new Promise((resolve) => setImmediate(resolve));
    if (this.networks.has(request.name)) throw new AppError('NETWORK_EXISTS');
    return this.addNetwork(request);
  }

  async attach(request: AttachRequest): Promise<Attachment> {
    await this.gate;
    if (this.attachError !== undefined) throw this.attachError;
    const network = this.networks.get(request.network);
    if (network === undefined) throw new AppError('NETWORK_NOT_FOUND');
    if (this.attached.has(keyText(request))) throw new AppError('ENDPOINT_EXISTS');
    this.requests.push(request);
    const id = this.#next++;
    const offset = BigInt(id) + 1n;
    const pick = (range: string | undefined, wanted: string | undefined) =>
      range === undefined ? undefined : (wanted ?? formatAddress(addressAt(parseCidr(range), offset)));
    const ip_address = pick(network.cidr, request.ip_address);
    const ip6_address = pick(network.cidr6, request.ip6_address);
    const attachment: Attachment = {
      network,
      mtu: network.options.mtu ?? 1500,
      host_mac: '02:00:00:00:ff:01',
      routes: [
        ...(ip_address === undefined ? [] : [{ dst: '0.0.0.0/0', gw: network.gateway ?? '' }]),
        ...(ip6_address === undefined ? [] : [{ dst: '::/0', gw: network.gateway6 ?? '' }]),
        ...request.routes,
      ],
      endpoint: {
        id,
        network: network.name,
        network_id: network.id,
        container_id: request.container_id,
        interface_name: request.interface_name,
        netns_path: request.netns_path,
        namespace: request.namespace,
        labels: request.labels,
        ...(ip_address === undefined ? {} : { ip_address }),
        ...(ip6_address === undefined ? {} : { ip6_address }),
        mac_address: request.mac_address ?? `02:00:00:00:00:${id.toString(16).padStart(2, '0')}`,
        ...(network.gateway === undefined ? {} : { gateway: network.gateway }),
        ...(network.gateway6 === undefined ? {} : { gateway6: network.gateway6 }),
        identity: 256 + id,
        host_interface: `qn${id.toString(16).padStart(8, '0')}`,
        ports: request.ports,
        created_at: new Date().toISOString(),
        state: 'ready',
      },
    };
    this.attached.set(keyText(request), attachment);
    return attachment;
  }

  async detach(key: AttachmentKey): Promise<boolean> {
    await this.gate;
    if (this.detachError !== undefined) throw this.detachError;
    this.detached.push(key);
    if (!this.networks.has(key.network)) throw new AppError('NETWORK_NOT_FOUND');
    return this.attached.delete(keyText(key));
  }

  async inspect(key: AttachmentKey): Promise<Inspection> {
    await Promise.resolve();
    const attachment = this.attached.get(keyText(key));
    if (attachment === undefined) throw new AppError('CONTAINER_NOT_FOUND');
    return { ...attachment, problems: this.problems };
  }

  async attachments(network: string): Promise<AttachmentKey[]> {
    await Promise.resolve();
    return [...this.attached.values()]
      .filter(({ endpoint }) => endpoint.network === network && !this.others.has(keyText(endpoint)))
      .map(({ endpoint }) => endpoint);
  }

  async status(): Promise<NodeStatus> {
    await Promise.resolve();
    return this.state;
  }
}
