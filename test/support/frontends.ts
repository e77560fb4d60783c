/** Port mappings and services as the programs find them in their maps. */
import { FrontendFlags } from '../../src/datapath/abi/generated.js';
import { mappedAddress } from './packet.js';
import type { Programs } from './programs.js';

/** A service's address. */
export const SERVICE = { 4: '10.96.0.10', 6: 'fd00:96::10' } as const;

export interface TestFrontend {
  /** `0.0.0.0`, `::`: every address of the node of that family. */
  address: string;
  port: number;
  protocol: number;
  backends: readonly { address: string; port: number }[];
  affinityS?: number;
  /** Default 1. Each has a part of its own of the slots. */
  id?: number;
}

/** Slots that a frontend of the tests may have. */
const PART = 16;

/** Each backend has one slot; they come in the order given. */
export function writeFrontend(
  programs: Pick<Programs, 'frontends' | 'slots' | 'backends'>,
  frontend: TestFrontend,
): void {
  const { address, port, protocol, backends, affinityS = 0, id = 1 } = frontend;
  const first = id * PART;
  for (const [at, backend] of backends.entries()) {
    programs.backends.set(first + at, {
      frontendId: id,
      address: mappedAddress(backend.address),
      port: backend.port,
    });
    programs.slots.set(first + at, first + at);
  }
  const key = { address: mappedAddress(address), port, protocol };
  programs.frontends.set(key, {
    key,
    id,
    first,
    slots: backends.length,
    affinityS,
    flags: Object.values<string>(SERVICE).includes(address) ? FrontendFlags.SERVICE_ADDRESS : 0,
  });
}
