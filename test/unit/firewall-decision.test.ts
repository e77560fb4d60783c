import { expect, test } from 'vitest';
import { compile } from '../../src/firewall/compile.js';
import { PolicyEngine } from '../../src/firewall/engine.js';
import { type Decision, decide, type Packet, type PacketPeer, RuleTable } from '../../src/firewall/lookup.js';
import { formatRuleRef } from '../../src/firewall/rule-ref.js';
import { type Direction, type PolicyNode, type RuleEntry, TIERS } from '../../src/firewall/types.js';
import { AppError } from '../../src/model/errors.js';
import type { IsolationMode } from '../../src/model/network.js';
import type { Policy } from '../../src/model/policy.js';
import { clusterPolicy, identity, network, networkPolicy } from '../support/policy-objects.js';

const WEB = 300;
const CLIENT = 301;
const PROD = 303;
const IDENTITIES = [
  identity(WEB, 1, 'default', 'web'),
  identity(CLIENT, 1, 'default', 'client'),
  identity(PROD, 1, 'prod', 'client'),
];

/** Addresses are what only ranges look at. */
const PEERS = {
  web: { kind: 'identity', id: WEB, network_id: 1, address: '198.18.0.2' },
  client: { kind: 'identity', id: CLIENT, network_id: 1, address: '198.18.0.3' },
  prod: { kind: 'identity', id: PROD, network_id: 1, address: '198.18.0.4' },
  host: { kind: 'host', address: '198.18.0.1' },
  world: { kind: 'world', address: '203.0.113.7' },
} as const satisfies Record<string, PacketPeer>;
type Who = keyof typeof PEERS;
const EVERYBODY = Object.keys(PEERS) as Who[];

interface Given {
  readonly mode?: IsolationMode;
  readonly node?: PolicyNode;
}

function tableOf(policies: readonly Policy[], { mode = 'full', node }: Given = {}): RuleTable {
  const nodes = node === undefined ? {} : { node };
  return RuleTable.from(
    compile({ ...nodes, networks: [network(1, mode)], namespaces: [], identities: IDENTITIES, policies }),
  );
}

/** What WEB decides about TCP to port 80 received from somebody, unless said otherwise. */
function decision(
  table: RuleTable,
  who: Who | PacketPeer,
  change: Partial<Packet> & { audit?: boolean } = {},
): Decision {
  const { audit = false, ...packet } = change;
  const peer = typeof who === 'string' ? PEERS[who] : who;
  const whole = { subject: WEB, direction: 'ingress', peer, protocol: 6, port: 80, ...packet } as const;
  return decide(table, whole, { audit });
}

/** The verdict, and what decided: a rule, or the tier that denied by default. */
function said(table: RuleTable, who: Who | PacketPeer, change: Parameters<typeof decision>[2] = {}): string {
  const { verdict, entry, tier, isDefaultDeny } = decision(table, who, change);
  return `${verdict}: ${entry === undefined ? `${tier} ${isDefaultDeny}` : formatRuleRef(entry.rule)}`;
}

/** Who may talk to WEB, or be talked to by it. */
function allowed(table: RuleTable, change: Parameters<typeof decision>[2] = {}): Who[] {
  return EVERYBODY.filter((who) => decision(table, who, change).verdict === 'allow');
}

const SELECT_WEB = { podSelector: { matchLabels: { app: 'web' } } };
const ALL = [{ namespaces: {} }];
const PODS_OF_CLIENT = { podSelector: { matchLabels: { app: 'client' } } };
const CLIENTS = { pods: { namespaceSelector: {}, ...PODS_OF_CLIENT } };
const PROD_PODS = { namespaces: { matchLabels: { 'kubernetes.io/metadata.name': 'prod' } } };
const ACCEPT = { ingress: [{ action: 'Accept', from: ALL }] };
const DENY = { ingress: [{ action: 'Deny', from: ALL }] };
const PASS = { ingress: [{ action: 'Pass', from: ALL }] };
const BASELINE = { tier: 'Baseline' };
const OPEN = networkPolicy('open', { ...SELECT_WEB, ingress: [{}] });
const CLOSED = networkPolicy('closed', SELECT_WEB);

