import { expect, test } from 'vitest';
import { type Decision, decide, formatRuleKey, type Packet, RuleTable } from '../../src/firewall/lookup.js';
import {
  type CidrKey,
  type Peer,
  PORT_BITS_NAMED,
  type PrefixLengths,
  type RuleEntry,
  type SubjectEntry,
  type SubjectRules,
  TIERS,
  type Tier,
} from '../../src/firewall/types.js';
import { prefixLengthsOf } from '../support/prefix-lengths.js';

const SUBJECT = 300;
const IDENTITY: Peer = { kind: 'identity', id: 301 };
const NETWORK: Peer = { kind: 'network', id: 1 };
const ANY: Peer = { kind: 'any' };
const CIDR: Peer = { kind: 'cidr', cidr: '198.18.0.0/24' };

/** An entry that allows everything to `peer`; its rule is named after its place. */
function entry(peer: Peer, change: Partial<RuleEntry> = {}): RuleEntry {
  const key = {
    subject: SUBJECT,
    direction: 'ingress',
    tier: 'network-policy',
    audit: false,
    peer,
    protocol: 0,
    port: 0,
    portBits: 0,
  } as const;
  const place = { ...key, ...change };
  const rule = {
    kind: 'policy',
    namespace: 'd',
    name: formatRuleKey(place),
    direction: 'ingress',
    index: 0,
  } as const;
  return { verdict: 'allow', precedence: 1, rule, ...place };
}

/** What a subject's entry says that has the same port bits in each of the tiers that are given. */
function rules(portBits: number, tiers: readonly Tier[] = TIERS, isolated = false): SubjectRules {
  const bits = (tier: Tier) => (tiers.includes(tier) ? portBits : 0);
  return {
    portBits: Object.fromEntries(TIERS.map((tier) => [tier, [0, bits(tier)]])) as unknown as Record<
      Tier,
      [number, number]
    >,
    isolated: { egress: false, ingress: isolated },
  };
}

const NOTHING = rules(0);
const PORT_BITS = (1 << PORT_BITS_NAMED) | (1 << 16) | 1;

interface Given {
  readonly subject?: Partial<SubjectEntry>;
  readonly cidrs?: readonly string[];
  readonly packet?: Partial<Packet>;
  readonly audit?: boolean;
}

/** What is decided about TCP to port 80 from the identity 301 in network 1. */
function decideWith(set: RuleEntry[], { subject, cidrs = [], packet, audit = false }: Given = {}): Decision {
  const table = new RuleTable();
  const ranges: CidrKey[] = cidrs.map((cidr) => ({ subject: SUBJECT, direction: 'ingress', cidr }));
  table.apply({
    set,
    delete: [],
    subjects: {
      set: [
        {
          identity: SUBJECT,
          enforced: rules(PORT_BITS),
          audited: rules(PORT_BITS),
          cidrs: { egress: prefixLengthsOf([]), ingress: prefixLengthsOf(cidrs) },
          ...subject,
        },
      ],
      delete: [],
    },
    cidrs: { set: ranges, delete: [] },
  });
  const peer = { kind: 'identity', id: 301, network_id: 1, address: '198.18.0.1' } as const;
  const whole = { subject: SUBJECT, direction: 'ingress', peer, protocol: 6, port: 80, ...packet } as const;
  return decide(table, whole, { audit });
}

test('the highest precedence wins, and among equals deny, then pass', () => {
  const verdict = (one: Partial<RuleEntry>, any: Partial<RuleEntry>) =>
    decideWith([entry(IDENTITY, one), entry(ANY, any), entry(ANY, { tier: 'baseline', verdict: 'deny' })])
      .verdict;
  expect(verdict({}, {})).toBe('allow');
  expect(verdict({}, { verdict: 'deny' })).toBe('deny');
  expect(verdict({ verdict: 'deny' }, {})).toBe('deny');
  expect(verdict({}, { verdict: 'deny', precedence: 0 })).toBe('allow');
  expect(verdict({ verdict: 'deny' }, { precedence: 2 })).toBe('allow');
  // A pass hands over to the deny of the next tier.
  expect(verdict({ verdict: 'pass' }, {})).toBe('deny');
  expect(verdict({ verdict: 'pass' }, { precedence: 2 })).toBe('allow');
  const toAllow = [entry(ANY, { tier: 'baseline' })];
  expect(decideWith([entry(IDENTITY, { verdict: 'pass' }), ...toAllow]).verdict).toBe('allow');
  expect(
    decideWith([entry(IDENTITY, { verdict: 'pass' }), entry(ANY, { verdict: 'deny' }), ...toAllow]).verdict,
  ).toBe('deny');
});

