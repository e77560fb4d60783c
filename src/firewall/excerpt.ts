/** The rules of a subject about some of its peers: what a packet is judged by, whatever it has of others. */
import { appendCell, placeAt } from './entries.js';
import { LANES } from './lanes.js';
import { addressOf, type PacketPeer, peersOf, RuleTable } from './lookup.js';
import { rangeAround } from './range-nodes.js';
import { subjectEntry } from './subject.js';
import type { SubjectView } from './subject-view.js';
import type { CompiledPolicy, Direction } from './types.js';

/** What decide() asks for of a peer in that direction, and nothing else. Undefined: there is no such subject. */
export function tableAbout(view: SubjectView | undefined, direction: Direction, peer: PacketPeer): RuleTable {
  if (view === undefined) return new RuleTable();
  const range = rangeAround(view.ranges(direction), addressOf(peer.address));
  const { id } = view;
  const rules: CompiledPolicy = {
    entries: [],
    subjects: [subjectEntry(id, view.state)],
    cidrs: range === undefined ? [] : [{ subject: id, direction, cidr: range.text }],
  };
  for (const lane of LANES) {
    if (lane.direction !== direction) continue;
    for (const one of peersOf(peer, range))
      appendCell(placeAt(id, lane, one), view.cell(lane, one), rules.entries);
  }
  return RuleTable.from(rules);
}
