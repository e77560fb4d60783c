/**
 * An interface of the node's that never has a packet: bpf_fib_lookup() answers only for an interface whose traffic the
 * node would forward, and on those that have packets that is the operator's to say. Whoever wants to route what containers
 * send by rules of their own can name it (`ip rule add iif qnrouter ...`).
 */
import { AppError } from '../model/errors.js';
import type { LinkInfo, Rtnl } from '../native/net.js';
import { forwardIpv6, setIpv4Conf } from './guard.js';

const NAME = 'qnrouter';
const ALIAS = 'quantum:router';

/** Makes it as it should be, whatever is there of it; its ifindex. INTERFACE_EXISTS: its name is somebody else's. */
export function ensureRouterDevice(rtnl: Rtnl): number {
  const found = rtnl.link(NAME);
  if (found === undefined) rtnl.createBridge({ name: NAME, alias: ALIAS });
  else if (!isOwn(found)) {
    throw new AppError('INTERFACE_EXISTS', `the node has an interface ${NAME} that is not ours`);
  }
  const link = rtnl.link(NAME);
  if (link === undefined) throw new Error(`${NAME} vanished`);
  setIpv4Conf(NAME, 'forwarding', 1);
  forwardIpv6(NAME);
  return link.index;
}

/** Nothing there is fine, and what is somebody else's stays. */
export function removeRouterDevice(rtnl: Rtnl): void {
  const found = rtnl.link(NAME);
  if (found !== undefined && isOwn(found)) rtnl.deleteLink(found.index);
}

/** The alias is set a moment after the interface is made, which is never up. */
function isOwn({ kind, alias, up }: LinkInfo): boolean {
  return kind === 'bridge' && (alias === ALIAS || (alias === undefined && !up));
}