test('tiers are asked in their order: admin, network-policy, baseline, the isolation mode', () => {
  expect([...TIERS]).toEqual(['admin', 'network-policy', 'baseline', 'default']);
  const admin = clusterPolicy('admin', DENY);
  const baseline = clusterPolicy('baseline', { ...BASELINE, ...DENY });
  const mode = 'none';
  expect(said(tableOf([admin, OPEN, baseline], { mode }), 'client')).toBe('deny: -/admin ingress[0]');
  expect(said(tableOf([OPEN, baseline], { mode }), 'client')).toBe('allow: default/open ingress[0]');
  expect(said(tableOf([baseline], { mode }), 'client')).toBe('deny: -/baseline ingress[0]');
  expect(said(tableOf([], { mode }), 'client')).toBe('allow: isolation none of network n1');
});

test('a tier that allows or denies ends it', () => {
  const accept = clusterPolicy('admin', ACCEPT);
  expect(said(tableOf([accept, CLOSED]), 'client')).toBe('allow: -/admin ingress[0]');
  const baseline = clusterPolicy('baseline', { ...BASELINE, ...ACCEPT });
  expect(said(tableOf([baseline]), 'client')).toBe('allow: -/baseline ingress[0]');
});

test('a tier that passes, or in which nothing matches, leaves it to the next', () => {
  const pass = clusterPolicy('pass', PASS);
  expect(said(tableOf([pass, OPEN]), 'client')).toBe('allow: default/open ingress[0]');
  expect(said(tableOf([pass, CLOSED]), 'client')).toBe('deny: network-policy true');
  const other = clusterPolicy('other', { egress: [{ action: 'Deny', to: ALL }] });
  expect(said(tableOf([other, OPEN]), 'client')).toBe('allow: default/open ingress[0]');
});

test('a pass of tier Baseline leaves it to the isolation mode', () => {
  const rules = [...PASS.ingress, ...DENY.ingress];
  const pass = clusterPolicy('pass', { ...BASELINE, ingress: rules });
  expect(said(tableOf([pass], { mode: 'peer' }), 'client')).toBe('allow: isolation peer of network n1');
  expect(said(tableOf([pass], { mode: 'full' }), 'client')).toBe('deny: default true');
});

test('an isolated subject is denied what no NetworkPolicy allows, and tier Baseline is not asked', () => {
  const baseline = clusterPolicy('baseline', { ...BASELINE, ...ACCEPT });
  const table = tableOf([CLOSED, baseline], { mode: 'none' });
  expect(said(table, 'client')).toBe('deny: network-policy true');
  // In the direction that it does not isolate, it has no say.
  expect(said(table, 'client', { direction: 'egress' })).toBe('allow: isolation none of network n1');
});

test('after the last tier the packet is denied by default', () => {
  expect(said(tableOf([]), 'client')).toBe('deny: default true');
});

test('a ClusterNetworkPolicy isolates nobody', () => {
  const table = tableOf([clusterPolicy('deny', { ingress: [{ action: 'Deny', from: [PROD_PODS] }] })], {
    mode: 'none',
  });
  expect(allowed(table)).toEqual(['web', 'client', 'host', 'world']);
  expect(table.subjects.map(({ enforced }) => enforced.isolated)).toEqual(
    IDENTITIES.map(() => ({ egress: false, ingress: false })),
  );
});

