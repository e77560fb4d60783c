import type { PrefixLengths } from '../../src/firewall/types.js';
import { parseCidr } from '../../src/model/address.js';

/** As a subject tells how long its ranges are. */
export function prefixLengthsOf(cidrs: readonly string[]): PrefixLengths {
  const lengths = { 4: 0n, 6: 0n };
  for (const { family, prefixLength } of cidrs.map((text) => parseCidr(text))) {
    lengths[family] |= 1n << BigInt(prefixLength);
  }
  return lengths;
}