test('of equal rules the one that the programs find first is named', () => {
  const named = (...set: RuleEntry[]) => {
    const { entry: found } = decideWith(set, {
      cidrs: ['198.18.0.0/24'],
      packet: { names: ['web', 'http'] },
    });
    return found === undefined ? -1 : set.indexOf(found);
  };
  const port = { protocol: 6, port: 80, portBits: 16 };
  const name = (text: string) => ({ protocol: 6, port: 0, portBits: PORT_BITS_NAMED, name: text });
  const deny = { verdict: 'deny' } as const;
  expect(named(entry(CIDR), entry(NETWORK), entry(ANY), entry(IDENTITY))).toBe(3);
  expect(named(entry(CIDR), entry(NETWORK), entry(ANY))).toBe(2);
  expect(named(entry(CIDR), entry(NETWORK))).toBe(1);
  expect(named(entry(IDENTITY), entry(IDENTITY, name('web')), entry(IDENTITY, port))).toBe(2);
  expect(named(entry(IDENTITY), entry(IDENTITY, name('http')), entry(IDENTITY, name('web')))).toBe(2);
  expect(named(entry(IDENTITY), entry(IDENTITY, name('http')))).toBe(1);
  expect(named(entry(IDENTITY, port), entry(IDENTITY, { protocol: 6 }))).toBe(1);
  expect(named(entry(ANY, deny), entry(IDENTITY, deny))).toBe(1);
});

test.each(TIERS.map((tier, index) => [tier, TIERS.slice(index + 1)] as const))(
  'what tier %s says ends it, whatever the tiers after it say',
  (tier, later) => {
    for (const verdict of ['allow', 'deny'] as const) {
      const against = verdict === 'allow' ? 'deny' : 'allow';
      const own = entry(ANY, { tier, verdict });
      const decision = decideWith([
        own,
        ...later.map((one) => entry(ANY, { tier: one, verdict: against, precedence: 9 })),
      ]);
      expect(decision).toEqual({ verdict, entry: own, tier, isDefaultDeny: false });
    }
  },
);

test('in tier network-policy an isolated subject is denied what no rule allows, and later tiers are not asked', () => {
  const allows = [entry(ANY, { tier: 'baseline' })];
  const subject = { enforced: rules(PORT_BITS, TIERS, true) };
  const denied = { verdict: 'deny', tier: 'network-policy', isDefaultDeny: true };
  expect(decideWith(allows).verdict).toBe('allow');
  expect(decideWith(allows, { subject })).toEqual(denied);
  // Admin comes before that.
  expect(decideWith([entry(ANY, { tier: 'admin' })], { subject }).tier).toBe('admin');
});

test('after the last tier the packet is denied by default', () => {
  const last = { verdict: 'deny', tier: TIERS.at(-1), isDefaultDeny: true };
  expect(decideWith([])).toEqual(last);
  expect(decideWith(TIERS.map((tier) => entry(ANY, { tier, verdict: 'pass' })))).toEqual(last);
});

test('only prefix lengths that the mask of the subject and tier names are looked up', () => {
  const port = entry(IDENTITY, { protocol: 6, port: 80, portBits: 16 });
  const found = (enforced: SubjectRules) => decideWith([port], { subject: { enforced } }).entry;
  expect(found(rules(1 << 16))).toBe(port);
  expect(found(rules(1))).toBeUndefined();
  expect(found(rules(1 << 16, ['admin']))).toBeUndefined();
});

test('a port is met by any of the names that its endpoint gives it, and by no other', () => {
  const named = entry(ANY, { protocol: 6, port: 0, portBits: PORT_BITS_NAMED, name: 'web' });
  const found = (packet: Partial<Packet>) => decideWith([named], { packet }).entry;
  expect(found({ names: ['http', 'web'] })).toBe(named);
  expect(found({ names: ['http'] })).toBeUndefined();
  expect(found({})).toBeUndefined();
  expect(found({ protocol: 17, names: ['web'] })).toBeUndefined();
});

test('an address counts for its narrowest range only, and a range of one family holds none of the other', () => {
  const cidrs = ['0.0.0.0/0', '198.18.0.0/24', '198.18.0.9/32', '::/0', 'fd00::/8'];
  const set = cidrs.map((cidr) => entry({ kind: 'cidr', cidr }));
  const found = (address: string | Uint8Array, ranges = cidrs) => {
    const { peer } = decideWith(set, {
      cidrs: ranges,
      packet: { peer: { kind: 'world', address } },
    }).entry ?? { peer: undefined };
    return peer?.kind === 'cidr' ? peer.cidr : undefined;
  };
  expect(found('198.18.0.9')).toBe('198.18.0.9/32');
  expect(found('198.18.0.8')).toBe('198.18.0.0/24');
  expect(found('198.18.1.8')).toBe('0.0.0.0/0');
  expect(found('fd00::1')).toBe('fd00::/8');
  expect(found('2001:db8::1')).toBe('::/0');
  expect(found('198.18.0.9', ['::/0'])).toBeUndefined();
  expect(found(Uint8Array.from([...Array(10).fill(0), 255, 255, 198, 18, 0, 9]))).toBe('198.18.0.9/32');
  expect(found(new Uint8Array(16))).toBe('::/0');
});

