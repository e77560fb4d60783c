/** Compiled rules as a table, and the decision that the programs take with it. */
import {
  type Address,
  addressBits,
  cidrOf,
  formatCidr,
  fromBytes16,
  parseAddress,
} from '../model/address.js';
import { finish, type Steps, stepping } from '../work/steps.js';
import { addition } from './addition.js';
import { LANES, laneIndex } from './lanes.js';
import { ANY, networkKey, type PeerKey, peerKey } from './peer-key.js';
import { ANY_PORT, portKey, portPrefix } from './ports.js';
import { STRENGTH } from './precedence.js';
import { type Range, rangeOf } from './ranges.js';
import {
  type CidrKey,
  type CompiledPolicy,
  DIRECTIONS,
  type Direction,
  type Peer,
  PORT_BITS_NAMED,
  type PolicyDelta,
  type PortMatch,
  type RuleEntry,
  type RuleKey,
  type SubjectEntry,
  type SubjectRules,
  TIERS,
  type Tier,
} from './types.js';

/** Whom a packet comes from or goes to. */
export type PacketPeer = (
  | { readonly kind: 'identity'; readonly id: number; readonly network_id: number }
  | { readonly kind: 'host' }
  | { readonly kind: 'world' }
) & {
  /** Text, or the 16 bytes of the maps. */
  readonly address: string | Uint8Array;
};

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
  /** What the endpoint that it goes to calls that port of that protocol; host and world have no names. */
  readonly names?: readonly string[];
}

export interface Decision {
  readonly verdict: 'allow' | 'deny';
  /** The rule that decided. Missing: none did. */
  readonly entry?: RuleEntry;
  /** The tier that decided. Missing: there is none, because the policy of the subject is not computed. */
  readonly tier?: Tier;
  /** No rule decided: the tier denies what none of its rules allows. */
  readonly isDefaultDeny: boolean;
}

export interface DecideOptions {
  /** As if the rules that are audited were enforced. */
  readonly audit: boolean;
}

/** The entries of one subject, lane and peer, by portKey. */
type Cell = Map<number | string, RuleEntry>;

/** Addresses of which a table remembers the range: each is asked about again for every port. */
const AROUND_MAX = 4096;

/** Of reading a range, in what a step is counted in. */
const COST_OF_RANGE = 4;

/** What the policy maps hold. */
export class RuleTable {
  /** By subject, then Lane.index, then peer. */
  readonly #cells = new Map<number, Map<PeerKey, Cell>[]>();
  readonly #subjects = new Map<number, SubjectEntry>();
  /** By subject and direction, then by text. */
  readonly #ranges = new Map<string, Map<string, Range>>();
  /** What rangeAround() has found, by subject, direction and address, until something changes. */
  readonly #around = new Map<string, Range | undefined>();

  static from(policy: CompiledPolicy): RuleTable {
    return finish(RuleTable.making(policy));
  }

  static *making(policy: CompiledPolicy): Steps<RuleTable> {
    const table = new RuleTable();
    yield* table.applying(addition(policy));
    return table;
  }

  apply(delta: PolicyDelta): void {
    finish(this.applying(delta));
  }

