/** The limits of bandwidth of an endpoint, beside what the programs keep of them: the queues of its two interfaces. */
import { containerInterface } from '../../bridge/endpoint-device.js';
import { networkMtu } from '../../bridge/network-device.js';
import { queueKinds } from '../../bridge/queue-kinds.js';
import { isShaped, type Side, shape } from '../../bridge/shaper.js';
import { type Buckets, bucketsOf } from '../../model/bandwidth.js';
import type { Endpoint } from '../../model/endpoint.js';
import type { Network } from '../../model/network.js';
import { KernelError } from '../../native/errors.js';
import { NetnsHandle, Rtnl } from '../../native/net.js';

export function limitsOf(endpoint: Endpoint, network: Network): Buckets {
  const buckets = bucketsOf(endpoint.options?.bandwidth, networkMtu(network));
  const { egress } = buckets;
  return egress !== undefined && queueKinds().container === 'fq'
    ? { ...buckets, departure: egress }
    : buckets;
}

/** What each side's queue limits: what goes out by that interface. */
const DIRECTION = { host: 'ingress', container: 'egress' } as const;

/**
 * Gives a side of a pair, or changes, the queue that it needs; `rtnl` is of that side's namespace, `before` the endpoint as
 * it is known to have been until now. KERNEL_UNSUPPORTED.
 */
export function limitSide(
  side: Side,
  rtnl: Rtnl,
  index: number,
  endpoint: Endpoint,
  network: Network,
  before?: Endpoint,
): void {
  const bucketOf = (of: Endpoint) => limitsOf(of, network)[DIRECTION[side]];
  shape(rtnl, index, side, bucketOf(endpoint), before && bucketOf(before));
}

/**
 * The same of the container's side, wherever it is. False: it could not be found, or changed. Then what the container sends is cut to its limit
 * and not smoothed.
 */
export function limitFoundContainerSide(
  host: Rtnl,
  endpoint: Endpoint,
  network: Network,
  before?: Endpoint,
): boolean {
  try {
    using netns = NetnsHandle.open(endpoint.netns_path);
    using inside = Rtnl.open(netns);
    const name = containerInterface(host, inside, endpoint);
    const index = name === undefined ? undefined : inside.link(name)?.index;
    if (index === undefined) return false;
    limitSide('container', inside, index, endpoint, network, before);
    return true;
  } catch (error) {
    if (error instanceof KernelError) return false;
    throw error;
  }
}

/**
 * Puts the queues in order of an endpoint that was found: those that it has a limit for, or all. Returns what could not be
 * done, a sentence each. KERNEL_UNSUPPORTED.
 */
export function restoreLimits(
  host: Rtnl,
  index: number,
  endpoint: Endpoint,
  network: Network,
  which: 'limited' | 'all',
): string[] {
  const { egress, ingress } = limitsOf(endpoint, network);
  if (ingress !== undefined || which === 'all') limitSide('host', host, index, endpoint, network);
  if (egress === undefined && which === 'limited') return [];
  if (limitFoundContainerSide(host, endpoint, network) || egress === undefined) return [];
  return [`endpoint ${endpoint.id}: what it sends is cut to its limit, and not smoothed`];
}

/** What of the queues is not as it should be; a sentence each. */
export function inspectLimits(host: Rtnl, inside: Rtnl, endpoint: Endpoint, network: Network): string[] {
  const { egress, ingress } = limitsOf(endpoint, network);
  const isUnlike = (rtnl: Rtnl, name: string, side: 'host' | 'container', bucket: typeof egress) => {
    const index = rtnl.link(name)?.index;
    return index !== undefined && !isShaped(rtnl, index, side, bucket);
  };
  return [
    ...(isUnlike(host, endpoint.host_interface, 'host', ingress)
      ? [`the queue of ${endpoint.host_interface} does not have the limit of bandwidth`]
      : []),
    ...(isUnlike(inside, endpoint.interface_name, 'container', egress)
      ? [`the queue of ${endpoint.interface_name} does not have the limit of bandwidth`]
      : []),
  ];
}
