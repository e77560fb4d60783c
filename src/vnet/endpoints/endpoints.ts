/** What may be asked of endpoints: each change alone, under the serial. */
import type { Endpoint, EndpointPatch, EndpointRequest } from '../../model/endpoint.js';
import { AppError } from '../../model/errors.js';
import { endpointKeys, endpoints } from '../../store/tables.js';
import { inTurns } from '../../work/turns.js';
import type { EndpointService } from '../contract.js';
import { endpointsOf } from '../endpoint-records.js';
import { requireNetwork } from '../networks.js';
import { Enlistment } from '../policy/enlistment.js';
import type { IdentityUse } from '../policy/identities.js';
import type { Serial } from '../serial.js';
import { describeEndpoint, type EndpointDescription, inspectEndpoint } from './endpoint-inspection.js';
import { type ConnectOptions, EndpointMaker, type EndpointMakerParts } from './endpoint-maker.js';
import { mendPrograms } from './endpoint-programs.js';
import { Relabelling, type RelabellingParts } from './relabelling.js';
import { StagedEndpoints } from './staged-endpoints.js';

export interface EndpointsParts extends EndpointMakerParts, RelabellingParts {
  serial: Serial;
  identityUse: IdentityUse;
}

export class Endpoints implements EndpointService {
  readonly staged: StagedEndpoints;
  private readonly maker: EndpointMaker;
  private readonly relabelling: Relabelling;

  constructor(private readonly parts: EndpointsParts) {
    const enlistment = new Enlistment(parts.store, parts.policy, parts.identityUse, parts.onLeft);
    this.maker = new EndpointMaker(parts, enlistment);
    this.relabelling = new Relabelling(parts, enlistment);
    const { store, host, serial, onLeft } = parts;
    this.staged = new StagedEndpoints({ store, host, serial, maker: this.maker, enlistment, onLeft });
  }

  /** Waits for what the kernel still does for endpoints that are gone. */
  idle(): Promise<void> {
    return this.maker.idle();
  }

  list(network?: string): Endpoint[] {
    const { store } = this.parts;
    if (network === undefined) return store.list(endpoints);
    const { id } = requireNetwork(store, network);
    return store
      .list(endpointKeys, [id])
      .flatMap(({ endpoint_id }) => store.get(endpoints, [endpoint_id]) ?? [])
      .sort((left, right) => left.id - right.id);
  }

  get(network: string, containerId: string, interfaceName?: string): Endpoint {
    const [first] = this.find(network, containerId, interfaceName);
    return first;
  }

  connect(
    network: string,
    request: EndpointRequest,
    options: ConnectOptions = { origin: 'rest', routes: [] },
  ): Promise<Endpoint> {
    return this.parts.serial.run(() => this.maker.make(network, request, options));
  }

  patch(
    network: string,
    containerId: string,
    patch: EndpointPatch,
    interfaceName?: string,
  ): Promise<Endpoint> {
    return this.parts.serial.run(async () =>
      this.relabelling.patch(this.find(network, containerId, interfaceName), patch),
    );
  }

  disconnect(networkName: string, containerId: string, interfaceName?: string): Promise<void> {
    return this.parts.serial.run(async () => {
      for (const endpoint of this.find(networkName, containerId, interfaceName)) await this.remove(endpoint);
    });
  }

  /** How the endpoint is made, as its network and its record have it. */
  describe(endpoint: Endpoint): EndpointDescription {
    return describeEndpoint(this.parts, endpoint);
  }

  /** What of it is not as it was made; of its routes only those to these destinations are looked for. */
  async inspect(endpoint: Endpoint, routesTo?: ReadonlySet<string>): Promise<string[]> {
    return inspectEndpoint(this.parts, endpoint, routesTo);
  }

  /** Puts programs and pins back that somebody has removed; what could not be, a sentence each. */
  mend(): Promise<string[]> {
    return this.parts.serial.run(() => inTurns(mendPrograms(this.parts)));
  }

  /** Takes an endpoint off, however much of it exists. Only under the serial. */
  remove(endpoint: Endpoint): Promise<void> {
    return this.maker.remove(endpoint);
  }

  private find(network: string, containerId: string, interfaceName?: string): [Endpoint, ...Endpoint[]] {
    const { store } = this.parts;
    const [first, ...others] = endpointsOf(store, requireNetwork(store, network), containerId, interfaceName);
    if (first !== undefined) return [first, ...others];
    const what = interfaceName === undefined ? '' : ` by ${interfaceName}`;
    throw new AppError(
      'CONTAINER_NOT_FOUND',
      `container ${containerId} is not connected to ${network}${what}`,
    );
  }
}
