/** Changes the options of running containers: their limits of bandwidth. */
import type { Datapath } from '../datapath/datapath.js';
import type { Endpoint, EndpointOptions } from '../model/endpoint.js';
import type { Rtnl } from '../native/net.js';
import type { Store } from '../store/store.js';
import { endpoints } from '../store/tables.js';
import { endpointState } from './endpoint-state.js';
import { limitFoundContainerSide, limitHostSide } from './limits.js';
import { requireNetwork } from './networks.js';

export interface LimitingParts {
  store: Store;
  host: Rtnl;
  datapath: Datapath;
}

/** Only under the serial. When it fails, nothing has changed. */
export async function limitEndpoint(
  parts: LimitingParts,
  before: Endpoint,
  options: EndpointOptions,
): Promise<Endpoint> {
  const { store } = parts;
  const after: Endpoint = { ...before, options };
  await store.transaction((transaction) => transaction.put(endpoints, [after.id], after));
  try {
    impose(parts, after);
  } catch (error) {
    await store.transaction((transaction) => transaction.put(endpoints, [before.id], before));
    impose(parts, before);
    throw error;
  }
  return after;
}

/**
 * The programs last: a daemon that starts after one that ended in between finds that they have not been told, and does
 * it all again.
 */
function impose({ store, host, datapath }: LimitingParts, endpoint: Endpoint): void {
  const network = requireNetwork(store, endpoint.network);
  const link = host.link(endpoint.host_interface);
  if (link === undefined) return;
  limitHostSide(host, link.index, endpoint, network);
  limitFoundContainerSide(host, endpoint, network);
  datapath.endpoints.put(endpointState(store, endpoint, network, link.index));
}
