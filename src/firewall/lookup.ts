/** Compiled rules as a table, and the decision that the programs take with it. */
import { portPrefix } from './ports.js';
import type {
  CompiledPolicy,
  Direction,
  Peer,
  PolicyDelta,
  RuleEntry,
  RuleKey,
  SubjectPorts,
  Verdict,
} from './types.js';
import { DIRECTIONS } from './types.js';

/** Whom a packet comes from or goes to. */
export type PacketPeer =
  | { readonly kind: 'identity'; readonly id: number; readonly network_id: number }
  | { readonly kind: 'host' }
  | { readonly kind: 'world' };

/** What is judged: the first packet of a flow, by one of its sides. */
export interface Packet {
  /** Identity of the side that judges. */
  readonly subject: number;
  readonly direction: Direction;
  readonly peer: PacketPeer;
  /** IPPROTO_*, 1 to 255. */
  readonly protocol: number;
  /** Destination port; 0 where the protocol has none. */
  readonly port: number;
}

/** `entry` is missing when no rule decided: default deny, or a subject whose policy is not computed. */
export interface Decision {
  readonly verdict: Verdict;
  readonly entry?: RuleEntry;
}

/** What the policy maps hold. */
export class RuleTable {
  readonly #entries = new Map<string, RuleEntry>();
  readonly #portBits = new Map<number, readonly [number, number]>();

  static from({ entries, subjects }: CompiledPolicy): RuleTable {
    const table = new RuleTable();
    table.apply({ set: entries, delete: [], subjects: { set: subjects, delete: [] } });
    return table;
  }

  apply(delta: PolicyDelta): void {
    for (const key of delta.delete) this.#entries.delete(formatRuleKey(key));
    for (const entry of delta.set) this.#entries.set(formatRuleKey(entry), entry);
    for (const identity of delta.subjects.delete) this.#portBits.delete(identity);
    for (const { identity, portBits } of delta.subjects.set) this.#portBits.set(identity, portBits);
  }

  get(key: RuleKey): RuleEntry | undefined {
    return this.#entries.get(formatRuleKey(key));
  }

  /** Which portBits the keys of a subject have; undefined: its policy is not computed. */
  portBits(subject: number, direction: Direction): number | undefined {
    return this.#portBits.get(subject)?.[DIRECTIONS.indexOf(direction)];
  }

  get entries(): RuleEntry[] {
    return [...this.#entries.values()];
  }

  get subjects(): SubjectPorts[] {
    return [...this.#portBits].map(([identity, portBits]) => ({ identity, portBits }));
  }
}

/** A key as text, equal exactly when the keys are equal. */
export function formatRuleKey({ subject, direction, peer, protocol, port, portBits }: RuleKey): string {
  const who = 'id' in peer ? `${peer.kind} ${peer.id}` : peer.kind;
  return `${subject} ${direction} ${who} ${protocol}:${port}/${portBits}`;
}

/**
 * The verdict of one side, found as policy_lookup() of the programs finds it, in the same order, so that the
 * same rule is named. Of all keys that match, the highest precedence decides, and among equals deny; of rules
 * that are equal even in that, the first allow or the last deny is named. A packet passes when both of its
 * sides allow it.
 */
export function decide(table: RuleTable, packet: Packet): Decision {
  const { subject, direction, protocol, port } = packet;
  const portBits = table.portBits(subject, direction);
  if (portBits === undefined) return { verdict: 'deny' };
  let best: RuleEntry | undefined;
  const probe = (key: RuleKey) => {
    const entry = table.get(key);
    if (entry !== undefined && (best === undefined || beats(entry, best))) best = entry;
  };
  for (const peer of candidatePeers(packet.peer)) {
    for (let bits = 0; bits <= 16; bits += 1) {
      if ((portBits & (1 << bits)) === 0) continue;
      probe({ subject, direction, peer, protocol, port: portPrefix(port, bits), portBits: bits });
    }
    if ((portBits & 1) !== 0) probe({ subject, direction, peer, protocol: 0, port: 0, portBits: 0 });
  }
  return best === undefined ? { verdict: 'deny' } : { verdict: best.verdict, entry: best };
}

function candidatePeers(peer: PacketPeer): Peer[] {
  if (peer.kind !== 'identity') return [{ kind: peer.kind }, { kind: 'any' }];
  return [{ kind: 'identity', id: peer.id }, { kind: 'any' }, { kind: 'network', id: peer.network_id }];
}

function beats(entry: RuleEntry, best: RuleEntry): boolean {
  if (entry.precedence !== best.precedence) return entry.precedence > best.precedence;
  return entry.verdict === 'deny';
}