test.each(['Admin', 'Baseline'])(
  'in tier %s the lower priority number and then the lower index comes first',
  (tier) => {
    const policy = (name: string, priority: number, ...actions: string[]) =>
      clusterPolicy(name, { tier, priority, ingress: actions.map((action) => ({ action, from: ALL })) });
    const last = policy('last', 1000, 'Deny');
    expect(said(tableOf([last, policy('a', 999, 'Accept')]), 'client')).toBe('allow: -/a ingress[0]');
    expect(said(tableOf([policy('a', 1, 'Accept'), policy('b', 0, 'Deny')]), 'client')).toBe(
      'deny: -/b ingress[0]',
    );
    expect(said(tableOf([policy('a', 1, 'Accept', 'Deny')]), 'client')).toBe('allow: -/a ingress[0]');
    // A priority comes before every index of the next one.
    const many = policy('many', 5, ...Array(99).fill('Pass'), 'Accept');
    const table = tableOf([many, policy('next', 6, 'Deny')]);
    expect(decision(table, 'client').entry).toBeUndefined();
    const precedences = table.entries
      .filter(({ subject }) => subject === WEB)
      .map(({ precedence }) => precedence);
    expect(Math.min(...precedences)).toBeGreaterThan(0);
  },
);

test('every rule of a priority comes before every rule of the next, and host access before them all', () => {
  const of = (priority: number, count: number) =>
    compile({
      node: { labels: {}, hostAccess: 'full' },
      networks: [network(1, 'full')],
      namespaces: [],
      identities: IDENTITIES.slice(0, 1),
      policies: [
        clusterPolicy('p', {
          priority,
          ingress: Array.from({ length: count }, (_, index) => ({
            action: 'Deny',
            from: ALL,
            protocols: [{ tcp: { destinationPort: { number: index + 1 } } }],
          })),
        }),
      ],
    }).entries;
  const [precedences, next] = [of(0, 100), of(1, 1)].map((entries) =>
    entries.filter(({ rule }) => rule.kind === 'policy').map(({ precedence }) => precedence),
  );
  expect(new Set(precedences).size).toBe(100);
  expect(Math.min(...(precedences ?? []))).toBeGreaterThan(Math.max(...(next ?? [])));
  const host = of(0, 1).find(({ rule }) => rule.kind === 'host-access')?.precedence ?? 0;
  expect(host).toBeGreaterThan(Math.max(...(precedences ?? [])));
});

test('of rules of one priority and index deny beats pass and pass beats allow, and the first by name is named', () => {
  const one = (name: string, action: string) => clusterPolicy(name, { ingress: [{ action, from: ALL }] });
  const [accept, pass, deny] = [one('a', 'Accept'), one('b', 'Pass'), one('c', 'Deny')];
  for (const policies of [
    [accept, pass, deny],
    [deny, pass, accept],
  ]) {
    expect(said(tableOf(policies), 'client')).toBe('deny: -/c ingress[0]');
  }
  expect(said(tableOf([accept, pass]), 'client')).toBe('deny: default true');
  for (const policies of [
    [accept, one('d', 'Accept')],
    [one('d', 'Accept'), accept],
  ]) {
    expect(said(tableOf(policies), 'client')).toBe('allow: -/a ingress[0]');
  }
  // The same where the rules have different keys.
  const byPod = clusterPolicy('z', { ingress: [{ action: 'Deny', from: [CLIENTS] }] });
  expect(said(tableOf([accept, byPod]), 'client')).toBe('deny: -/z ingress[0]');
});

test('host access full lets the node reach its containers whatever policies say, and nothing more', () => {
  const node = { labels: {}, hostAccess: 'full' } as const;
  const closed = [clusterPolicy('deny', { priority: 0, ...DENY }), CLOSED];
  const table = tableOf(closed, { node });
  expect(said(table, 'host')).toBe('allow: host access');
  expect(said(table, 'host', { protocol: 1, port: 0 })).toBe('allow: host access');
  expect(allowed(table)).toEqual(['host']);
  expect(allowed(table, { direction: 'egress' })).toEqual([]);
  expect(allowed(tableOf(closed, { node: { ...node, hostAccess: 'policy' } }))).toEqual([]);
  expect(allowed(tableOf(closed))).toEqual([]);
});

