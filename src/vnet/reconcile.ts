/**
 * At the start: compares what the store wants with what the kernel has, adopts what is right and repairs the
 * rest. Whatever an earlier daemon left half done, at whichever instruction it ended, is finished or undone here.
 * Nothing is removed before everything that is wanted is known.
 */
import { ownerOf } from '../bridge/aliases.js';
import { type ContainerRoute, configuredRoutes } from '../bridge/container-side.js';
import { inspectEndpointDevice } from '../bridge/device-inspection.js';
import { isOwn, restoreHostSide } from '../bridge/endpoint-device.js';
import { HostPaths } from '../bridge/host-paths.js';
import { ensureNetworkDevice, sweepRanges } from '../bridge/network-device.js';
import type { Datapath } from '../datapath/datapath.js';
import type { EndpointState } from '../datapath/endpoint-table.js';
import type { Endpoint } from '../model/endpoint.js';
import { AppError } from '../model/errors.js';
import type { Network } from '../model/network.js';
import { KernelError } from '../native/errors.js';
import { type LinkInfo, NetnsHandle, Rtnl } from '../native/net.js';
import type { Store } from '../store/store.js';
import { attachments, endpoints, identities, networks } from '../store/tables.js';
import { completeEndpoint, condemnEndpoint } from './endpoint-records.js';
import { adoptGuard, isRuntimes, programProblem } from './endpoints/endpoint-programs.js';
import { endpointState } from './endpoints/endpoint-state.js';
import type { Endpoints } from './endpoints/endpoints.js';
import { restoreLimits } from './endpoints/limits.js';
import { requireNetwork } from './networks.js';
import { dropIdentity, type IdentityUse } from './policy/identities.js';

export interface ReconcileParts {
  store: Store;
  host: Rtnl;
  datapath: Datapath;
  endpoints: Endpoints;
  identityUse: IdentityUse;
}

export interface ReconcileReport {
  /** Endpoints that go on as they were. */
  adopted: number;
  /** Endpoints on which something was missing and was put back. */
  repaired: number;
  /** Endpoints without an interface, or half made, that were taken off. */
  removed: number;
  /** Interfaces, routes and pins of ours that belonged to nothing. */
  swept: string[];
  /** What could not be put in order, a sentence each. */
  problems: string[];
}

/** A recorded endpoint that has its interface. */
interface Kept {
  endpoint: Endpoint;
  network: Network;
  link: LinkInfo;
  state: EndpointState;
  /** The maps had it just so. */
  wasKnown: boolean;
  /** Its container is not there yet, or not known: the programs are not to know it. */
  isStaged: boolean;
  /** What the container got, when nobody has recorded it yet: the daemon ended just after the last step. */
  unrecordedRoutes: ContainerRoute[] | undefined;
}

/** What is to become of the recorded endpoints. */
export interface Survey {
  kept: Kept[];
  doomed: Endpoint[];
  /** As in the report. */
  problems: string[];
}

/**
 * Looks at every recorded endpoint, and tells the programs who is where. First of all: rules are put in force
 * later, when every packet is already judged as whom it comes from by now, and the programs after that, when they find
 * all of it.
 */
export function survey({ store, host, datapath }: ReconcileParts): Survey {
  const found: Survey = { kept: [], doomed: [], problems: [] };
  for (const endpoint of store.list(endpoints)) {
    const network = requireNetwork(store, endpoint.network);
    const link = ownLink(host, endpoint);
    const isStaged = endpoint.state === 'creating' && isRuntimes(store, endpoint.id);
    const unrecordedRoutes =
      endpoint.state === 'creating' && !isStaged
        ? routesIfComplete(store, host, endpoint, network)
        : undefined;
    const isWanted = endpoint.state === 'ready' || isStaged || unrecordedRoutes !== undefined;
    if (link === undefined || !isWanted) {
      found.doomed.push(endpoint);
      continue;
    }
    const state = endpointState(store, endpoint, network, link.index);
    const wasKnown = isStaged || datapath.endpoints.matches(state);
    found.kept.push({ endpoint, network, link, state, wasKnown, isStaged, unrecordedRoutes });
  }
  for (const kept of found.kept) {
    if (kept.wasKnown) continue;
    // As in every change of limits the queues come before the programs: those that know an endpoint tell the next daemon,
    // if this one ends here, that no queue is left of what was before.
    found.problems.push(...queueProblems(host, kept));
    datapath.endpoints.put(kept.state);
  }
  return found;
}

/** Takes nobody off: that an interface has gone meanwhile is found out when its programs are looked for. */
function queueProblems(host: Rtnl, { endpoint, network, link }: Kept): string[] {
  try {
    return restoreLimits(host, link.index, endpoint, network, 'all');
  } catch (error) {
    if (!(error instanceof KernelError) && !isUnsupported(error)) throw error;
    return [`endpoint ${endpoint.id}: ${error.message}`];
  }
}

