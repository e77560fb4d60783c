/** What there is between two states of the policy tables, and parts of it. Pure. */
import {
  type PolicyChange,
  type PolicyContents,
  type PolicyEntry,
  type PolicySubject,
  policyCidrText,
} from '../../datapath/policy-table.js';
import type { PolicyDelta } from '../../firewall/types.js';
import { type Steps, stepping } from '../../work/steps.js';

/** What turns the tables that are present into the ones wanted. */
export function* difference(wanted: PolicyContents, present: PolicyContents): Steps<PolicyChange> {
  const entries = yield* missing(wanted.entries, present.entries, entryText, decisionText);
  const subjects = yield* missing(
    wanted.subjects,
    present.subjects,
    ({ identity }) => String(identity),
    subjectText,
  );
  const cidrs = yield* missing(wanted.cidrs, present.cidrs, policyCidrText, ({ cidrClass }) =>
    String(cidrClass),
  );
  return {
    set: entries.missing,
    delete: entries.surplus.map(({ key }) => key),
    subjects: { set: subjects.missing, delete: subjects.surplus.map(({ identity }) => identity) },
    cidrs: { set: cidrs.missing, delete: cidrs.surplus },
  };
}

/** Whose rules or ranges a change concerns. */
export function* concernedBy({ set, delete: gone, subjects, cidrs }: PolicyChange): Steps<Set<number>> {
  const concerned = new Set<number>(subjects.delete);
  yield* stepping(set, ({ key }) => concerned.add(key.subject));
  yield* stepping(gone, ({ subject }) => concerned.add(subject));
  for (const ranges of [cidrs.set, cidrs.delete]) {
    yield* stepping(ranges, ({ subject }) => concerned.add(subject));
  }
  yield* stepping(subjects.set, ({ identity }) => concerned.add(identity));
  return concerned;
}

/** Those who are there and whose enforced or audited rules a delta changes, in order. */
export function* subjectsOf({ set, delete: gone, subjects, cidrs }: PolicyDelta): Steps<number[]> {
  const ids = new Set<number>();
  for (const keys of [set, gone, cidrs.set, cidrs.delete]) {
    yield* stepping<{ readonly subject: number }>(keys, ({ subject }) => ids.add(subject));
  }
  yield* stepping(subjects.set, ({ identity }) => ids.add(identity));
  return [...ids].sort((left, right) => left - right);
}

/** All that some subjects have, as a change that takes it from them. */
export function* withdrawal(of: PolicyContents, subjects: ReadonlySet<number>): Steps<PolicyChange> {
  const { entries, subjects: present, cidrs } = yield* partOf(of, subjects);
  return {
    set: [],
    delete: entries.map(({ key }) => key),
    subjects: { set: [], delete: present.map(({ identity }) => identity) },
    cidrs: { set: [], delete: cidrs },
  };
}

/** What of it is theirs. */
export function* partOf(of: PolicyContents, subjects: ReadonlySet<number>): Steps<PolicyContents> {
  return {
    entries: yield* those(of.entries, ({ key }) => subjects.has(key.subject)),
    subjects: yield* those(of.subjects, ({ identity }) => subjects.has(identity)),
    cidrs: yield* those(of.cidrs, ({ subject }) => subjects.has(subject)),
  };
}

/** A change but for what it is about some subjects. */
export function* but(delta: PolicyDelta, subjects: ReadonlySet<number>): Steps<PolicyDelta> {
  if (subjects.size === 0) return delta;
  const isOfOthers = ({ subject }: { subject: number }) => !subjects.has(subject);
  return {
    set: yield* those(delta.set, isOfOthers),
    delete: yield* those(delta.delete, isOfOthers),
    subjects: {
      set: delta.subjects.set.filter(({ identity }) => !subjects.has(identity)),
      delete: delta.subjects.delete.filter((identity) => !subjects.has(identity)),
    },
    cidrs: {
      set: yield* those(delta.cidrs.set, isOfOthers),
      delete: yield* those(delta.cidrs.delete, isOfOthers),
    },
  };
}

export function isEmpty({ set, delete: gone, subjects, cidrs }: PolicyChange): boolean {
  return [set, gone, subjects.set, subjects.delete, cidrs.set, cidrs.delete].every(
    ({ length }) => length === 0,
  );
}

function* those<T>(things: readonly T[], isMeant: (thing: T) => boolean): Steps<T[]> {
  const found: T[] = [];
  yield* stepping(things, (thing) => isMeant(thing) && found.push(thing));
  return found;
}

/** Of two sets of things with names: what is wanted and not there or not so, and what is there and not wanted. */
function* missing<Wanted extends Present, Present>(
  wanted: readonly Wanted[],
  present: readonly Present[],
  name: (item: Present) => string,
  content: (item: Present) => string,
): Steps<{ missing: Wanted[]; surplus: Present[] }> {
  const left = new Map<string, Present>();
  yield* stepping(present, (item) => left.set(name(item), item));
  const absent = yield* those(wanted, (item) => {
    const found = left.get(name(item));
    left.delete(name(item));
    return found === undefined || content(found) !== content(item);
  });
  return { missing: absent, surplus: [...left.values()] };
}

function entryText({
  key: { subject, peer, direction, tier, protocol, portBits, port },
}: PolicyEntry): string {
  return `${subject}/${peer}/${direction}/${tier}/${protocol}/${portBits}/${port}`;
}

function decisionText({ decision: { rule, precedence, verdict } }: PolicyEntry): string {
  return `${rule}/${precedence}/${verdict}`;
}

function subjectText({ slot: { enforced, audited, audits, ranges } }: PolicySubject): string {
  const rules = [enforced, audited].map(({ portBits, isolated }) => `${portBits.join()}/${isolated}`);
  return `${rules.join('/')}/${audits}/${ranges.map(({ ip4, ip6 }) => `${ip4}/${ip6}`).join('/')}`;
}
