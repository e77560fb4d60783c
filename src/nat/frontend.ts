/** What leads to containers, as the programs have it. Pure. */
import type { Protocol } from '../model/names.js';

/** Where clients connect to. */
export interface FrontendPlace {
  readonly protocol: Protocol;
  readonly port: number;
  readonly family: 4 | 6;
  /** Undefined: every address of the node of the family. */
  readonly address?: string | undefined;
}

/** A container's port. */
export interface Target {
  readonly address: string;
  readonly port: number;
}

export interface FrontendState extends FrontendPlace {
  /** Of this port mapping or port of a service; never of another. */
  readonly id: number;
  /** A client keeps its backend for so long after its last new connection; 0: no longer than the connection. */
  readonly affinitySeconds: number;
  /** The address is a service's own; else the node's. */
  readonly isServiceAddress: boolean;
  /** All of the place's family. None: clients are refused. */
  readonly backends: readonly Target[];
}

/** Equal exactly when the places are equal. */
export function placeText({ protocol, port, family, address }: FrontendPlace): string {
  return `${protocol}/${address ?? `any${family}`}/${port}`;
}

export function targetText({ address, port }: Target): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