test('rules with audit never count in the enforced decision; the audited one takes both sets together', () => {
  const audited = clusterPolicy('audited', { priority: 0, ...DENY }, { audit: true });
  const enforced = clusterPolicy('enforced', { priority: 1, ...ACCEPT });
  const table = tableOf([audited, enforced]);
  expect(said(table, 'client')).toBe('allow: -/enforced ingress[0]');
  expect(said(table, 'client', { audit: true })).toBe('deny: -/audited ingress[0]');
  // One of lower precedence changes nothing there either.
  const weak = clusterPolicy('audited', { priority: 2, ...DENY }, { audit: true });
  expect(said(tableOf([weak, enforced]), 'client', { audit: true })).toBe('allow: -/enforced ingress[0]');
});

test('a subject is isolated in the audited decision by enforced and by audited policies', () => {
  const closed = networkPolicy('closed', SELECT_WEB, { audit: true });
  const table = tableOf([closed], { mode: 'none' });
  expect(said(table, 'client')).toBe('allow: isolation none of network n1');
  expect(said(table, 'client', { audit: true })).toBe('deny: network-policy true');
  expect(table.subject(WEB)?.audited.isolated).toEqual({ egress: false, ingress: true });
  expect(table.subject(WEB)?.enforced.isolated).toEqual({ egress: false, ingress: false });
  const enforced = tableOf([CLOSED], { mode: 'none' });
  expect(said(enforced, 'client', { audit: true })).toBe('deny: network-policy true');
  expect(enforced.subject(WEB)?.audited.isolated).toEqual({ egress: false, ingress: false });
  // An audited rule opens what an enforced policy closes, in the audited decision alone.
  const open = tableOf([CLOSED, networkPolicy('open', { ...SELECT_WEB, ingress: [{}] }, { audit: true })]);
  expect(said(open, 'client')).toBe('deny: network-policy true');
  expect(said(open, 'client', { audit: true })).toBe('allow: default/open ingress[0]');
});

test('a policy that is no longer audited is enforced, and the reverse', () => {
  const engine = new PolicyEngine();
  engine.upsertNetwork(network(1, 'none'));
  for (const one of IDENTITIES) engine.upsertIdentity(one);
  const table = new RuleTable();
  const isDenied = (audit: boolean) => {
    engine.upsertPolicy(networkPolicy('closed', SELECT_WEB, { audit }));
    table.apply(engine.takeDelta());
    return decision(table, 'client').verdict === 'deny';
  };
  expect([isDenied(true), isDenied(false), isDenied(true)]).toEqual([false, true, false]);
});

function ingressFrom(peer: object, name = 'p'): Policy {
  return networkPolicy(name, { ...SELECT_WEB, ingress: [{ from: [peer] }] });
}

test('a range means whoever has an address of it: the world, the host, and containers', () => {
  expect(allowed(tableOf([ingressFrom({ ipBlock: { cidr: '0.0.0.0/0' } })]))).toEqual(EVERYBODY);
  expect(allowed(tableOf([ingressFrom({ ipBlock: { cidr: '198.18.0.0/24' } })]))).toEqual([
    'web',
    'client',
    'prod',
    'host',
  ]);
  expect(allowed(tableOf([ingressFrom({ ipBlock: { cidr: '203.0.113.7/32' } })]))).toEqual(['world']);
  expect(allowed(tableOf([ingressFrom({ ipBlock: { cidr: '::/0' } })]))).toEqual([]);
});

test('what a range excepts it does not mean, whatever narrower or wider ranges other rules name', () => {
  const ipBlock = { cidr: '198.18.0.0/24', except: ['198.18.0.0/30'] };
  expect(allowed(tableOf([ingressFrom({ ipBlock })]))).toEqual(['prod']);
  // Another rule's range inside the exception is that rule's alone.
  const client = ingressFrom({ ipBlock: { cidr: '198.18.0.3/32' } }, 'q');
  const both = tableOf([ingressFrom({ ipBlock }), client]);
  expect(allowed(both)).toEqual(['client', 'prod']);
  expect(said(both, 'client')).toBe('allow: default/q ingress[0]');
  // Inside both, the wider rule applies to the narrower range too.
  const narrow = ingressFrom({ ipBlock: { cidr: '198.18.0.4/32' } }, 'z');
  expect(said(tableOf([ingressFrom({ ipBlock }), narrow]), 'prod')).toBe('allow: default/p ingress[0]');
});