export async function reconcile(
  parts: ReconcileParts,
  { kept, doomed, problems }: Survey,
): Promise<ReconcileReport> {
  const { store, host, datapath } = parts;
  const report: ReconcileReport = { adopted: 0, repaired: 0, removed: 0, swept: [], problems };
  for (const network of store.list(networks)) {
    try {
      ensureNetworkDevice(host, network);
    } catch (error) {
      // Its containers reach each other without it.
      if (!(error instanceof AppError)) throw error;
      report.problems.push(`network ${network.name}: ${error.message}`);
    }
  }

  const states: EndpointState[] = [];
  const ids = new Set<number>();
  // After the bridges: with the address of one go the routes that speak from it.
  const paths = new HostPaths(host);
  for (const candidate of kept) {
    const { endpoint, state, unrecordedRoutes } = candidate;
    const outcome = adopt(parts, candidate, paths, report.problems);
    if (outcome === 'gone') {
      doomed.push(endpoint);
      continue;
    }
    report[outcome]++;
    ids.add(endpoint.id);
    if (!candidate.isStaged) states.push(state);
    if (unrecordedRoutes !== undefined) await complete(store, endpoint, unrecordedRoutes);
  }

  for (const endpoint of doomed) {
    await store.transaction((transaction) => condemnEndpoint(transaction, endpoint));
    await parts.endpoints.remove(endpoint);
    report.removed++;
  }
  await datapath.endpoints.retain(states);
  await datapath.counters.retain(ids);
  report.swept = sweep(parts, ids);
  await dropUnusedIdentities(parts);
  return report;
}

/** The host's side of the endpoint, if it is there and is that endpoint's. */
function ownLink(host: Rtnl, endpoint: Endpoint): LinkInfo | undefined {
  const link = host.link(endpoint.host_interface);
  return isOwn(link, endpoint) ? link : undefined;
}

/**
 * The routes of an endpoint that was being made when the daemon ended, if that was after the last step. Before it
 * nobody was told of the endpoint: undefined.
 */
function routesIfComplete(
  store: Store,
  host: Rtnl,
  endpoint: Endpoint,
  network: Network,
): ContainerRoute[] | undefined {
  const asked = store.get(attachments, [endpoint.id])?.routes ?? [];
  try {
    using netns = NetnsHandle.open(endpoint.netns_path);
    using inside = Rtnl.open(netns);
    if (inspectEndpointDevice(host, inside, endpoint, network, []).length > 0) return undefined;
    return configuredRoutes(inside, endpoint, network, asked);
  } catch (error) {
    if (error instanceof KernelError) return undefined;
    throw error;
  }
}

/** Puts the programs in place and the host's side in order. A container can end at any moment: then it is gone. */
function adopt(
  { host, datapath }: ReconcileParts,
  kept: Kept,
  paths: HostPaths,
  problems: string[],
): 'adopted' | 'repaired' | 'gone' {
  const { endpoint, network, link, wasKnown } = kept;
  const isGone = () => ownLink(host, endpoint)?.index !== link.index;
  let attached: boolean;
  try {
    attached = datapath.attachments.adopt({ interface: link.name, ifindex: link.index });
  } catch (error) {
    if (error instanceof KernelError && isGone()) return 'gone';
    throw error;
  }
  try {
    const guarded = adoptGuard({ host, datapath }, endpoint, link);
    attached ||= guarded;
  } catch (error) {
    const problem = programProblem(endpoint, error);
    if (isGone()) return 'gone';
    problems.push(problem);
  }
  try {
    restoreHostSide(host, link, endpoint, network, paths);
    if (wasKnown) problems.push(...restoreLimits(host, link.index, endpoint, network, 'limited'));
  } catch (error) {
    if (!(error instanceof KernelError) && !isUnsupported(error)) throw error;
    if (isGone()) return 'gone';
    // Only the host does not reach it; as when the network could not get its bridge.
    problems.push(`endpoint ${endpoint.id}: ${error.message}`);
  }
  return attached || !wasKnown || !link.up ? 'repaired' : 'adopted';
}

function isUnsupported(error: unknown): error is AppError {
  return error instanceof AppError && error.code === 'KERNEL_UNSUPPORTED';
}

async function complete(store: Store, endpoint: Endpoint, routes: ContainerRoute[]): Promise<void> {
  await store.transaction((transaction) => completeEndpoint(transaction, endpoint, routes));
}

/** Removes interfaces, routes and pins that carry our mark and that no record wants. */
function sweep({ store, host, datapath }: ReconcileParts, endpointIds: ReadonlySet<number>): string[] {
  const swept: string[] = [];
  const networkIds = new Set(store.list(networks).map(({ id }) => id));
  for (const link of host.links()) {
    const owner = ownerOf(link);
    if (owner === undefined) continue;
    if ((owner.kind === 'endpoint' ? endpointIds : networkIds).has(owner.id)) continue;
    host.deleteLink(link.index);
    swept.push(link.name);
  }
  for (const range of sweepRanges(host, store.list(networks))) swept.push(`route to ${range}`);
  const wanted = new Set(
    store
      .list(endpoints)
      .filter(({ id }) => endpointIds.has(id))
      .map(({ host_interface }) => host_interface),
  );
  for (const name of datapath.attachments.pinned()) {
    if (wanted.has(name)) continue;
    datapath.attachments.unpin(name);
    swept.push(`pins of ${name}`);
  }
  return swept;
}

async function dropUnusedIdentities({ store, identityUse }: ReconcileParts): Promise<void> {
  const unused = store.list(identities).filter(({ id }) => identityUse.count(id) === 0);
  if (unused.length === 0) return;
  await store.transaction((transaction) => {
    for (const { id } of unused) dropIdentity(transaction, id);
  });
}
