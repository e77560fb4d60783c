/** One identity as the owner of rules: which apply to it, and what there is to look for among them. */
import { LANES, type Lane, laneIndex } from './lanes.js';
import type { PeerKey } from './peer-key.js';
import { NO_LENGTHS, type RangeTable } from './range-table.js';
import type { RuleRange } from './ranges.js';
import {
  DIRECTIONS,
  type Direction,
  type PolicyRef,
  type PortMatch,
  type PrefixLengths,
  type RuleRef,
  type SubjectEntry,
  type SubjectRules,
  TIERS,
  type Tier,
  type Verdict,
} from './types.js';

/** What a rule says, wherever it applies. */
export interface RuleTerms {
  readonly ref: RuleRef;
  readonly lane: Lane;
  readonly verdict: Verdict;
  readonly precedence: number;
  /** Each once. */
  readonly ports: readonly PortMatch[];
  /** In the order of `compareRanges`, each once. */
  readonly ranges: readonly RuleRange[];
}

/** The rules that apply to one peer, best first. */
export type Cell = RuleTerms[];

/** The rules of one lane. */
export class LaneRules {
  readonly cells = new Map<PeerKey, Cell>();
  /** Bit n set: some applied port match has portBits n. */
  portBits = 0;
  /** How many there are of each. */
  readonly #use: number[] = [];

  count({ portBits }: PortMatch, change: 1 | -1): void {
    const use = (this.#use[portBits] ?? 0) + change;
    this.#use[portBits] = use;
    if (use === 0) this.portBits &= ~(1 << portBits);
    else this.portBits |= 1 << portBits;
  }
}

/** As much of a policy as isolates those whom it selects. */
export interface IsolatingPolicy {
  readonly ref: PolicyRef;
  readonly audit: boolean;
  readonly isolates: ReadonlySet<Direction>;
}

export class Subject {
  /** By Lane.index; missing where there are no rules. */
  readonly lanes: (LaneRules | undefined)[] = [];
  /** Missing where its rules name none. */
  readonly ranges: Partial<Record<Direction, RangeTable<RuleTerms>>> = {};
  /** Bit n set: policies isolate it, in the way that `isolation` numbers n. */
  isolated = 0;
  readonly isolating = new Set<IsolatingPolicy>();
  readonly #isolations: number[] = [];

  #version: object | undefined;

  constructor(readonly id: number) {}

  /** The same as long as nothing of it changes. */
  get version(): object {
    this.#version ??= {};
    return this.#version;
  }

  /** To be told before anything of it changes. */
  changing(): void {
    this.#version = undefined;
  }

  /** One more (1) or one less (-1) of the policies that isolate it. */
  isolate(policy: IsolatingPolicy, change: 1 | -1): void {
    if (change === 1) this.isolating.add(policy);
    else this.isolating.delete(policy);
    for (const direction of policy.isolates) {
      const index = isolation(direction, policy.audit);
      const count = (this.#isolations[index] ?? 0) + change;
      this.#isolations[index] = count;
      if (count === 0) this.isolated &= ~(1 << index);
      else this.isolated |= 1 << index;
    }
  }
}

function isolation(direction: Direction, audit: boolean): number {
  return 2 * Number(audit) + DIRECTIONS.indexOf(direction);
}

/** What a subject's entry is made of, as it was at some time. */
export interface SubjectState {
  /** By Lane.index. */
  readonly portBits: readonly number[];
  readonly isolated: number;
  readonly cidrs: SubjectEntry['cidrs'];
}

export function stateOf(subject: Subject): SubjectState {
  return {
    portBits: LANES.map(({ index }) => subject.lanes[index]?.portBits ?? 0),
    isolated: subject.isolated,
    cidrs: lengthsOf(subject),
  };
}

function lengthsOf({ ranges: { egress, ingress } }: Subject): SubjectEntry['cidrs'] {
  return { egress: egress?.lengths ?? NO_LENGTHS, ingress: ingress?.lengths ?? NO_LENGTHS };
}

export function isSameState(left: SubjectState, right: SubjectState): boolean {
  return (
    left.isolated === right.isolated &&
    DIRECTIONS.every((one) => isSameLengths(left.cidrs[one], right.cidrs[one])) &&
    left.portBits.every((bits, index) => bits === right.portBits[index])
  );
}

function isSameLengths(left: PrefixLengths, right: PrefixLengths): boolean {
  return left[4] === right[4] && left[6] === right[6];
}

export function subjectEntry(identity: number, state: SubjectState): SubjectEntry {
  return {
    identity,
    enforced: rulesOf(state, false),
    audited: rulesOf(state, true),
    cidrs: state.cidrs,
  };
}

/** Most subjects have nothing that is audited, and few tiers with rules: what is the same is made once. */
const NO_PORT_BITS = [0, 0] as const;
const NO_RULES: SubjectRules = {
  portBits: portBitsBy(() => NO_PORT_BITS),
  isolated: { egress: false, ingress: false },
};

function rulesOf({ portBits: all, isolated }: SubjectState, audit: boolean): SubjectRules {
  const bits = (tier: Tier, direction: Direction) => all[laneIndex(direction, tier, audit)] ?? 0;
  const portBits = portBitsBy((tier) => {
    const [egress, ingress] = [bits(tier, 'egress'), bits(tier, 'ingress')];
    return egress === 0 && ingress === 0 ? NO_PORT_BITS : [egress, ingress];
  });
  const is = (direction: Direction) => (isolated & (1 << isolation(direction, audit))) !== 0;
  const [egress, ingress] = [is('egress'), is('ingress')];
  if (!egress && !ingress && TIERS.every((tier) => portBits[tier] === NO_PORT_BITS)) return NO_RULES;
  return { portBits, isolated: { egress, ingress } };
}

function portBitsBy(of: (tier: Tier) => readonly [number, number]): SubjectRules['portBits'] {
  return {
    admin: of('admin'),
    'network-policy': of('network-policy'),
    baseline: of('baseline'),
    default: of('default'),
  };
}