test('a denied range inside an accepted one is denied, and the reverse by precedence', () => {
  const to = (...actions: [string, string][]) =>
    clusterPolicy('c', { egress: actions.map(([action, cidr]) => ({ action, to: [{ networks: [cidr] }] })) });
  const egress = { direction: 'egress' } as const;
  const denied = tableOf([to(['Deny', '198.18.0.0/24'], ['Accept', '0.0.0.0/0'])]);
  expect(allowed(denied, egress)).toEqual(['world']);
  const accepted = tableOf([to(['Accept', '0.0.0.0/0'], ['Deny', '198.18.0.0/24'])]);
  expect(allowed(accepted, egress)).toEqual(EVERYBODY);
});

test('a rule about the identity and a rule about its address compete by precedence', () => {
  const policy = clusterPolicy('c', {
    egress: [
      { action: 'Accept', to: [CLIENTS] },
      { action: 'Deny', to: [{ networks: ['198.18.0.0/24'] }] },
    ],
  });
  expect(allowed(tableOf([policy]), { direction: 'egress' })).toEqual(['client', 'prod']);
});

test('all ranges that rules of a subject and direction name are told, audited ones and exceptions included', () => {
  const spec = {
    ...SELECT_WEB,
    ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] } }] }],
  };
  const audited = networkPolicy(
    'audited',
    { ...SELECT_WEB, ingress: [{ from: [{ ipBlock: { cidr: '10.1.1.0/24' } }] }] },
    { audit: true },
  );
  const table = tableOf([networkPolicy('p', spec), audited]);
  expect(table.cidrs).toEqual(
    ['10.0.0.0/8', '10.1.0.0/16', '10.1.1.0/24'].map((cidr) => ({
      subject: WEB,
      direction: 'ingress',
      cidr,
    })),
  );
  const inside = { kind: 'world', address: '10.1.1.1' } as const;
  expect(decision(table, inside).verdict).toBe('deny');
  expect(said(table, inside, { audit: true })).toBe('allow: default/audited ingress[0]');
  expect(said(table, { kind: 'world', address: '10.2.0.1' })).toBe('allow: default/p ingress[0]');
});

function ingressTo(...ports: object[]): Policy {
  return networkPolicy('p', { ...SELECT_WEB, ingress: [{ ports }] });
}

test('a named port of a NetworkPolicy is what the destination calls so in the protocol given, TCP by default', () => {
  const names = ['web'];
  const tcp = tableOf([ingressTo({ port: 'web' })]);
  expect(decision(tcp, 'client', { names }).verdict).toBe('allow');
  expect(decision(tcp, 'client').verdict).toBe('deny');
  expect(decision(tcp, 'client', { names: ['other'] }).verdict).toBe('deny');
  expect(decision(tcp, 'client', { names, protocol: 17 }).verdict).toBe('deny');
  const udp = tableOf([ingressTo({ port: 'web', protocol: 'UDP' })]);
  expect(decision(udp, 'client', { names, protocol: 17 }).verdict).toBe('allow');
  expect(decision(udp, 'client', { names }).verdict).toBe('deny');
});

test('a named port of a ClusterNetworkPolicy is one in TCP, UDP and SCTP', () => {
  const table = tableOf([
    clusterPolicy('c', {
      ingress: [{ action: 'Accept', from: ALL, protocols: [{ destinationNamedPort: 'web' }] }],
    }),
  ]);
  for (const protocol of [6, 17, 132]) {
    expect(decision(table, 'client', { protocol, names: ['web'] }).verdict).toBe('allow');
    expect(decision(table, 'client', { protocol }).verdict).toBe('deny');
  }
});

