import { expect, test } from 'vitest';
import { compile } from '../../src/firewall/compile.js';
import { PolicyEngine } from '../../src/firewall/engine.js';
import { decide, type Packet, type PacketPeer, RuleTable } from '../../src/firewall/lookup.js';
import { compareRuleRefs, formatRuleRef } from '../../src/firewall/rule-ref.js';
import type {
  Direction,
  PolicyDelta,
  PolicyInput,
  RuleEntry,
  RuleRef,
  Tier,
} from '../../src/firewall/types.js';
import { AppError } from '../../src/model/errors.js';
import type { IsolationMode } from '../../src/model/network.js';
import { identity, network, networkPolicy } from '../support/policy-objects.js';

const WEB = 300;
const CLIENT = 301;
const OTHER_NETWORK = 302;
const OTHER_NAMESPACE = 303;

const IDENTITIES = [
  identity(WEB, 1, 'default', 'web'),
  identity(CLIENT, 1, 'default', 'client'),
  identity(OTHER_NETWORK, 2, 'default', 'client'),
  identity(OTHER_NAMESPACE, 1, 'prod', 'client'),
];

const FROM_CLIENTS = { from: [{ podSelector: { matchLabels: { app: 'client' } } }] };
const SELECT_WEB = { podSelector: { matchLabels: { app: 'web' } } };

function input(mode: IsolationMode, policies: PolicyInput['policies'] = []): PolicyInput {
  return {
    networks: [network(1, mode, mode === 'mesh' ? ['n2', 'gone'] : []), network(2, mode)],
    namespaces: [],
    identities: IDENTITIES,
    policies,
  };
}

function peer(who: number | 'host' | 'world'): PacketPeer {
  const address = '198.18.0.1';
  if (typeof who !== 'number') return { kind: who, address };
  const found = IDENTITIES.find(({ id }) => id === who);
  return { kind: 'identity', id: who, network_id: found?.network_id ?? 0, address };
}

function verdictOf(table: RuleTable, packet: Packet) {
  return decide(table, packet, { audit: false }).verdict;
}

const EVERYBODY = [WEB, CLIENT, OTHER_NETWORK, OTHER_NAMESPACE, 'host', 'world'] as const;

/** Who may talk to (or be talked to by) WEB, with TCP to port 80 unless said otherwise. */
function allowed(of: PolicyInput, direction: Direction, protocol = 6, port = 80) {
  const table = RuleTable.from(compile(of));
  return EVERYBODY.filter(
    (who) => verdictOf(table, { subject: WEB, direction, peer: peer(who), protocol, port }) === 'allow',
  );
}

test.each([
  ['full', []],
  ['peer', [WEB, CLIENT, OTHER_NAMESPACE]],
  ['mesh', [WEB, CLIENT, OTHER_NETWORK, OTHER_NAMESPACE]],
  ['none', [...EVERYBODY]],
] as const)('mode %s without policies lets %j talk', (mode, who) => {
  for (const direction of ['egress', 'ingress'] as const) {
    expect(allowed(input(mode), direction)).toEqual(who);
    expect(allowed(input(mode), direction, 1, 0)).toEqual(who);
  }
});

test.each(['full', 'peer', 'mesh', 'none'] as const)(
  'in mode %s a selected direction allows what the policy says and nothing else',
  (mode) => {
    const of = input(mode, [networkPolicy('p', { ...SELECT_WEB, ingress: [FROM_CLIENTS] })]);
    // The peers are those of the policy's namespace, in every network.
    expect(allowed(of, 'ingress')).toEqual([CLIENT, OTHER_NETWORK]);
    // The other direction is not named: the mode counts.
    expect(allowed(of, 'egress')).toEqual(allowed(input(mode), 'egress'));
  },
);

test.each(['full', 'peer', 'mesh', 'none'] as const)(
  'in mode %s a rule without peers opens to everybody, the host and the world included',
  (mode) => {
    for (const rule of [{}, { from: [] }]) {
      expect(
        allowed(input(mode, [networkPolicy('p', { ...SELECT_WEB, ingress: [rule] })]), 'ingress'),
      ).toEqual([...EVERYBODY]);
    }
  },
);

test('selecting without rules denies everything', () => {
  const of = input('none', [networkPolicy('p', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] })]);
  expect(allowed(of, 'ingress')).toEqual([]);
  expect(allowed(of, 'egress')).toEqual([]);
});

test('rules of a direction that policyTypes leaves out have no effect', () => {
  const spec = { ...SELECT_WEB, policyTypes: ['Egress'], ingress: [FROM_CLIENTS] };
  expect(allowed(input('full', [networkPolicy('p', spec)]), 'ingress')).toEqual([]);
});

