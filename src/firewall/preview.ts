/**
 * What a change of policies would change between whom: every pair of parties in which an affected subject takes part,
 * judged by the rules before and by those after. Ports and addresses about which all rules involved say the same
 * are judged once, by one that stands for them.
 */
import {
  type Cidr,
  cidrWithin,
  type Family,
  formatAddress,
  formatCidr,
  parseCidr,
} from '../model/address.js';
import type { PacketPeer, RuleTable } from './lookup.js';
import { addressOutside, intervalsOf, LAST_PORT, PreviewSide, portsText } from './preview-side.js';
import { compareRanges } from './ranges.js';
import type { Direction } from './types.js';

export interface PreviewEndpoint {
  /** One or two, as text. */
  readonly addresses: readonly string[];
  readonly ports: readonly { readonly name: string; readonly protocol: number; readonly port: number }[];
}

export interface PreviewIdentity {
  readonly id: number;
  readonly network_id: number;
  readonly endpoints: readonly PreviewEndpoint[];
}

export interface PreviewInput {
  readonly identities: readonly PreviewIdentity[];
  /** Rules before and after, of the subjects whose rules change. */
  readonly affected: ReadonlyMap<number, { readonly before: RuleTable; readonly after: RuleTable }>;
  /** Rules of any other subject. */
  readonly tableOf: (identity: number) => RuleTable;
  /** Addresses by which the host is reached. */
  readonly host: readonly string[];
  /** What is not outside: ranges of networks, and the host's addresses. */
  readonly inside: readonly Cidr[];
  readonly limits: PreviewLimits;
}

export interface PreviewLimits {
  /** Decisions of one side about one range of ports. */
  readonly decisions: number;
  readonly changes: number;
}

export type PreviewParty =
  | { readonly kind: 'identity'; readonly id: number; readonly addresses?: readonly string[] }
  | { readonly kind: 'host'; readonly addresses?: readonly string[] }
  | { readonly kind: 'world'; readonly range?: string; readonly except?: readonly string[] };

export interface PreviewChange {
  readonly source: PreviewParty;
  readonly destination: PreviewParty;
  /** IPPROTO_*; 0: every one. */
  readonly protocol: number;
  readonly ports: string;
  readonly before: 'allowed' | 'denied';
  readonly after: 'allowed' | 'denied';
}

export interface Preview {
  readonly changes: readonly PreviewChange[];
  /** There may be more: a limit was reached. */
  readonly truncated: boolean;
}

const WITH_PORTS = [6, 17, 132] as const;
const ICMP: Readonly<Record<Family, number>> = { 4: 1, 6: 58 };
const EVERY_PROTOCOL = 0;
const EVERYWHERE: Readonly<Record<Family, Cidr>> = { 4: parseCidr('0.0.0.0/0'), 6: parseCidr('::/0') };
const FAMILIES = [4, 6] as const;
/** Addresses that are told of a party where only some of its are meant, and exceptions of a range. */
const ADDRESSES_TOLD = 16;
/** Ranges of one side that are looked at for the outside; each costs as much as there are. */
const RANGES_MAX = 512;

type Party = PreviewIdentity | 'host' | 'world';
type Side = PreviewSide | undefined;

/** Addresses of a party about which all rules involved say the same, by one of them. */
interface Variant {
  readonly peer: PacketPeer;
  readonly addresses: string[];
  /** Of the outside: this range but for the exceptions, which rules say something else of. */
  readonly range?: { readonly range: string; readonly except?: readonly string[] };
  /** Names of its ports that rules involved use. */
  readonly ports: PreviewEndpoint['ports'];
}

type Outcome = Omit<PreviewChange, 'source' | 'destination'>;

interface Found {
  readonly from: Variant;
  readonly to: Variant;
  readonly outcomes: readonly Outcome[];
}

/** Yields often, so that whoever runs it can let others have their turn; the result is what it returns. */
export function* previewChanges(input: PreviewInput): Generator<undefined, Preview> {
  const run = new Run(input);
  const changes: PreviewChange[] = [];
  for (const [source, destination] of run.pairs()) {
    yield;
    changes.push(...(yield* run.compare(source, destination)));
    if (changes.length > input.limits.changes || run.isExhausted) {
      return { changes: changes.slice(0, input.limits.changes), truncated: true };
    }
  }
  return { changes, truncated: run.isIncomplete };
}

class Run {
  readonly #input: PreviewInput;
  readonly #sides = new Map<string, PreviewSide>();
  /** In the order of their bases. */
  readonly #inside: readonly Cidr[];
  #decisions = 0;
  isIncomplete = false;

  constructor(input: PreviewInput) {
    this.#input = input;
    this.#inside = [...input.inside].sort(compareRanges);
  }

