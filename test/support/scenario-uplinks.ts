/** The node's ways out, as the programs are told of them. */
import { UplinkFlags, UplinkLimit } from '../../src/datapath/abi/generated.js';
import type { ProgramMaps } from './program-maps.js';
import { mappedOrNone, PREFIX_LENGTH } from './scenario-parties.js';

export interface TestUplink {
  ifindex?: number;
  ip4?: string;
  ip6?: string;
  gateway6?: string;
}

export function writeUplinks(
  programs: Pick<ProgramMaps, 'uplinks'>,
  uplinks: readonly TestUplink[],
  router: number,
): void {
  for (let slot = 0; slot < UplinkLimit.SLOTS; slot++) {
    const { ifindex = 0, ip4, ip6, gateway6 } = uplinks[slot] ?? {};
    programs.uplinks.set(slot, {
      ifindex,
      router: slot === 0 ? router : 0,
      flags: slot === 0 && uplinks.length === 1 ? UplinkFlags.ONLY : 0,
      ip4: mappedOrNone(ip4),
      ip6: mappedOrNone(ip6),
      gateway6: mappedOrNone(gateway6),
      ip6PrefixLength: PREFIX_LENGTH[6],
    });
  }
}
