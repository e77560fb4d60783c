/** The programs on the interfaces of endpoints that are there already: at the start, and while the daemon runs. */
import { containerInterface, isOwn } from '../../bridge/endpoint-device.js';
import type { Datapath } from '../../datapath/datapath.js';
import type { Endpoint } from '../../model/endpoint.js';
import { AppError } from '../../model/errors.js';
import { KernelError } from '../../native/errors.js';
import { type LinkInfo, NetnsHandle, Rtnl } from '../../native/net.js';
import type { Reader } from '../../store/store.js';
import { attachments, endpoints } from '../../store/tables.js';
import type { Steps } from '../../work/steps.js';
import { NO_NETNS } from './staged-endpoints.js';

export interface EndpointProgramsParts {
  store: Reader;
  host: Rtnl;
  datapath: Pick<Datapath, 'attachments'>;
}

/**
 * Takes over the guard on the container's side, or puts it back, wherever that side is. True: it had to be attached. Where
 * this throws, from_container is there all the same: only the second guard is missing.
 */
export function adoptGuard(
  { host, datapath }: Omit<EndpointProgramsParts, 'store'>,
  endpoint: Endpoint,
  link: LinkInfo,
): boolean {
  return datapath.attachments.guard({ interface: link.name, ifindex: link.peerIndex ?? 0 }, () =>
    openNetnsOf(host, endpoint),
  );
}

/**
 * The namespace that the container's side is in: in another one its number is another interface. One of Docker's is in the
 * node's until it is taken into the container that it is for.
 */
function openNetnsOf(host: Rtnl, endpoint: Endpoint): NetnsHandle {
  const { netns_path } = endpoint;
  const found =
    (netns_path === NO_NETNS ? undefined : ifThere(host, endpoint, () => NetnsHandle.open(netns_path))) ??
    ifThere(host, endpoint, () => NetnsHandle.current());
  if (found !== undefined) return found;
  throw new AppError('CONTAINER_NOT_FOUND', `${endpoint.interface_name} is not found in ${netns_path}`);
}

/** The namespace, if it can be opened and the container's side is there. */
function ifThere(host: Rtnl, endpoint: Endpoint, open: () => NetnsHandle): NetnsHandle | undefined {
  let netns: NetnsHandle | undefined;
  try {
    netns = open();
    using inside = Rtnl.open(netns);
    if (containerInterface(host, inside, endpoint) === undefined) return undefined;
    const found = netns;
    netns = undefined;
    return found;
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return undefined;
  } finally {
    netns?.close();
  }
}

/**
 * Puts back what somebody has taken off, unpinned or put others before since the daemon had it in order. Returns what could
 * not be put back, a sentence each. Only under the serial.
 */
export function* mendPrograms({ store, host, datapath }: EndpointProgramsParts): Steps<string[]> {
  const problems: string[] = [];
  for (const endpoint of store.list(endpoints)) {
    yield;
    if (!hasPrograms(store, endpoint)) continue;
    try {
      const { host_interface: name, netns_path } = endpoint;
      const { attachments: attached } = datapath;
      if (attached.isInOrder(name, netns_path)) continue;
      const link = host.link(endpoint.host_interface);
      if (!isOwn(link, endpoint)) continue;
      attached.adopt({ interface: link.name, ifindex: link.index });
      adoptGuard({ host, datapath }, endpoint, link);
    } catch (error) {
      // The others are looked after all the same.
      problems.push(`endpoint ${endpoint.id}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return problems;
}

/** What keeps a program from an interface; throws what is no answer of the kernel. */
export function programProblem({ id }: Endpoint, error: unknown): string {
  if (error instanceof KernelError || error instanceof AppError) return `endpoint ${id}: ${error.message}`;
  throw error;
}

/** Also one that is made for a container that its runtime makes later. */
function hasPrograms(store: Reader, { id, state }: Endpoint): boolean {
  return state === 'ready' || (state === 'creating' && isRuntimes(store, id));
}

/** Whether it is made for a container that its runtime makes later. */
export function isRuntimes(store: Reader, endpointId: number): boolean {
  return store.get(attachments, [endpointId])?.staged_key !== undefined;
}