test('a selector of everything means every endpoint, but neither the host nor the world', () => {
  const of = input('full', [
    networkPolicy('p', { podSelector: {}, ingress: [{ from: [{ namespaceSelector: {} }] }] }),
  ]);
  expect(allowed(of, 'ingress')).toEqual([WEB, CLIENT, OTHER_NETWORK, OTHER_NAMESPACE]);
});

test('rules that mean every endpoint cost entries per network, not per identity', () => {
  const of = input('full', [
    networkPolicy('p', { ...SELECT_WEB, ingress: [{ from: [{ namespaceSelector: {} }] }] }),
  ]);
  expect(entriesOf(compile(of).entries, 'network-policy').map(({ peer: who }) => who)).toEqual([
    { kind: 'network', id: 1 },
    { kind: 'network', id: 2 },
  ]);
});

test('a namespace carries its name as a label, which nobody can claim for another', () => {
  const byName = { matchLabels: { 'kubernetes.io/metadata.name': 'prod' } };
  const of = input('full', [
    networkPolicy('p', { ...SELECT_WEB, ingress: [{ from: [{ namespaceSelector: byName }] }] }),
  ]);
  const claimed = {
    ...of,
    namespaces: [{ name: 'default', labels: { 'kubernetes.io/metadata.name': 'prod' } }],
  };
  expect(allowed(of, 'ingress')).toEqual([OTHER_NAMESPACE]);
  expect(allowed(claimed, 'ingress')).toEqual([OTHER_NAMESPACE]);
});

test('both selectors in one peer must match; in two peers either is enough', () => {
  const prod = { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'prod' } } };
  const web = { podSelector: { matchLabels: { app: 'web' } } };
  const from = (...peers: object[]) =>
    allowed(input('full', [networkPolicy('p', { ...SELECT_WEB, ingress: [{ from: peers }] })]), 'ingress');
  expect(from({ ...prod, ...web })).toEqual([]);
  expect(from(prod, web)).toEqual([WEB, OTHER_NAMESPACE]);
});

test('ports restrict the protocol and the port; without ports every protocol passes', () => {
  const withPorts = (ports?: object[]) => {
    const table = RuleTable.from(
      compile(input('full', [networkPolicy('p', { ...SELECT_WEB, ingress: [{ ...FROM_CLIENTS, ports }] })])),
    );
    return (protocol: number, port: number) =>
      verdictOf(table, { subject: WEB, direction: 'ingress', peer: peer(CLIENT), protocol, port });
  };
  const all = withPorts();
  expect([all(1, 0), all(6, 1), all(17, 65535), all(132, 9)]).toEqual(['allow', 'allow', 'allow', 'allow']);
  const tcp = withPorts([{}]);
  expect([tcp(6, 1), tcp(17, 1), tcp(1, 0)]).toEqual(['allow', 'deny', 'deny']);
  const range = withPorts([{ protocol: 'UDP', port: 1000, endPort: 2000 }]);
  expect([range(17, 999), range(17, 1000), range(17, 2000), range(17, 2001), range(6, 1500)]).toEqual([
    'deny',
    'allow',
    'allow',
    'deny',
    'deny',
  ]);
});

test('a mesh talks only where both networks agree', () => {
  const of = { ...input('full'), networks: [network(1, 'mesh', ['n2']), network(2, 'peer')] };
  const table = RuleTable.from(compile(of));
  const packet = { protocol: 6, port: 80 };
  const sent = verdictOf(table, { ...packet, subject: WEB, direction: 'egress', peer: peer(OTHER_NETWORK) });
  const received = verdictOf(table, {
    ...packet,
    subject: OTHER_NETWORK,
    direction: 'ingress',
    peer: peer(WEB),
  });
  expect([sent, received]).toEqual(['allow', 'deny']);
});

test('an identity whose policy is not computed is denied', () => {
  const packet = { subject: 999, direction: 'egress', peer: peer('world'), protocol: 6, port: 1 } as const;
  const table = RuleTable.from(compile(input('none')));
  expect(decide(table, packet, { audit: false })).toEqual({ verdict: 'deny', isDefaultDeny: false });
});

function entriesOf(entries: RuleEntry[], tier: Tier) {
  return entries.filter((entry) => entry.tier === tier);
}

function ruleOf(entries: RuleEntry[], subject = WEB): string[] {
  return entries.filter((entry) => entry.subject === subject).map(({ rule }) => formatRuleRef(rule));
}

