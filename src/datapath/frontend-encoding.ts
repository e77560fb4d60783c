/** Frontends and backends in the form of the maps. */
import { parseAddress, toBytes16 } from '../model/address.js';
import { PROTOCOL_NUMBERS } from '../model/names.js';
import type { FrontendPlace, Target } from '../nat/frontend.js';
import type { Backend, FrontendKey } from './abi/generated.js';

/** Whom each slot leads to, by name. `places`: index in qn_backends, by name. */
export function namesOf({
  slots,
  places,
}: {
  slots: Uint32Array;
  places: ReadonlyMap<string, number>;
}): (string | undefined)[] {
  const names = new Map([...places].map(([name, index]) => [index, name]));
  return Array.from(slots, (index) => names.get(index));
}

/**
 * Every address of the node is no address: all zero for IPv6, and its mapped form ::ffff:0.0.0.0 for IPv4, since a backend
 * serves clients of its own family alone.
 */
const EVERY_ADDRESS = { 4: '0.0.0.0', 6: '::' } as const;

export function keyOf({ address, family, port, protocol }: FrontendPlace): FrontendKey {
  return {
    address: toBytes16(parseAddress(address ?? EVERY_ADDRESS[family])),
    port,
    protocol: PROTOCOL_NUMBERS[protocol],
  };
}

export function backendOf(frontendId: number, { address, port }: Target): Backend {
  return { frontendId, address: toBytes16(parseAddress(address)), port };
}
