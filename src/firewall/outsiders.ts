/** Who outside may come to a subject: one for all of whom its rules say the same. */
import { type Address, type Family, formatAddress, parseAddress } from '../model/address.js';
import { excerpt, lanesOf, rangeAround } from './excerpt.js';
import type { PacketPeer, RuleTable } from './lookup.js';
import type { Range } from './ranges.js';
import type { RuleTerms } from './subject.js';
import type { SubjectView } from './subject-view.js';

/** Documentation addresses (RFC 5737, RFC 3849): somebody outside whom no rule names. */
const ANYBODY = ['192.0.2.1', '2001:db8::1'].map(parseAddress);

export class Outsider {
  readonly peer: PacketPeer;
  readonly family: Family;
  #rules: RuleTable | undefined;

  constructor(
    private readonly view: SubjectView,
    address: Address,
    private readonly range: Range | undefined,
  ) {
    this.family = address.family;
    this.peer = { kind: 'world', address: formatAddress(address) };
  }

  /** What the subject's rules say of it; not asked of all of them as a rule. */
  get rules(): RuleTable {
    this.#rules ??= excerpt(this.view, 'ingress', this.peer, this.range);
    return this.#rules;
  }
}

/**
 * Anybody, and the first address of each range that the rules name, if it is outside: narrower ranges inside of it have
 * theirs. Only by enforced rules are they told apart. To be asked before anything changes.
 */
export function outsiders(view: SubjectView, isOutside: (address: Address) => boolean): Outsider[] {
  const ranges = view.ranges('ingress');
  const lanes = lanesOf('ingress').filter((lane) => !lane.audit && view.hasRules(lane));
  const numbers = new Map<RuleTerms, number>();
  const numberOf = (rule: RuleTerms): number => {
    const number = numbers.get(rule) ?? numbers.size;
    numbers.set(rule, number);
    return number;
  };
  const found = new Map<string, Outsider>();
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
    if (!found.has(kind) && isWanted(address)) found.set(kind, new Outsider(view, address, range));
  };
  for (const address of ANYBODY) look(address, rangeAround(ranges, address), () => true);
  for (const [index, { range }] of ranges.entries()) {
    const { family, base } = range;
    const next = ranges[index + 1]?.range;
    if (next?.family !== family || next.base !== base) look({ family, value: base }, range, isOutside);
  }
  return [...found.values()];
}
