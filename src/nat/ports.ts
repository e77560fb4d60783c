/** Ports of the node that lead to containers: whom one belongs to, and which is free. Pure. */
import type { Protocol } from '../model/names.js';
import type { FrontendPlace } from './frontend.js';

export interface TakenPort extends FrontendPlace {
  /** Who has it, for a reader: `service shop/web`. */
  readonly owner: string;
}

export interface PortRange {
  readonly min: number;
  readonly max: number;
}

/** What a caller writes for every address of a family. */
const EVERY: Readonly<Record<string, 4 | 6>> = { '0.0.0.0': 4, '::': 6 };

/** The places that a port takes: at one address, at every address of a family, or of both. */
export function nodePorts(protocol: Protocol, port: number, address: string | undefined): FrontendPlace[] {
  if (address === undefined) {
    return [
      { protocol, port, family: 4 },
      { protocol, port, family: 6 },
    ];
  }
  const every = EVERY[address];
  if (every !== undefined) return [{ protocol, port, family: every }];
  return [{ protocol, port, family: address.includes(':') ? 6 : 4, address }];
}

/** Whether a packet could be meant for both. */
export function portsClash(left: FrontendPlace, right: FrontendPlace): boolean {
  return (
    left.protocol === right.protocol &&
    left.port === right.port &&
    left.family === right.family &&
    (left.address === undefined || right.address === undefined || left.address === right.address)
  );
}

/** The first that one of the wanted ports clashes with. */
export function findClash(
  wanted: readonly FrontendPlace[],
  taken: readonly TakenPort[],
): TakenPort | undefined {
  return taken.find((other) => wanted.some((port) => portsClash(port, other)));
}

/**
 * A port of the range that nobody has; undefined: there is none. It goes round from `start`, so that a port that was just
 * given up is not given again at once.
 */
export function freePort(
  range: PortRange,
  start: number,
  isFree: (port: number) => boolean,
): number | undefined {
  const count = range.max - range.min + 1;
  const first = start >= range.min && start <= range.max ? start - range.min : 0;
  for (let step = 0; step < count; step++) {
    const port = range.min + ((first + step) % count);
    if (isFree(port)) return port;
  }
  return undefined;
}
