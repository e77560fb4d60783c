import { expect, test } from 'vitest';
import { decide, formatRuleKey, RuleTable } from '../../src/firewall/lookup.js';
import type { Peer, RuleEntry } from '../../src/firewall/types.js';

const SUBJECT = 300;
const IDENTITY: Peer = { kind: 'identity', id: 301 };
const NETWORK: Peer = { kind: 'network', id: 1 };
const ANY: Peer = { kind: 'any' };

/** An entry that allows everything to `peer`; its rule is named after its place. */
function entry(peer: Peer, change: Partial<RuleEntry> = {}): RuleEntry {
  const key = { subject: SUBJECT, direction: 'ingress', peer, protocol: 0, port: 0, portBits: 0 } as const;
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

/** What is decided about TCP to port 80 from the identity 301 in network 1. */
function decideWith(set: RuleEntry[], portBits = 1) {
  const table = new RuleTable();
  table.apply({
    set,
    delete: [],
    subjects: { set: [{ identity: SUBJECT, portBits: [0, portBits] }], delete: [] },
  });
  const peer = { kind: 'identity', id: 301, network_id: 1 } as const;
  return decide(table, { subject: SUBJECT, direction: 'ingress', peer, protocol: 6, port: 80 });
}

test('the highest precedence wins, and deny among equals', () => {
  const verdict = (one: Partial<RuleEntry>, any: Partial<RuleEntry>) =>
    decideWith([entry(IDENTITY, one), entry(ANY, any)]).verdict;
  expect(verdict({}, { verdict: 'deny' })).toBe('deny');
  expect(verdict({ verdict: 'deny' }, {})).toBe('deny');
  expect(verdict({}, { verdict: 'deny', precedence: 0 })).toBe('allow');
  expect(verdict({ verdict: 'deny' }, { precedence: 2 })).toBe('allow');
});

test('of equal rules the one that the programs find first is named', () => {
  const named = (...set: RuleEntry[]) => {
    const { entry: found } = decideWith(set, (1 << 16) | 1);
    return found === undefined ? -1 : set.indexOf(found);
  };
  const port = { protocol: 6, port: 80, portBits: 16 };
  expect(named(entry(NETWORK), entry(ANY), entry(IDENTITY))).toBe(2);
  expect(named(entry(NETWORK), entry(ANY))).toBe(1);
  expect(named(entry(IDENTITY, port), entry(IDENTITY, { protocol: 6 }))).toBe(1);
  expect(named(entry(IDENTITY), entry(IDENTITY, port))).toBe(1);
  expect(named(entry(ANY, { verdict: 'deny' }), entry(IDENTITY, { verdict: 'deny' }))).toBe(0);
});

test('only prefix lengths that the mask of the subject names are looked up', () => {
  const port = entry(IDENTITY, { protocol: 6, port: 80, portBits: 16 });
  expect(decideWith([port], 1 << 16).entry).toBe(port);
  expect(decideWith([port], 1).entry).toBeUndefined();
});

test('a subject whose policy is not computed is denied', () => {
  const packet = { subject: 1, direction: 'egress', peer: { kind: 'world' }, protocol: 6, port: 1 } as const;
  expect(decide(new RuleTable(), packet)).toEqual({ verdict: 'deny' });
});
