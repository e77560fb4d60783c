/** Who outside may come to a subject: one for all of whom its rules say the same. */
import { type Address, type Family, formatAddress, parseAddress } from '../model/address.js';
import { excerpt, lanesOf, rangeAround } from './excerpt.js';
import type { PacketPeer, RuleTable } from './lookup.js';
import type { Range } from './ranges.js';
import type { RuleTerms } from './subject.js';
import type { SubjectView } from './subject-view.js';

/** Documentation addresses (RFC 5737, RFC 3849): somebody outside whom no rule names. */
const ANYBODY = ['192.0.2.1', '2001:db8::1'].map(parseAddress);

export interface Outsider {
  readonly family: Family;
  readonly peer: PacketPeer;
  /** What the subject's rules say of it. */
  readonly rules: RuleTable;
}

/**
 * Anybody, and the first address of each range that the rules name, if it is outside: narrower ranges inside of it have
 * theirs. Only by enforced rules are they told apart.
 */
export function outsiders(view: SubjectView, isOutside: (address: Address) => boolean): Outsider[] {
  const ranges = view.ranges('ingress');
  const lanes = lanesOf('ingress').filter(({ audit }) => !audit);
  const numbers = new Map<RuleTerms, number>();
  const numberOf = (rule: RuleTerms): number => {
    const number = numbers.get(rule) ?? numbers.size;
    numbers.set(rule, number);
    return number;
  };
  const found = new Map<string, { address: Address; range: Range | undefined }>();
  const look = (address: Address, range: Range | undefined, isWanted: (address: Address) => boolean) => {
    const rules = lanes
      .map((lane) =>
        view
          .cell(lane, range?.text ?? '')
          .map(numberOf)
          .join(),
      )
      .join('/');
    const kind = `${address.family} ${rules}`;
    if (!found.has(kind) && isWanted(address)) found.set(kind, { address, range });
  };
  for (const address of ANYBODY) look(address, rangeAround(ranges, address), () => true);
  for (const [index, { range }] of ranges.entries()) {
    const { family, base } = range;
    const next = ranges[index + 1]?.range;
    if (next?.family !== family || next.base !== base) look({ family, value: base }, range, isOutside);
  }
  return [...found.values()].map(({ address, range }) => {
    const peer: PacketPeer = { kind: 'world', address: formatAddress(address) };
    return { family: address.family, peer, rules: excerpt(view, 'ingress', peer, range) };
  });
}
