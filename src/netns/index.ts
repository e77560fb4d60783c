/** Network namespaces and veth pairs: a library of its own. Guide: docs/netns.md */
export type { AddressInfo, LinkInfo, NeighbourInfo, RouteInfo } from '../native/net.js';
export { NetnsHandle, Rtnl } from '../native/net.js';
export {
  CNI_VERSIONS,
  type CniDns,
  type CniInterface,
  type CniIp,
  type CniResult,
  type CniResultInterface,
  type CniResultOptions,
  type CniRoute,
  type CniVersion,
  cniResult,
} from './cni-result.js';
export type { ExecOptions, ExecResult } from './command.js';
export { ClosedError, CommandError, KernelError } from './errors.js';
export { NETNS_DIRECTORY } from './named.js';
export { type InterfaceRoute, type InterfaceSettings, Netns } from './netns.js';
export { createVethPair, type VethEnd, type VethOptions } from './veth.js';
