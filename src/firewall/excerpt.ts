/** The rules of a subject about some of its peers: what a packet is judged by, whatever it has of others. */
import { type Address, cidrContains } from '../model/address.js';
import { appendCell, placeAt } from './entries.js';
import { LANES, type Lane } from './lanes.js';
import { addressOf, type PacketPeer, peersOf, RuleTable } from './lookup.js';
import type { Range } from './ranges.js';
import { subjectEntry } from './subject.js';
import type { SubjectView } from './subject-view.js';
import type { CompiledPolicy, Direction } from './types.js';

/** What decide() asks for of a peer in that direction, and nothing else. Undefined: there is no such subject. */
export function tableAbout(view: SubjectView | undefined, direction: Direction, peer: PacketPeer): RuleTable {
  if (view === undefined) return new RuleTable();
  return excerpt(view, direction, peer, rangeAround(view.ranges(direction), addressOf(peer.address)));
}

/** The same where it is known in which of the subject's ranges the peer's address is: the narrowest, or none. */
export function excerpt(
  view: SubjectView,
  direction: Direction,
  peer: PacketPeer,
  range: Range | undefined,
): RuleTable {
  const { id } = view;
  const rules: CompiledPolicy = {
    entries: [],
    subjects: [subjectEntry(id, view.state)],
    cidrs: range === undefined ? [] : [{ subject: id, direction, cidr: range.text }],
  };
  for (const lane of lanesOf(direction)) {
    for (const one of peersOf(peer, range))
      appendCell(placeAt(id, lane, one), view.cell(lane, one), rules.entries);
  }
  return RuleTable.from(rules);
}

export function lanesOf(direction: Direction): Lane[] {
  return LANES.filter((lane) => lane.direction === direction);
}

/** The narrowest of ranges that an address is in. `ranges` in the order of compareRanges. */
export function rangeAround(
  ranges: readonly { readonly range: Range }[],
  address: Address,
): Range | undefined {
  let narrowest: Range | undefined;
  for (const { range } of ranges) if (cidrContains(range, address)) narrowest = range;
  return narrowest;
}
