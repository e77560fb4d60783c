/** Changes the options of running containers: their limits of bandwidth. */
import type { Datapath } from '../../datapath/datapath.js';
import type { Endpoint, EndpointOptions } from '../../model/endpoint.js';
import type { Rtnl } from '../../native/net.js';
import type { Store } from '../../store/store.js';
import { endpoints } from '../../store/tables.js';
import { requireNetwork } from '../networks.js';
import { type OnLeft, Rollback } from '../rollback.js';
import { endpointState } from './endpoint-state.js';
import { limitFoundContainerSide, limitSide } from './limits.js';

export interface LimitingParts {
  store: Store;
  host: Rtnl;
  datapath: Datapath;
  /** Told of each endpoint whose queue on the container's side was to be changed, and was not found. */
  onQueueNotFound(endpoint: Endpoint): void;
  onLeft: OnLeft;
}

/** Only under the serial. When it fails, nothing has changed. */
export async function limitEndpoint(
  parts: LimitingParts,
  before: Endpoint,
  options: EndpointOptions,
): Promise<Endpoint> {
  const { store } = parts;
  const after: Endpoint = { ...before, options };
  const rollback = new Rollback(parts.onLeft);
  await store.transaction((transaction) => transaction.put(endpoints, [after.id], after));
  rollback.add(`the limits of endpoint ${after.id}, some of which are the new ones`, () =>
    impose(parts, before, after),
  );
  rollback.add(`options of endpoint ${after.id} are recorded that are not in force`, () =>
    store.transaction((transaction) => transaction.put(endpoints, [before.id], before)),
  );
  try {
    const isSmoothed = [before, after].some(
      (endpoint) => endpoint.options?.bandwidth?.egress_rate !== undefined,
    );
    if (!impose(parts, after, before) && isSmoothed) parts.onQueueNotFound(after);
  } catch (error) {
    await rollback.run();
    throw error;
  }
  return after;
}

/**
 * The programs last: a daemon that starts after one that ended in between finds that they have not been told, and does
 * it all again. They keep the limit also where the container's side is not found: then its queue is not changed.
 */
function impose({ store, host, datapath }: LimitingParts, endpoint: Endpoint, before: Endpoint): boolean {
  const network = requireNetwork(store, endpoint.network);
  const link = host.link(endpoint.host_interface);
  if (link === undefined) return true;
  limitSide('host', host, link.index, endpoint, network, before);
  const isChanged = limitFoundContainerSide(host, endpoint, network, before);
  datapath.endpoints.put(endpointState(store, endpoint, network, link.index));
  return isChanged;
}