test('of rules that give the same key the first by namespace, name and index owns it, whatever came first', () => {
  const rules = [FROM_CLIENTS, FROM_CLIENTS];
  const engine = new PolicyEngine();
  engine.upsertNetwork(network(1, 'full'));
  engine.upsertIdentity(identity(WEB, 1, 'default', 'web'));
  engine.upsertIdentity(identity(CLIENT, 1, 'default', 'client'));
  engine.upsertPolicy(networkPolicy('b', { ...SELECT_WEB, ingress: rules }));
  expect(ruleOf(engine.takeDelta().set)).toEqual(['default/b ingress[0]']);
  engine.upsertPolicy(networkPolicy('a', { ...SELECT_WEB, ingress: rules }));
  engine.upsertPolicy(networkPolicy('c', { ...SELECT_WEB, ingress: rules }));
  expect(ruleOf(engine.takeDelta().set)).toEqual(['default/a ingress[0]']);
  engine.removePolicy({ namespace: 'default', name: 'a' });
  const delta = engine.takeDelta();
  expect(ruleOf(delta.set)).toEqual(['default/b ingress[0]']);
  expect(delta.delete).toEqual([]);
  expect(engine.inForce.selectedBy(WEB, 'ingress').map(({ name }) => name)).toEqual(['b', 'c']);
});

test('the first policy that selects takes the mode out of force, and the last that goes brings it back', () => {
  const engine = new PolicyEngine();
  engine.upsertNetwork(network(1, 'peer'));
  engine.upsertIdentity(identity(WEB, 1, 'default', 'web'));
  const first = engine.takeDelta();
  expect(ruleOf(first.set)).toEqual(['isolation peer of network n1', 'isolation peer of network n1']);
  const isolated = (delta: PolicyDelta) => delta.subjects.set.map(({ enforced }) => enforced.isolated);
  expect(isolated(first)).toEqual([{ egress: false, ingress: false }]);
  // The rule of the mode stays where it is: that the subject is isolated is all that changes.
  engine.upsertPolicy(networkPolicy('p', SELECT_WEB));
  engine.upsertPolicy(networkPolicy('q', SELECT_WEB));
  const selected = engine.takeDelta();
  expect([...selected.set, ...selected.delete]).toEqual([]);
  expect(isolated(selected)).toEqual([{ egress: false, ingress: true }]);
  engine.removePolicy({ namespace: 'default', name: 'p' });
  expect(isolated(engine.takeDelta())).toEqual([]);
  engine.removePolicy({ namespace: 'default', name: 'q' });
  const released = engine.takeDelta();
  expect([...released.set, ...released.delete]).toEqual([]);
  expect(isolated(released)).toEqual([{ egress: false, ingress: false }]);
});

test('references have a stable text and order', () => {
  const rule = (name: string, index: number): RuleRef => {
    return { kind: 'policy', namespace: 'default', name, direction: 'ingress', index };
  };
  const mode: RuleRef = { kind: 'isolation', network: 'n', mode: 'peer' };
  const host: RuleRef = { kind: 'host-access' };
  expect([rule('allow-web', 0), mode, host].map(formatRuleRef)).toEqual([
    'default/allow-web ingress[0]',
    'isolation peer of network n',
    'host access',
  ]);
  const sorted = [host, mode, rule('b', 0), rule('a', 10), rule('a', 9)].sort(compareRuleRefs);
  expect(sorted).toEqual([rule('a', 9), rule('a', 10), rule('b', 0), mode, host]);
});

test('misuse is refused and changes nothing', () => {
  const engine = new PolicyEngine();
  engine.upsertNetwork(network(1, 'peer'));
  engine.upsertIdentity(identity(WEB, 1, 'default', 'web'));
  const before = engine.snapshot();
  expect(() => engine.upsertIdentity(identity(WEB, 7, 'default', 'web'))).toThrow(RangeError);
  expect(() => engine.upsertIdentity(identity(0, 1, 'default', 'web'))).toThrow(RangeError);
  expect(() => engine.removeNetwork(1)).toThrow(RangeError);
  expect(() => engine.upsertNetwork({ ...network(2, 'peer'), name: 'n1' })).toThrow(RangeError);
  expect(engine.snapshot()).toEqual(before);
});

test('a policy that would need more than the bound is refused with INSUFFICIENT_CAPACITY', () => {
  const engine = new PolicyEngine({ maxSize: 40 });
  engine.upsertNetwork(network(1, 'full'));
  for (let id = 300; id < 310; id += 1) engine.upsertIdentity(identity(id, 1, 'default', 'web'));
  const everyPair = networkPolicy('p', { podSelector: {}, ingress: [{ from: [{ podSelector: {} }] }] });
  expect(() => engine.upsertPolicy(everyPair)).toThrow(AppError);
  expect(engine.size).toBe(0);
  expect(engine.inForce.selectedBy(300, 'ingress')).toEqual([]);
});
