/**
 * Entries of the policy maps as pairs of slots, one for each generation. A change is staged in the slot of the next
 * generation, and settled when no program reads the one before it any more. Every step can be repeated.
 */
import { addressBits, type Cidr, toBytes16 } from '../model/address.js';
import {
  CidrKeyBits,
  type CidrValue,
  type Direction,
  type CidrKey as KernelCidrKey,
  type PolicyDecision,
  type PolicyKey,
  type SubjectSlot,
  Verdict,
} from './abi/generated.js';
import type { DatapathMaps } from './maps.js';

export type Slots<T> = [T, T];
export type SlotIndex = 0 | 1;

/** A change of one entry. */
export interface Cell {
  /** Writes the slot of the next generation. Throws KernelError when the map is full, with nothing changed. */
  stage(next: SlotIndex): void;
  /** Undoes stage() before the next generation counts. */
  unstage(next: SlotIndex): void;
  /** Makes both slots what is wanted, or removes the entry; for what is staged, or what no program asks for. */
  settle(): void;
  /** settle() that restore() can undo. */
  replace(): void;
  /** Puts back what replace() found. */
  restore(): void;
}

const NO_DECISION: PolicyDecision = { rule: 0, precedence: 0, verdict: Verdict.NONE };
const NO_RULES: SubjectSlot['enforced'] = { portBits: [0, 0, 0, 0, 0, 0, 0, 0], isolated: 0 };
const NO_SUBJECT: SubjectSlot = { enforced: NO_RULES, audited: NO_RULES, audits: 0, cidrs: 0, present: 0 };

/** An entry of a hash map; without both of its values it does not exist. */
abstract class HashCell<T> implements Cell {
  private found: Slots<T> | undefined;

  constructor(private readonly wanted: T | undefined) {}

  protected abstract readonly nothing: T;
  protected abstract isNothing(value: T): boolean;
  protected abstract read(): Slots<T> | undefined;
  protected abstract write(slots: Slots<T>): void;
  protected abstract remove(): void;

  stage(next: SlotIndex): void {
    const slots = this.slots();
    slots[next] = this.wanted ?? this.nothing;
    this.store(slots);
  }

  unstage(next: SlotIndex): void {
    const slots = this.slots();
    slots[next] = slots[next === 0 ? 1 : 0];
    this.store(slots);
  }

  settle(): void {
    const value = this.wanted ?? this.nothing;
    this.store([value, value]);
  }

  replace(): void {
    this.found = this.read();
    this.settle();
  }

  restore(): void {
    if (this.found === undefined) this.remove();
    else this.write(this.found);
  }

  private slots(): Slots<T> {
    return this.read() ?? [this.nothing, this.nothing];
  }

  private store(slots: Slots<T>): void {
    if (slots.every((value) => this.isNothing(value))) this.remove();
    else this.write(slots);
  }
}

/** The decision of a rule; without one it is removed. */
export class PolicyCell extends HashCell<PolicyDecision> {
  protected readonly nothing = NO_DECISION;

  constructor(
    private readonly map: DatapathMaps['policy'],
    private readonly key: PolicyKey,
    decision: PolicyDecision | undefined,
  ) {
    super(decision);
  }

  protected isNothing({ verdict }: PolicyDecision): boolean {
    return verdict === Verdict.NONE;
  }

  protected read(): Slots<PolicyDecision> | undefined {
    return this.map.get(this.key)?.slot;
  }

  protected write(slot: Slots<PolicyDecision>): void {
    this.map.set(this.key, { key: this.key, slot });
  }

  protected remove(): void {
    this.map.delete(this.key);
  }
}

/** What there is to look for among a subject's rules; without it the subject is removed. */
export class SubjectCell extends HashCell<SubjectSlot> {
  protected readonly nothing = NO_SUBJECT;

  constructor(
    private readonly map: DatapathMaps['subjects'],
    private readonly identity: number,
    slot: SubjectSlot | undefined,
  ) {
    super(slot);
  }

  protected isNothing({ present }: SubjectSlot): boolean {
    return present === 0;
  }

  protected read(): Slots<SubjectSlot> | undefined {
    return this.map.get({ identity: this.identity })?.slot;
  }

  protected write(slot: Slots<SubjectSlot>): void {
    const key = { identity: this.identity };
    this.map.set(key, { key, slot });
  }

  protected remove(): void {
    this.map.delete({ identity: this.identity });
  }
}

/** A range of a subject's rules. */
export interface PolicyCidr {
  subject: number;
  direction: Direction;
  cidr: Cidr;
}

/**
 * A range that comes, with the number of its class, or goes (undefined). The map is asked for the longest prefix, so
 * that reading a range that is not there gives the next wider one: exactly what its slot must repeat in a generation that
 * does not have it.
 */
export class CidrCell implements Cell {
  private found = 0;

  constructor(
    private readonly map: DatapathMaps['cidrs'],
    readonly range: PolicyCidr,
    private readonly cidrClass: number | undefined,
  ) {}

  stage(next: SlotIndex): void {
    const { cidrClass } = this.read(0);
    cidrClass[next] = this.cidrClass ?? this.read(1).cidrClass[next];
    this.write(cidrClass);
  }

  unstage(next: SlotIndex): void {
    if (this.cidrClass !== undefined) {
      this.map.delete(this.key(0));
      return;
    }
    const own = this.read(0).cidrClass[next === 0 ? 1 : 0];
    this.write([own, own]);
  }

  settle(): void {
    if (this.cidrClass === undefined) this.map.delete(this.key(0));
    else this.write([this.cidrClass, this.cidrClass]);
  }

  replace(): void {
    this.found = this.read(0).cidrClass[0];
    this.settle();
  }

  restore(): void {
    if (this.cidrClass !== undefined) this.map.delete(this.key(0));
    else this.write([this.found, this.found]);
  }

  /** What addresses of the range find, if it and ranges of up to `less - 1` bits less did not count. */
  private read(less: number): CidrValue {
    return this.map.get(this.key(less)) ?? { cidrClass: [0, 0] };
  }

  private write(cidrClass: Slots<number>): void {
    this.map.set(this.key(0), { cidrClass });
  }

  private key(less: number): KernelCidrKey {
    const key = cidrKey(this.range);
    return { ...key, prefixLength: key.prefixLength - less };
  }
}

function cidrKey({ subject, direction, cidr }: PolicyCidr): KernelCidrKey {
  return {
    prefixLength: CidrKeyBits.BITS + 128 - addressBits(cidr.family) + cidr.prefixLength,
    subject,
    direction,
    family: cidr.family,
    address: toBytes16({ family: cidr.family, value: cidr.base }),
  };
}

/** The range of a key; undefined: it is none of ours. */
export function cidrOfKey({
  prefixLength,
  subject,
  direction,
  family,
  address,
}: KernelCidrKey): PolicyCidr | undefined {
  if (family !== 4 && family !== 6) return undefined;
  const length = prefixLength - CidrKeyBits.BITS - 128 + addressBits(family);
  if (length < 0) return undefined;
  let base = 0n;
  for (const byte of family === 4 ? address.subarray(12) : address) base = (base << 8n) | BigInt(byte);
  return { subject, direction: direction as Direction, cidr: { family, base, prefixLength: length } };
}