test('protocols of a ClusterNetworkPolicy are a number, a range, or every port of one', () => {
  const table = tableOf([
    clusterPolicy('c', {
      ingress: [
        {
          action: 'Accept',
          from: ALL,
          protocols: [
            { tcp: { destinationPort: { number: 80 } } },
            { udp: { destinationPort: { range: { start: 1000, end: 2000 } } } },
            { sctp: { destinationPort: { range: { start: 1, end: 65535 } } } },
          ],
        },
      ],
    }),
  ]);
  const verdict = (protocol: number, port: number) => decision(table, 'client', { protocol, port }).verdict;
  expect([verdict(6, 80), verdict(6, 81)]).toEqual(['allow', 'deny']);
  expect([999, 1000, 2000, 2001].map((port) => verdict(17, port))).toEqual([
    'deny',
    'allow',
    'allow',
    'deny',
  ]);
  expect([verdict(132, 1), verdict(132, 65535), verdict(1, 0)]).toEqual(['allow', 'allow', 'deny']);
});

test('rules without ports or protocols match every protocol, ICMP included', () => {
  for (const policy of [ingressFrom(PODS_OF_CLIENT), clusterPolicy('c', ACCEPT)]) {
    for (const protocol of [1, 6, 17, 58, 132]) {
      expect(decision(tableOf([policy]), 'client', { protocol, port: 0 }).verdict).toBe('allow');
    }
  }
});

test('nodes mean the node itself when its labels match', () => {
  const nodes = clusterPolicy('c', {
    egress: [{ action: 'Accept', to: [{ nodes: { matchLabels: { zone: 'a' } } }] }],
  });
  const of = (zone: string) => tableOf([nodes], { node: { labels: { zone }, hostAccess: 'policy' } });
  const egress = { direction: 'egress' } as const;
  expect(allowed(of('a'), egress)).toEqual(['host']);
  expect(allowed(of('b'), egress)).toEqual([]);
  expect(allowed(tableOf([nodes]), egress)).toEqual([]);
});

test('namespaces {} means every endpoint, but neither the host nor the world', () => {
  expect(allowed(tableOf([clusterPolicy('c', ACCEPT)]))).toEqual(['web', 'client', 'prod']);
});

test('peers of one rule are taken together, whatever their kinds', () => {
  const policy = clusterPolicy('c', {
    egress: [{ action: 'Accept', to: [PROD_PODS, { networks: ['203.0.113.0/24'] }, { nodes: {} }] }],
  });
  expect(allowed(tableOf([policy]), { direction: 'egress' })).toEqual(['prod', 'host', 'world']);
});

test.each([
  ['namespaces', { namespaces: { matchLabels: { team: 'x' } } }, [PROD], []],
  [
    'pods',
    {
      pods: {
        namespaceSelector: { matchExpressions: [{ key: 'team', operator: 'Exists' }] },
        ...PODS_OF_CLIENT,
      },
    },
    [PROD],
    [],
  ],
  ['every namespace', { namespaces: {} }, [WEB, CLIENT, PROD], [WEB, CLIENT, PROD]],
] as const)(
  'subjects by %s come and go with identities and with labels of namespaces',
  (_kind, subject, selected, selectedWithoutLabels) => {
    const engine = new PolicyEngine();
    engine.upsertNetwork(network(1, 'full'));
    engine.upsertPolicy(clusterPolicy('c', { subject, ...ACCEPT }));
    engine.setNamespace({ name: 'prod', labels: { team: 'x' } });
    for (const one of IDENTITIES) engine.upsertIdentity(one);
    const subjects = () => [...new Set(engine.snapshot().entries.map((entry) => entry.subject))].sort();
    expect(subjects()).toEqual(selected);
    engine.removeNamespace('prod');
    expect(subjects()).toEqual(selectedWithoutLabels);
    engine.setNamespace({ name: 'prod', labels: { team: 'x' } });
    engine.removeIdentity(PROD);
    expect(subjects()).toEqual(selected.filter((id) => id !== PROD));
    engine.upsertIdentity(identity(PROD, 1, 'prod', 'client'));
    expect(subjects()).toEqual(selected);
    engine.removePolicy({ namespace: '-', name: 'c' });
    expect(subjects()).toEqual([]);
  },
);

