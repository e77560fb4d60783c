/** Gives away ports of the node, each to one owner. */
import { type Address, parseAddress } from '../../model/address.js';
import { AppError } from '../../model/errors.js';
import type { Protocol } from '../../model/names.js';
import type { Settings } from '../../model/settings.js';
import type { FrontendPlace } from '../../nat/frontend.js';
import { findClash, freePort, nodePorts, type TakenPort } from '../../nat/ports.js';

export interface NodePortsParts {
  settings: Pick<Settings, 'nat_port_min' | 'nat_port_max' | 'port_mapping_min' | 'port_mapping_max'>;
  /** Whether an address is the node's own, as it is now. */
  isOwn: (address: Address) => boolean;
  /** Sockets of the node at a port. */
  listeningAt: (protocol: Protocol, port: number) => TakenPort[];
}

export interface WantedPort {
  protocol: Protocol;
  /** Undefined: any free one. */
  port: number | undefined;
  address: string | undefined;
}

/** What the addresses are called that stand for all of a family. */
const EVERY: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

export class NodePorts {
  /** Where the search for a free port begins. */
  private next: number;

  constructor(private readonly parts: NodePortsParts) {
    this.next = parts.settings.port_mapping_min;
  }

  /**
   * The wanted port, or one that is free. `field`: what to call it and its address in errors. NODE_PORT_IN_USE names the
   * owner; NODE_PORTS_EXHAUSTED; INVALID_REQUEST: the address is not the node's.
   */
  choose(wanted: WantedPort, taken: readonly TakenPort[], field: { port: string; address: string }): number {
    const { address } = wanted;
    if (address !== undefined && !EVERY.has(address) && !this.parts.isOwn(parseAddress(address))) {
      const message = `${address} is not an address of the node`;
      throw new AppError('INVALID_REQUEST', `${field.address}: ${message}`, {
        details: [{ path: field.address, message }],
      });
    }
    if (wanted.port === undefined) return this.free(wanted, taken);
    const owner = this.ownerOf(wanted.port, wanted, taken);
    if (owner === undefined) return wanted.port;
    const message = `port ${wanted.port} of the node (${wanted.protocol}) belongs to ${owner}`;
    throw new AppError('NODE_PORT_IN_USE', message, { details: [{ path: field.port, message }] });
  }

  private free(wanted: WantedPort, taken: readonly TakenPort[]): number {
    const { port_mapping_min: min, port_mapping_max: max } = this.parts.settings;
    const port = freePort({ min, max }, this.next, (candidate) => !this.ownerOf(candidate, wanted, taken));
    if (port === undefined) {
      throw new AppError(
        'NODE_PORTS_EXHAUSTED',
        `no ${wanted.protocol} port from ${min} to ${max} of the node is free`,
        { hint: 'remove a port mapping, name a port, or widen port_mapping_min to port_mapping_max' },
      );
    }
    this.next = port + 1;
    return port;
  }

  private ownerOf(
    port: number,
    { protocol, address }: WantedPort,
    taken: readonly TakenPort[],
  ): string | undefined {
    const { nat_port_min, nat_port_max } = this.parts.settings;
    if (port >= nat_port_min && port <= nat_port_max) {
      return `masqueraded connections (nat_port_min ${nat_port_min} to nat_port_max ${nat_port_max})`;
    }
    const places: FrontendPlace[] = nodePorts(protocol, port, address);
    return (findClash(places, taken) ?? findClash(places, this.parts.listeningAt(protocol, port)))?.owner;
  }
}
