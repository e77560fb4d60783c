/**
 * Entries of the policy maps as pairs of slots, one for each generation. A change is staged in the slot of the next
 * generation, and settled before the change after it. Every step can be repeated.
 */
import { isDeepStrictEqual } from 'node:util';
import { addressBits, type Cidr, toBytes16 } from '../model/address.js';
import { stepping } from '../work/steps.js';
import { inTurns } from '../work/turns.js';
import {
  type Direction,
  type CidrKey as KernelCidrKey,
  type PolicyDecision,
  type RangeLengths,
  type SubjectSlot,
  Verdict,
} from './abi/generated.js';
import type { TypedMap } from './typed-map.js';

/** Of two slots, and perhaps of a system call, in what a step is counted in. */
const COST_OF_COMPARING = 8;

type Slots<T> = [T, T];
export type SlotIndex = 0 | 1;

/** A change of one entry. */
export interface Cell {
  /** Writes the slot of the next generation. Throws KernelError when the map is full, with nothing changed. */
  stage(next: SlotIndex): void;
  /** Makes the other slot like that of the generation in force, or removes the entry. */
  settle(current: SlotIndex): void;
  /** The map that settle() would remove the entry from; undefined: it stays, or there is none. */
  leaves(current: SlotIndex): unknown;
  /** Makes both slots what is wanted, or removes the entry; for what no program asks for. */
  replace(): void;
  /** Puts back what replace() found. */
  restore(): void;
}

/** What a slot of a map says, and how it says that there is no such entry in its generation. */
interface SlotContent<T> {
  readonly nothing: T;
  isNothing(value: T): boolean;
  isSame(left: T, right: T): boolean;
}

/** A hash map whose values have two slots. An entry without anything in them does not exist. */
export class SlottedMap<K, T> {
  /** Entries that there are; known from settleOn() on. */
  private size = 0;

  constructor(
    private readonly map: TypedMap<K, { key: K; slot: Slots<T> }>,
    readonly content: SlotContent<T>,
  ) {}

  /** How many entries more there may be. */
  get room(): number {
    return this.map.maxEntries - this.size;
  }

  /** Without `wanted` the entry goes. */
  cell(key: K, wanted?: T): Cell {
    return new SlottedCell(this, key, wanted);
  }

  /** What one slot says, and makes the other like it. */
  async settleOn(slot: SlotIndex): Promise<[K, T][]> {
    const { isNothing, isSame } = this.content;
    const found: [K, T][] = [];
    const settle = ([key, { slot: slots }]: [K, { slot: Slots<T> }]) => {
      const current = slots[slot];
      if (!isNothing(current)) found.push([key, current]);
      if (isNothing(current) || !isSame(slots[0], slots[1])) this.write(key, slots, [current, current]);
    };
    await inTurns(stepping(await this.map.entries(), settle, () => COST_OF_COMPARING));
    this.size = found.length;
    return found;
  }

  read(key: K): Slots<T> {
    const { nothing } = this.content;
    return this.map.get(key)?.slot ?? [nothing, nothing];
  }

  /** `found`: what read() says of it. */
  write(key: K, found: Slots<T>, slot: Slots<T>): void {
    const [was, is] = [found, slot].map((slots) => !slots.every(this.content.isNothing));
    if (is) this.map.set(key, { key, slot });
    else this.map.delete(key);
    this.size += Number(is) - Number(was);
  }
}

class SlottedCell<K, T> implements Cell {
  private readonly wanted: T;
  private found: Slots<T>;

  constructor(
    private readonly map: SlottedMap<K, T>,
    private readonly key: K,
    wanted: T | undefined,
  ) {
    const { nothing } = map.content;
    this.wanted = wanted ?? nothing;
    this.found = [nothing, nothing];
  }

  stage(next: SlotIndex): void {
    const found = this.map.read(this.key);
    const slots: Slots<T> = [...found];
    slots[next] = this.wanted;
    this.map.write(this.key, found, slots);
  }

  settle(current: SlotIndex): void {
    const slots = this.map.read(this.key);
    const value = slots[current];
    const { isNothing, isSame } = this.map.content;
    if (isNothing(value) || !isSame(slots[0], slots[1])) this.map.write(this.key, slots, [value, value]);
  }

  leaves(current: SlotIndex): unknown {
    const { isNothing } = this.map.content;
    const slots = this.map.read(this.key);
    return isNothing(slots[current]) && !slots.every(isNothing) ? this.map : undefined;
  }

  replace(): void {
    this.found = this.map.read(this.key);
    this.map.write(this.key, this.found, [this.wanted, this.wanted]);
  }

  restore(): void {
    this.map.write(this.key, [this.wanted, this.wanted], this.found);
  }
}

const NO_RULES: SubjectSlot['enforced'] = { portBits: [0, 0, 0, 0, 0, 0, 0, 0], isolated: 0 };
const NO_RANGES: RangeLengths = { ip4: [0, 0], ip6: [0, 0, 0, 0, 0] };

/** The decision of a rule. */
export const DECISIONS: SlotContent<PolicyDecision> = {
  nothing: { rule: 0, precedence: 0, verdict: Verdict.NONE },
  isNothing: ({ verdict }) => verdict === Verdict.NONE,
  isSame: (left, right) =>
    left.rule === right.rule && left.precedence === right.precedence && left.verdict === right.verdict,
};

/** What there is to look for among a subject's rules. */
export const SUBJECTS: SlotContent<SubjectSlot> = {
  nothing: {
    enforced: NO_RULES,
    audited: NO_RULES,
    audits: 0,
    ranges: [NO_RANGES, NO_RANGES],
    present: 0,
  },
  isNothing: ({ present }) => present === 0,
  isSame: isDeepStrictEqual,
};

/** The class of a range. */
export const CIDR_CLASSES: SlotContent<number> = {
  nothing: 0,
  isNothing: (cidrClass) => cidrClass === 0,
  isSame: (left, right) => left === right,
};

/** A range of a subject's rules. */
export interface PolicyCidr {
  subject: number;
  direction: Direction;
  cidr: Cidr;
}

export function cidrKey({ subject, direction, cidr }: PolicyCidr): KernelCidrKey {
  return {
    subject,
    direction,
    family: cidr.family,
    prefixLength: mappedLength(cidr),
    address: toBytes16({ family: cidr.family, value: cidr.base }),
  };
}

/** The range of a key; undefined: it is none of ours. */
export function cidrOfKey({
  subject,
  direction,
  family,
  prefixLength,
  address,
}: KernelCidrKey): PolicyCidr | undefined {
  if (family !== 4 && family !== 6) return undefined;
  const length = prefixLength - 128 + addressBits(family);
  if (length < 0) return undefined;
  let base = 0n;
  for (const byte of family === 4 ? address.subarray(12) : address) base = (base << 8n) | BigInt(byte);
  return { subject, direction: direction as Direction, cidr: { family, base, prefixLength: length } };
}

/** With the 96 bits that come before an IPv4 address in the maps. */
function mappedLength({ family, prefixLength }: Cidr): number {
  return 128 - addressBits(family) + prefixLength;
}