test('selectedBy names the NetworkPolicies that isolate, the audited ones only when asked', () => {
  const engine = new PolicyEngine();
  engine.upsertNetwork(network(1, 'full'));
  engine.upsertIdentity(identity(WEB, 1, 'default', 'web'));
  engine.upsertPolicy(CLOSED);
  engine.upsertPolicy(networkPolicy('audited', SELECT_WEB, { audit: true }));
  engine.upsertPolicy(clusterPolicy('c', DENY));
  const names = (direction: Direction, audit: boolean) =>
    engine.inForce.selectedBy(WEB, direction, { audit }).map(({ name }) => name);
  expect(names('ingress', false)).toEqual(['closed']);
  expect(names('ingress', true)).toEqual(['audited', 'closed']);
  expect(names('egress', true)).toEqual([]);
});

test('rulesOf is the part of the whole that is about one identity', () => {
  const engine = new PolicyEngine({ node: { labels: {}, hostAccess: 'full' } });
  engine.upsertNetwork(network(1, 'peer'));
  for (const one of IDENTITIES) engine.upsertIdentity(one);
  engine.upsertPolicy(ingressFrom({ ipBlock: { cidr: '10.0.0.0/8' } }));
  engine.upsertPolicy(clusterPolicy('c', ACCEPT));
  const whole = engine.snapshot();
  expect(engine.rulesOf(WEB)).toEqual({
    entries: whole.entries.filter(({ subject }) => subject === WEB),
    subjects: whole.subjects.filter(({ identity: id }) => id === WEB),
    cidrs: whole.cidrs.filter(({ subject }) => subject === WEB),
  });
  expect(engine.rulesOf(WEB).cidrs).toHaveLength(1);
  expect(engine.rulesOf(999)).toEqual({ entries: [], subjects: [], cidrs: [] });
});

test('a rule that changes in its place tells its own entries and no others', () => {
  const engine = new PolicyEngine();
  engine.upsertNetwork(network(1, 'full'));
  for (const one of IDENTITIES) engine.upsertIdentity(one);
  const rules = (port: number) => ({
    ...SELECT_WEB,
    ingress: [
      { from: [PODS_OF_CLIENT] },
      { ports: [{ port }] },
      { from: [{ ipBlock: { cidr: '10.0.0.0/8' } }] },
    ],
  });
  engine.upsertPolicy(networkPolicy('p', rules(80)));
  engine.takeDelta();
  engine.upsertPolicy(networkPolicy('p', rules(81)));
  const delta = engine.takeDelta();
  const text = ({ port, rule }: RuleEntry) => `${port} ${formatRuleRef(rule)}`;
  expect(delta.set.map(text)).toEqual(['81 default/p ingress[1]']);
  expect(delta.delete.map(({ port }) => port)).toEqual([80]);
  expect([delta.subjects, delta.cidrs]).toEqual([
    { set: [], delete: [] },
    { set: [], delete: [] },
  ]);
});

test('ranges count towards the bound on size, also those that no rule applies to', () => {
  const except = Array.from({ length: 30 }, (_, index) => `10.${index}.0.0/16`);
  const policy = ingressFrom({ ipBlock: { cidr: '10.0.0.0/8', except } });
  const sizeWith = (maxSize: number) => {
    const engine = new PolicyEngine({ maxSize });
    engine.upsertNetwork(network(1, 'full'));
    engine.upsertIdentity(identity(WEB, 1, 'default', 'web'));
    engine.upsertPolicy(policy);
    return engine.size;
  };
  // An entry for the one range that the rule applies to.
  expect(sizeWith(32)).toBe(32);
  expect(() => sizeWith(31)).toThrow(AppError);
});
