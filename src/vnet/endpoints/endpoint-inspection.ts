/** What an endpoint is like in the kernel, beside what it should be like. */
import type { ContainerRoute } from '../../bridge/container-side.js';
import { inspectEndpointDevice } from '../../bridge/device-inspection.js';
import { networkMtu } from '../../bridge/network-device.js';
import type { Datapath } from '../../datapath/datapath.js';
import type { Endpoint } from '../../model/endpoint.js';
import { AppError } from '../../model/errors.js';
import type { Network } from '../../model/network.js';
import { Rtnl } from '../../native/net.js';
import type { Reader } from '../../store/store.js';
import { attachments } from '../../store/tables.js';
import type { Origin } from '../endpoint-records.js';
import type { Publishing } from '../nat/publishing.js';
import { requireNetwork } from '../networks.js';
import { openContainerNetns } from './container-netns.js';
import { endpointState } from './endpoint-state.js';
import { inspectLimits } from './limits.js';

export interface EndpointInspectionParts {
  store: Reader;
  host: Rtnl;
  datapath: Datapath;
  publishing: Publishing;
}

/** An endpoint with everything that its making has added to it. */
export interface EndpointDescription {
  endpoint: Endpoint;
  network: Network;
  /** Of both sides, bytes. */
  mtu: number;
  /** Of the host's side; undefined: it is gone. Not for containers to know. */
  host_mac: string | undefined;
  /** Routes inside the container, default routes included. */
  routes: ContainerRoute[];
  origin: Origin;
}

/** How the endpoint is made, as its network and its record have it. */
export function describeEndpoint(parts: EndpointInspectionParts, endpoint: Endpoint): EndpointDescription {
  const { store, host } = parts;
  const network = requireNetwork(store, endpoint.network);
  const record = store.get(attachments, [endpoint.id]);
  return {
    endpoint,
    network,
    mtu: networkMtu(network),
    host_mac: host.link(endpoint.host_interface)?.mac,
    routes: [...(record?.routes ?? [])],
    origin: record?.origin ?? 'rest',
  };
}

/** What of the endpoint's state in the kernel is not as it should be; a sentence each. `routesTo`: of its routes these. */
export function inspectEndpoint(
  parts: EndpointInspectionParts,
  endpoint: Endpoint,
  routesTo?: ReadonlySet<string>,
): string[] {
  const { store, host, datapath, publishing } = parts;
  const network = requireNetwork(store, endpoint.network);
  const link = host.link(endpoint.host_interface);
  const problems: string[] = endpoint.state === 'ready' ? [] : [`the endpoint is ${endpoint.state}`];
  try {
    using netns = openContainerNetns(endpoint.netns_path);
    using inside = Rtnl.open(netns);
    const made = store.get(attachments, [endpoint.id])?.routes ?? [];
    const routes = routesTo === undefined ? made : made.filter(({ dst }) => routesTo.has(dst));
    problems.push(...inspectEndpointDevice(host, inside, endpoint, network, routes));
    problems.push(...inspectLimits(host, inside, endpoint, network));
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    problems.push(error.message);
  }
  if (link === undefined) return problems;
  if (!datapath.attachments.isAttached({ interface: link.name, ifindex: link.index })) {
    problems.push(`the programs are not attached to ${link.name}`);
  }
  if (!datapath.endpoints.matches(endpointState(store, endpoint, network, link.index))) {
    problems.push(`the maps of the programs do not have ${link.name} as it should be`);
  }
  for (const { protocol, port, family } of publishing.missing(endpoint)) {
    problems.push(`${protocol} port ${port} of the node (IPv${family}) does not lead to the container`);
  }
  return problems;
}
