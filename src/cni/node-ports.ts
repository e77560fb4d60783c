import { AppError } from '../model/errors.js';
import type { Network, NetworkRequest } from '../model/network.js';
import type { LocalNode } from '../vnet/node.js';
import type { Attachment, AttachmentKey, AttachRequest, CniPorts, Inspection, NodeStatus } from './ports.js';

export class NodeCniPorts implements CniPorts {
  constructor(private readonly node: LocalNode) {}

  async findNetwork(name: string): Promise<Network | undefined> {
    try {
      return this.node.networks.get(name);
    } catch (error) {
      if (error instanceof AppError && error.code === 'NETWORK_NOT_FOUND') return undefined;
      throw error;
    }
  }

  createNetwork(request: NetworkRequest): Promise<Network> {
    return this.node.networks.create(request);
  }

  async attach({ network, routes, spans, ...request }: AttachRequest): Promise<Attachment> {
    const endpoint = await this.node.endpoints.connect(network, request, { origin: 'cni', routes, spans });
    return this.node.endpoints.describe(endpoint);
  }

  async detach({ network, container_id, interface_name }: AttachmentKey): Promise<boolean> {
    await this.node.endpoints.disconnect(network, container_id, interface_name);
    return true;
  }

  async inspect(
    { network, container_id, interface_name }: AttachmentKey,
    routesTo: ReadonlySet<string>,
  ): Promise<Inspection> {
    const endpoint = this.node.endpoints.get(network, container_id, interface_name);
    return {
      ...this.node.endpoints.describe(endpoint),
      problems: await this.node.endpoints.inspect(endpoint, routesTo),
    };
  }

  async attachments(network: string): Promise<AttachmentKey[]> {
    return this.node.endpoints
      .list(network)
      .filter((endpoint) => this.node.endpoints.describe(endpoint).origin === 'cni')
      .map(({ container_id, interface_name }) => ({ network, container_id, interface_name }));
  }

  async status(name?: string): Promise<NodeStatus> {
    const { ready } = this.node.observation.readiness();
    if (!ready) return { ready: false, connectivity: true, message: 'the daemon is starting' };
    const network = name === undefined ? undefined : await this.findNetwork(name);
    const full = network && this.node.networks.exhaustedFamily(network);
    if (full === undefined) return { ready: true, connectivity: true };
    return {
      ready: false,
      connectivity: true,
      message: `network ${name} has no free IPv${full} address left`,
    };
  }
}