  *applying({ set, delete: gone, subjects, cidrs }: PolicyDelta): Steps {
    this.#around.clear();
    yield* stepping(gone, (key) => this.#delete(key));
    yield* stepping(set, (entry) => this.#set(entry));
    yield* stepping(subjects.delete, (identity) => this.#subjects.delete(identity));
    yield* stepping(subjects.set, (subject) => this.#subjects.set(subject.identity, subject));
    yield* stepping(cidrs.delete, ({ subject, direction, cidr }) => {
      const side = sideOf(subject, direction);
      const ranges = this.#ranges.get(side);
      ranges?.delete(cidr);
      if (ranges?.size === 0) this.#ranges.delete(side);
    });
    yield* stepping(
      cidrs.set,
      ({ subject, direction, cidr }) => {
        const side = sideOf(subject, direction);
        const ranges = this.#ranges.get(side) ?? new Map<string, Range>();
        this.#ranges.set(side, ranges.set(cidr, rangeOf(cidr)));
      },
      () => COST_OF_RANGE,
    );
  }

  get(key: RuleKey): RuleEntry | undefined {
    return this.cell(key.subject, laneOfKey(key), peerKey(key.peer))?.get(portKey(key));
  }

  cell(subject: number, lane: number, peer: PeerKey): ReadonlyMap<number | string, RuleEntry> | undefined {
    return this.#cells.get(subject)?.[lane]?.get(peer);
  }

  /** Undefined: its policy is not computed. */
  subject(identity: number): SubjectEntry | undefined {
    return this.#subjects.get(identity);
  }

  /** The narrowest range of a subject that an address is in; of those whose length the subject's entry tells. */
  rangeAround(subject: number, direction: Direction, text: PacketPeer['address']): Range | undefined {
    if (typeof text !== 'string') return this.#findAround(subject, direction, text);
    const asked = `${sideOf(subject, direction)} ${text}`;
    const known = this.#around.get(asked);
    if (known !== undefined || this.#around.has(asked)) return known;
    if (this.#around.size >= AROUND_MAX) this.#around.clear();
    const found = this.#findAround(subject, direction, text);
    this.#around.set(asked, found);
    return found;
  }

  #findAround(subject: number, direction: Direction, text: PacketPeer['address']): Range | undefined {
    const ranges = this.#ranges.get(sideOf(subject, direction));
    const lengths = this.#subjects.get(subject)?.cidrs[direction];
    if (ranges === undefined || lengths === undefined) return undefined;
    const address = addressOf(text);
    // The longest first; as the programs do, which know by the lengths what to ask for.
    for (let length: number = addressBits(address.family); length >= 0; length -= 1) {
      if ((lengths[address.family] & (1n << BigInt(length))) === 0n) continue;
      const found = ranges.get(formatCidr(cidrOf(address, length)));
      if (found !== undefined) return found;
    }
    return undefined;
  }

  get entries(): RuleEntry[] {
    return [...this.#cells.keys()].flatMap((subject) => [...this.entriesOf(subject)]);
  }

  /** Of a subject. Nothing may change while they are being read. */
  *entriesOf(subject: number): Iterable<RuleEntry> {
    for (const lane of this.#cells.get(subject) ?? []) {
      for (const cell of lane.values()) yield* cell.values();
    }
  }

  /** Those that rules of a subject name in a direction. Nothing may change while they are being read. */
  rangesOf(subject: number, direction: Direction): Iterable<Range> {
    return this.#ranges.get(sideOf(subject, direction))?.values() ?? [];
  }

  get subjects(): SubjectEntry[] {
    return [...this.#subjects.values()];
  }

  get cidrs(): CidrKey[] {
    return [...this.#ranges].flatMap(([side, ranges]) =>
      [...ranges.keys()].map((cidr) => ({ ...partsOf(side), cidr })),
    );
  }

  #set(entry: RuleEntry): void {
    const lanes = this.#cells.get(entry.subject) ?? LANES.map(() => new Map<PeerKey, Cell>());
    this.#cells.set(entry.subject, lanes);
    const lane = lanes[laneOfKey(entry)];
    const peer = peerKey(entry.peer);
    const cell = lane?.get(peer) ?? new Map();
    lane?.set(peer, cell.set(portKey(entry), entry));
  }

  #delete(key: RuleKey): void {
    const lanes = this.#cells.get(key.subject) ?? [];
    const lane = lanes[laneOfKey(key)];
    const peer = peerKey(key.peer);
    const cell = lane?.get(peer);
    cell?.delete(portKey(key));
    if (cell?.size === 0) lane?.delete(peer);
    if (lanes.every(({ size }) => size === 0)) this.#cells.delete(key.subject);
  }
}

function laneOfKey({ direction, tier, audit }: RuleKey): number {
  return laneIndex(direction, tier, audit);
}

function sideOf(subject: number, direction: Direction): string {
  return `${subject} ${direction}`;
}

function partsOf(side: string): Pick<CidrKey, 'subject' | 'direction'> {
  const [subject = '', direction] = side.split(' ');
  return { subject: Number(subject), direction: direction === DIRECTIONS[0] ? DIRECTIONS[0] : DIRECTIONS[1] };
}

/** A key as text, equal exactly when the keys are equal. */
export function formatRuleKey(key: RuleKey): string {
  const { subject, direction, tier, audit, peer, protocol, port, portBits, name } = key;
  const where = name === undefined ? `${protocol}:${port}/${portBits}` : `${protocol}:${name}`;
  return `${subject} ${direction} ${tier}${audit ? ' audit' : ''} ${formatPeer(peer)} ${where}`;
}

function formatPeer(peer: Peer): string {
  if (peer.kind === 'cidr') return peer.cidr;
  return 'id' in peer ? `${peer.kind} ${peer.id}` : peer.kind;
}

/**
 * The verdict of one side, found as policy_decide() of the programs finds it, in the same order, so that the
 * same rule is named. The tiers are asked one after the other. Of all keys of a tier that match, the highest
 * precedence counts, and among equals deny, then pass; of rules that are equal even in that, the first is named. A
 * packet passes when both of its sides allow it.
 */
export function decide(table: RuleTable, packet: Packet, options: DecideOptions): Decision {
  const subject = table.subject(packet.subject);
  if (subject === undefined) return { verdict: 'deny', isDefaultDeny: false };
  const peers = candidatePeers(table, packet);
  const sets = options.audit ? [subject.enforced, subject.audited] : [subject.enforced];
  let last: Tier = TIERS[0];
  for (const tier of TIERS) {
    last = tier;
    const entry = askTier(table, packet, peers, tier, sets);
    if (entry?.verdict === 'allow' || entry?.verdict === 'deny') {
      return { verdict: entry.verdict, entry, tier, isDefaultDeny: false };
    }
    const isolated = sets.some((rules) => rules.isolated[packet.direction]);
    if (tier === 'network-policy' && isolated) break;
  }
  return { verdict: 'deny', tier: last, isDefaultDeny: true };
}

/** The rule of a tier that speaks for it; undefined: none matches. `sets`: the enforced rules, and perhaps the audited. */
function askTier(
  table: RuleTable,
  { subject, direction, protocol, port, names = [] }: Packet,
  peers: readonly PeerKey[],
  tier: Tier,
  sets: readonly SubjectRules[],
): RuleEntry | undefined {
  const side = DIRECTIONS.indexOf(direction);
  const portBits = sets.reduce((bits, rules) => bits | (rules.portBits[tier][side] ?? 0), 0);
  const lanes = sets.map((_rules, index) => laneIndex(direction, tier, index > 0));
  let best: RuleEntry | undefined;
  for (const peer of peers) {
    const cells = lanes.map((lane) => table.cell(subject, lane, peer));
    if (cells.every((cell) => cell === undefined)) continue;
    const probe = (match: PortMatch) => {
      for (const cell of cells) {
        const entry = cell?.get(portKey(match));
        if (entry !== undefined && (best === undefined || beats(entry, best))) best = entry;
      }
    };
    for (let bits = 0; bits < PORT_BITS_NAMED; bits += 1) {
      if ((portBits & (1 << bits)) === 0) continue;
      probe({ protocol, port: portPrefix(port, bits), portBits: bits });
    }
    if ((portBits & (1 << PORT_BITS_NAMED)) !== 0) {
      for (const name of names) probe({ protocol, port: 0, portBits: PORT_BITS_NAMED, name });
    }
    if ((portBits & 1) !== 0) probe(ANY_PORT);
  }
  return best;
}

function candidatePeers(table: RuleTable, { subject, direction, peer }: Packet): PeerKey[] {
  return peersOf(peer, table.rangeAround(subject, direction, peer.address));
}

/** As whom rules may mean a peer whose address is in that range and no narrower one. */
export function peersOf(peer: PacketPeer, range: Range | undefined): PeerKey[] {
  return [
    peerKey(peer),
    ANY,
    ...(peer.kind === 'identity' ? [networkKey(peer.network_id)] : []),
    ...(range === undefined ? [] : [range.text]),
  ];
}

/** Of a peer. */
export function addressOf(address: PacketPeer['address']): Address {
  // Sixteen zeros, which there mean no address, are one here.
  return typeof address === 'string'
    ? parseAddress(address)
    : (fromBytes16(address) ?? { family: 6, value: 0n });
}

function beats(entry: RuleEntry, best: RuleEntry): boolean {
  if (entry.precedence !== best.precedence) return entry.precedence > best.precedence;
  return STRENGTH[entry.verdict] > STRENGTH[best.verdict];
}