test('a range that comes or goes counts for an address that was asked about before', () => {
  const table = new RuleTable();
  const change = (set: readonly string[], gone: readonly string[], all: readonly string[]) => {
    const keys = (cidrs: readonly string[]) =>
      cidrs.map((cidr): CidrKey => ({ subject: SUBJECT, direction: 'ingress', cidr }));
    const cidrs = { egress: prefixLengthsOf([]), ingress: prefixLengthsOf(all) };
    const subject = { identity: SUBJECT, enforced: NOTHING, audited: NOTHING, cidrs };
    table.apply({
      set: [],
      delete: [],
      subjects: { set: [subject], delete: [] },
      cidrs: { set: keys(set), delete: keys(gone) },
    });
    return table.rangeAround(SUBJECT, 'ingress', '198.18.0.9')?.text;
  };
  expect(change(['10.0.0.0/8'], [], ['10.0.0.0/8'])).toBeUndefined();
  expect(change(['198.18.0.0/16'], [], ['10.0.0.0/8', '198.18.0.0/16'])).toBe('198.18.0.0/16');
  const three = ['10.0.0.0/8', '198.18.0.0/16', '198.18.0.9/32'];
  expect(change(['198.18.0.9/32'], [], three)).toBe('198.18.0.9/32');
  expect(change([], ['198.18.0.9/32'], three.slice(0, 2))).toBe('198.18.0.0/16');
});

test('a narrower range without rules shadows a wider one that has some', () => {
  const wide = entry({ kind: 'cidr', cidr: '198.18.0.0/15' });
  expect(decideWith([wide], { cidrs: ['198.18.0.0/15'] }).entry).toBe(wide);
  expect(decideWith([wide], { cidrs: ['198.18.0.0/15', '198.18.0.0/24'] }).entry).toBeUndefined();
  // Ranges are looked for only where the subject says that it has some, and only those of the lengths that it says.
  const found = (ingress: PrefixLengths) =>
    decideWith([wide], {
      cidrs: ['198.18.0.0/15', '198.18.0.0/24'],
      subject: { cidrs: { egress: prefixLengthsOf(['198.18.0.0/15']), ingress } },
    }).entry;
  expect(found(prefixLengthsOf([]))).toBeUndefined();
  expect(found(prefixLengthsOf(['198.18.0.0/15']))).toBe(wide);
  expect(found(prefixLengthsOf(['198.18.0.0/24', '::/15']))).toBeUndefined();
});

test('audited rules and audited isolation count in the audited decision, beside the others, and in no other', () => {
  const enforced = entry(ANY);
  const audited = entry(ANY, { audit: true, verdict: 'deny' });
  expect(decideWith([enforced, audited]).entry).toBe(enforced);
  expect(decideWith([enforced, audited], { audit: true }).entry).toBe(audited);
  expect(decideWith([enforced], { audit: true }).entry).toBe(enforced);
  const same = entry(ANY, { audit: true });
  expect(decideWith([same, enforced], { audit: true }).entry).toBe(enforced);
  const baseline = [entry(ANY, { tier: 'baseline' })];
  const subject = { audited: rules(0, TIERS, true) };
  expect(decideWith(baseline, { subject }).verdict).toBe('allow');
  expect(decideWith(baseline, { subject, audit: true }).isDefaultDeny).toBe(true);
  const isolated = { enforced: rules(PORT_BITS, TIERS, true), audited: NOTHING };
  expect(decideWith(baseline, { subject: isolated, audit: true }).isDefaultDeny).toBe(true);
  // What is only in the audited rules is looked for by their own mask.
  const alone = { enforced: NOTHING, audited: rules(PORT_BITS) };
  expect(decideWith([audited], { subject: alone, audit: true }).entry).toBe(audited);
});

test('a subject whose policy is not computed is denied', () => {
  const peer = { kind: 'world', address: '198.18.0.1' } as const;
  const packet = { subject: 1, direction: 'egress', peer, protocol: 6, port: 1 } as const;
  expect(decide(new RuleTable(), packet, { audit: false })).toEqual({
    verdict: 'deny',
    isDefaultDeny: false,
  });
});