  get isExhausted(): boolean {
    return this.#decisions > this.#input.limits.decisions;
  }

  /** Each ordered pair in which an affected subject takes part, once. */
  *pairs(): Generator<[Party, Party]> {
    const { identities, affected } = this.#input;
    for (const subject of identities) {
      if (!affected.has(subject.id)) continue;
      for (const other of [...identities, 'host', 'world'] as const) {
        // A container and itself: nothing comes between those.
        if (other === subject && subject.endpoints.length < 2) continue;
        yield [subject, other];
        // The other way round is the other's turn, if it is affected too.
        if (typeof other === 'string' || !affected.has(other.id)) yield [other, subject];
      }
    }
  }

  /** What changes between the two. First without the rules that stay: what those sides say is seldom asked for. */
  *compare(source: Party, destination: Party): Generator<undefined, PreviewChange[]> {
    const egress = this.#isAffected(source) ? this.#side(source, 'egress') : undefined;
    const ingress = this.#isAffected(destination) ? this.#side(destination, 'ingress') : undefined;
    let found = yield* this.#find(source, destination, egress, ingress);
    if (found.every(({ outcomes }) => outcomes.length === 0)) return [];
    const whole = [this.#side(source, 'egress'), this.#side(destination, 'ingress')] as const;
    if (whole[0] !== egress || whole[1] !== ingress) {
      found = yield* this.#find(source, destination, ...whole);
    }
    return changesOf(source, destination, found);
  }

  *#find(source: Party, destination: Party, egress: Side, ingress: Side): Generator<undefined, Found[]> {
    const found: Found[] = [];
    const names = new Set([egress, ingress].flatMap((side) => [...(side?.names ?? [])]));
    const tellsFamilies =
      names.size > 0 || [egress, ingress].some((side) => side !== undefined && side.ranges.length > 0);
    for (const family of FAMILIES) {
      const sources = this.#variants(source, family, ingress, new Set());
      const destinations = this.#variants(destination, family, egress, names);
      for (const from of sources) {
        for (const to of destinations) {
          found.push({ from, to, outcomes: yield* this.#outcomes(family, egress, ingress, from, to) });
          if (this.isExhausted) return found;
        }
      }
      // Where rules name neither ranges nor ports, the other family is judged the same.
      if (found.length > 0 && !tellsFamilies) break;
    }
    return found;
  }

  #isAffected(party: Party): boolean {
    return typeof party !== 'string' && this.#input.affected.has(party.id);
  }

  /** Undefined: who is no endpoint has no rules. */
  #side(party: Party, direction: Direction): Side {
    if (typeof party === 'string') return undefined;
    const { id } = party;
    const known = this.#sides.get(`${id} ${direction}`);
    if (known !== undefined) return known;
    const stays = () => {
      const table = this.#input.tableOf(id);
      return { before: table, after: table };
    };
    const side = new PreviewSide(id, direction, this.#input.affected.get(id) ?? stays());
    this.#sides.set(`${id} ${direction}`, side);
    return side;
  }

  /** The variants of a party as the rules of the other side tell them apart. */
  #variants(party: Party, family: Family, judge: Side, names: ReadonlySet<string>): Variant[] {
    if (party === 'world') return this.#outside(family, judge);
    const endpoints = party === 'host' ? [{ addresses: this.#input.host, ports: [] }] : party.endpoints;
    const variants = new Map<string, Variant>();
    for (const { addresses, ports } of endpoints) {
      const named = ports.filter(({ name }) => names.has(name));
      for (const address of addresses) {
        if (familyOf(address) !== family) continue;
        const key = JSON.stringify([judge?.rangeAround(address) ?? '', named]);
        const known = variants.get(key);
        if (known !== undefined) known.addresses.push(address);
        else variants.set(key, { peer: peerOf(party, address), addresses: [address], ports: named });
      }
    }
    return [...variants.values()];
  }

  #outside(family: Family, judge: Side): Variant[] {
    const named = (judge?.ranges ?? []).filter((range) => range.family === family);
    if (named.length > RANGES_MAX) this.isIncomplete = true;
    const everywhere = EVERYWHERE[family];
    const ranges = [
      ...(named.some(({ prefixLength }) => prefixLength === 0) ? [] : [everywhere]),
      ...named.slice(0, RANGES_MAX),
    ];
    return ranges.flatMap((range) => {
      const narrower = widest(named.filter((other) => isNarrower(other, range)));
      const address = addressOutside(range, [...narrower, ...this.#inside].sort(compareRanges));
      if (address === undefined) return [];
      const except = narrower.slice(0, ADDRESSES_TOLD).map(formatCidr);
      return {
        peer: { kind: 'world', address: formatAddress(address) },
        addresses: [],
        range: { range: formatCidr(range), ...(except.length === 0 ? {} : { except }) },
        ports: [],
      };
    });
  }

  *#outcomes(
    family: Family,
    egress: Side,
    ingress: Side,
    from: Variant,
    to: Variant,
  ): Generator<undefined, Outcome[]> {
    const outcomes: Outcome[] = [];
    const judge = (when: 'before' | 'after', protocol: number, port: number) => {
      const names = to.ports
        .filter((entry) => entry.protocol === protocol && entry.port === port)
        .map(({ name }) => name);
      const allows = (side: Side, peer: PacketPeer) => {
        if (side === undefined) return true;
        this.#decisions++;
        return side.decide(when, { peer, protocol, port, names }) === 'allow';
      };
      return allows(egress, to.peer) && allows(ingress, from.peer) ? 'allowed' : 'denied';
    };
    for (const protocol of WITH_PORTS) {
      const named = to.ports.filter((entry) => entry.protocol === protocol).map(({ port }) => port);
      const starts = intervalsOf([
        ...(egress?.boundaries(protocol) ?? []),
        ...(ingress?.boundaries(protocol) ?? []),
        ...named,
        ...named.map((port) => port + 1),
      ]);
      let open: { first: number; before: Outcome['before']; after: Outcome['after'] } | undefined;
      const close = (last: number) => {
        if (open === undefined || open.before === open.after) return;
        const { first, before, after } = open;
        outcomes.push({ protocol, ports: portsText(first, last), before, after });
      };
      for (const first of starts) {
        yield;
        const [before, after] = [judge('before', protocol, first), judge('after', protocol, first)] as const;
        if (open?.before === before && open.after === after) continue;
        close(first - 1);
        open = { first, before, after };
      }
      close(LAST_PORT);
    }
    const echo = ICMP[family];
    const [before, after] = [judge('before', echo, 0), judge('after', echo, 0)] as const;
    if (before !== after) outcomes.push({ protocol: ICMP[4], ports: 'any', before, after });
    return joined(outcomes);
  }
}

/** Where every protocol changes alike, that is one change. */
function joined(outcomes: Outcome[]): Outcome[] {
  const [first] = outcomes;
  const isAlike = outcomes.every(({ ports, before }) => ports === 'any' && before === first?.before);
  if (first === undefined || outcomes.length <= WITH_PORTS.length || !isAlike) return outcomes;
  return [{ ...first, protocol: EVERY_PROTOCOL }];
}

/** Where all variants of a party change alike, that is told of it as a whole. */
function changesOf(source: Party, destination: Party, found: readonly Found[]): PreviewChange[] {
  const isWhole = new Set(found.map(({ outcomes }) => JSON.stringify(outcomes))).size === 1;
  const told = isWhole ? found.slice(0, 1) : found;
  const isOne = (variants: readonly Variant[]) => isWhole || new Set(variants.map(textOf)).size === 1;
  const isOneSource = isOne(found.map(({ from }) => from));
  const isOneDestination = isOne(found.map(({ to }) => to));
  return told.flatMap(({ from, to, outcomes }) =>
    outcomes.map((outcome) => ({
      source: partyOf(source, isOneSource ? undefined : from),
      destination: partyOf(destination, isOneDestination ? undefined : to),
      ...outcome,
    })),
  );
}

function textOf({ addresses, range }: Variant): string {
  return JSON.stringify([addresses, range]);
}

/** `variant`: the part of it that is meant; undefined: all of it. */
function partyOf(party: Party, variant: Variant | undefined): PreviewParty {
  if (party === 'world') return { kind: party, ...variant?.range };
  const some = variant === undefined ? {} : { addresses: variant.addresses.slice(0, ADDRESSES_TOLD) };
  return party === 'host' ? { kind: party, ...some } : { kind: 'identity', id: party.id, ...some };
}

function peerOf(party: PreviewIdentity | 'host', address: string): PacketPeer {
  if (party === 'host') return { kind: party, address };
  return { kind: 'identity', id: party.id, network_id: party.network_id, address };
}

function familyOf(address: string): Family {
  return address.includes(':') ? 6 : 4;
}

/** Without those that are inside of others; in the order of their bases. */
function widest(ranges: readonly Cidr[]): Cidr[] {
  const found: Cidr[] = [];
  for (const range of [...ranges].sort(compareRanges)) {
    const last = found.at(-1);
    if (last === undefined || !cidrWithin(range, last)) found.push(range);
  }
  return found;
}

function isNarrower(inner: Cidr, outer: Cidr): boolean {
  return inner.prefixLength > outer.prefixLength && cidrWithin(inner, outer);
}
