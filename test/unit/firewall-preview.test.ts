/** What a change of policies is said to change is exactly what judging every packet before and after would show. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PolicyEngine } from '../../src/firewall/engine.js';
import { type PacketPeer, RuleTable } from '../../src/firewall/lookup.js';
import { previewChanges } from '../../src/firewall/preview.js';
import type { Preview, PreviewIdentity, PreviewParty } from '../../src/firewall/preview-types.js';
import { judgeSides, passes } from '../../src/firewall/sides.js';
import { cidrContains, parseAddress, parseCidr } from '../../src/model/address.js';
import { type Policy, parsePolicy, policyRef } from '../../src/model/policy.js';

const NETWORKS = [
  { id: 1, name: 'blue', isolation_mode: 'none', peers: [], range: '10.1.0.0/16' },
  { id: 2, name: 'red', isolation_mode: 'peer', peers: [], range: '10.2.0.0/16' },
] as const;
const HOST = ['10.1.0.1', '10.2.0.1'];

interface TestIdentity extends PreviewIdentity {
  labels: Record<string, string>;
}

const IDENTITIES: TestIdentity[] = [
  identity(300, 1, 'a', ['10.1.0.10', '10.1.0.200'], []),
  identity(301, 1, 'b', ['10.1.0.11'], [{ name: 'web', protocol: 6, port: 8080 }]),
  identity(302, 2, 'c', ['10.2.0.12'], [{ name: 'web', protocol: 6, port: 9090 }]),
  identity(303, 2, 'b', ['10.2.0.13', '10.2.0.250'], []),
];

function identity(
  id: number,
  network_id: number,
  app: string,
  addresses: string[],
  ports: PreviewIdentity['endpoints'][number]['ports'],
): TestIdentity {
  return { id, network_id, labels: { app }, endpoints: addresses.map((a) => ({ addresses: [a], ports })) };
}

function policy(name: string, spec: object, annotations = {}): Policy {
  const metadata = { name, namespace: 'default', annotations };
  return parsePolicy({ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata, spec });
}

function engineOf(policies: readonly Policy[]): PolicyEngine {
  const engine = new PolicyEngine();
  for (const network of NETWORKS) engine.upsertNetwork({ ...network, peers: [] });
  for (const { id, network_id, labels } of IDENTITIES) {
    engine.upsertIdentity({ id, network_id, namespace: 'default', labels });
  }
  for (const each of policies) engine.upsertPolicy(each);
  return engine;
}

const tables = (engine: PolicyEngine) =>
  new Map(IDENTITIES.map(({ id }) => [id, RuleTable.from(engine.rulesOf(id))]));

const NO_LIMITS = { decisions: 1e9, changes: 1e9 };

function preview(
  before: readonly Policy[],
  after: readonly Policy[],
  limits = NO_LIMITS,
  identities: readonly PreviewIdentity[] = IDENTITIES,
): Preview {
  const engine = engineOf(before);
  engine.takeDelta();
  const old = tables(engine);
  for (const each of before) engine.removePolicy(policyRef(each));
  for (const each of after) engine.upsertPolicy(each);
  const { set, delete: gone, subjects } = engine.takeDelta();
  const ids = [...set, ...gone].map(({ subject }) => subject);
  const affected = new Map(
    [...new Set([...ids, ...subjects.set.map((entry) => entry.identity)])].map((id) => [
      id,
      { before: old.get(id) as RuleTable, after: RuleTable.from(engine.rulesOf(id)) },
    ]),
  );
  const inside = [...NETWORKS.map(({ range }) => range), ...HOST.map((a) => `${a}/32`)];
  const run = previewChanges({
    identities,
    affected,
    tableOf: function* (id) {
      yield;
      return old.get(id) as RuleTable;
    },
    host: HOST,
    inside: inside.map((text) => parseCidr(text)),
    limits,
  });
  for (;;) {
    const { done, value } = run.next();
    if (done) return value;
  }
}

const ALL = { podSelector: {} };
const app = (name: string) => ({ podSelector: { matchLabels: { app: name } } });

/** A line for each change. */
function lines({ changes }: Preview): string[] {
  const who = (party: PreviewParty) => {
    if (party.kind === 'world') return ['world', party.range, party.except].flat().join(' ').trim();
    const name = party.kind === 'host' ? 'host' : String(party.id);
    return party.addresses === undefined ? name : `${name} ${party.addresses.join(',')}`;
  };
  return changes.map(
    ({ source, destination, protocol, ports, before, after }) =>
      `${who(source)} -> ${who(destination)} ${protocol}:${ports} ${before} ${after}`,
  );
}

describe('the preview of', () => {
  it('nothing is nothing', () => {
    const same = [policy('x', { ...app('a'), ingress: [{}] })];
    expect(preview(same, same)).toEqual({ changes: [], truncated: false });
  });

  it('a default deny names each pair once, with every protocol in one line', () => {
    const found = lines(preview([], [policy('deny', { ...app('a') })]));
    expect(found.sort()).toEqual(
      [
        '300 -> 300 0:any allowed denied',
        '301 -> 300 0:any allowed denied',
        'host -> 300 0:any allowed denied',
        'world -> 300 0:any allowed denied',
      ].sort(),
    );
  });

  it('ports is maximal ranges', () => {
    const ports = [{ port: 80 }, { port: 81 }, { port: 8000, endPort: 9000 }, { protocol: 'UDP' }];
    const found = lines(
      preview(
        [policy('p', app('a'))],
        [policy('p', { ...app('a'), ingress: [{ from: [app('b')], ports }] })],
      ),
    );
    expect(found.sort()).toEqual(
      [
        '301 -> 300 6:80-81 denied allowed',
        '301 -> 300 6:8000-9000 denied allowed',
        '301 -> 300 17:any denied allowed',
      ].sort(),
    );
  });

  it('a named port is the port that its endpoint calls so', () => {
    const ports = [{ port: 'web' }];
    const before = [policy('p', app('b'))];
    const found = lines(
      preview(before, [policy('p', { ...app('b'), ingress: [{ from: [app('a')], ports }] })]),
    );
    expect(found).toEqual(['300 -> 301 6:8080 denied allowed']);
  });

  it('ranges tells which addresses are meant, containers included', () => {
    const to = [
      { ipBlock: { cidr: '10.1.0.0/25' } },
      { ipBlock: { cidr: '198.51.100.0/24', except: ['198.51.100.0/28'] } },
    ];
    const spec = { ...app('c'), policyTypes: ['Egress'] };
    const found = lines(preview([policy('p', spec)], [policy('p', { ...spec, egress: [{ to }] })]));
    expect(found.sort()).toEqual(
      [
        '302 -> 300 10.1.0.10 0:any denied allowed',
        '302 -> 301 0:any denied allowed',
        '302 -> host 10.1.0.1 0:any denied allowed',
        '302 -> world 198.51.100.0/24 198.51.100.0/28 0:any denied allowed',
      ].sort(),
    );
  });

  it('an audited policy changes nothing', () => {
    const audited = policy('deny', ALL, { 'quantum.network/mode': 'audit' });
    expect(preview([], [audited])).toEqual({ changes: [], truncated: false });
  });

  it('more than was asked for is cut off, and says so', () => {
    const after = [policy('deny', { ...ALL, policyTypes: ['Ingress', 'Egress'] })];
    const all = preview([], after);
    expect(all.truncated).toBe(false);
    expect(preview([], after, { ...NO_LIMITS, changes: 3 })).toEqual({
      changes: all.changes.slice(0, 3),
      truncated: true,
    });
    expect(preview([], after, { ...NO_LIMITS, decisions: 10 }).truncated).toBe(true);
    expect(preview([], after, { ...NO_LIMITS, changes: all.changes.length })).toEqual(all);
  });
});

const PORTS = [
  { port: 80 },
  { port: 443, endPort: 450 },
  { port: 1, endPort: 65535 },
  { port: 65535 },
  { protocol: 'UDP' },
  { port: 'web' },
  { protocol: 'SCTP', port: 8080 },
];
const PEERS = [
  app('a'),
  app('b'),
  { podSelector: {} },
  { ipBlock: { cidr: '0.0.0.0/0' } },
  { ipBlock: { cidr: '0.0.0.0/0', except: ['10.1.0.0/24'] } },
  { ipBlock: { cidr: '10.0.0.0/8', except: ['10.2.0.128/25'] } },
  { ipBlock: { cidr: '10.2.0.240/28' } },
  { ipBlock: { cidr: '198.51.100.0/24' } },
];

const some = <T>(of: readonly T[]) => fc.uniqueArray(fc.constantFrom(...of), { maxLength: 2 });
const rules = (key: 'from' | 'to') =>
  fc.array(
    fc
      .record({ peers: some(PEERS), ports: some(PORTS) })
      .map(({ peers, ports }) => ({ [key]: peers, ports })),
    { maxLength: 2 },
  );
const anyPolicy = (name: string) =>
  fc
    .record({
      selector: fc.constantFrom(ALL, app('a'), app('b'), app('c')),
      types: fc.constantFrom(['Ingress'], ['Egress'], ['Ingress', 'Egress']),
      ingress: rules('from'),
      egress: rules('to'),
      audit: fc.constantFrom(false, false, true),
    })
    .map(({ selector, types, ingress, egress, audit }) =>
      policy(
        name,
        { ...selector, policyTypes: types, ingress, egress },
        audit ? { 'quantum.network/mode': 'audit' } : {},
      ),
    );
const policies = fc.tuple(
  fc.option(anyPolicy('one'), { nil: undefined }),
  fc.option(anyPolicy('two'), { nil: undefined }),
);

/** Every party that a packet may come from or go to, with what a change may say of it. */
const ENDS: {
  peer: PacketPeer;
  id: number | 'host' | 'world';
  names: PreviewIdentity['endpoints'][number]['ports'];
}[] = [
  ...IDENTITIES.flatMap(({ id, network_id, endpoints }) =>
    endpoints.map(({ addresses: [address = ''], ports }) => ({
      peer: { kind: 'identity' as const, id, network_id, address },
      id,
      names: ports,
    })),
  ),
  ...HOST.map((address) => ({ peer: { kind: 'host' as const, address }, id: 'host' as const, names: [] })),
  ...['198.51.100.7', '203.0.113.9', '10.9.9.9'].map((address) => ({
    peer: { kind: 'world' as const, address },
    id: 'world' as const,
    names: [],
  })),
];
const SAMPLES = [1, 79, 80, 81, 443, 450, 451, 8080, 8081, 9090, 65534, 65535];

it('any two sets of policies: what is told is what every packet shows', () => {
  fc.assert(
    fc.property(policies, policies, (left, right) => {
      const [before, after] = [left, right].map((set) => set.filter((each) => each !== undefined)) as [
        Policy[],
        Policy[],
      ];
      const { changes, truncated } = preview(before, after);
      expect(truncated).toBe(false);
      const [old, now] = [tables(engineOf(before)), tables(engineOf(after))];
      for (const source of ENDS) {
        for (const destination of ENDS) {
          if (typeof source.id === 'string' && typeof destination.id === 'string') continue;
          if (source === destination) continue;
          for (const protocol of [6, 17, 132, 1]) {
            for (const port of protocol === 1 ? [0] : SAMPLES) {
              const names = destination.names
                .filter((entry) => entry.protocol === protocol && entry.port === port)
                .map(({ name }) => name);
              const flow = { source: source.peer, destination: destination.peer, protocol, port, names };
              const [was, is] = [old, now].map((set) =>
                passes(judgeSides((id) => set.get(id) as RuleTable, flow, { audit: false }))
                  ? 'allowed'
                  : 'denied',
              );
              const told = changes.filter(
                (change) =>
                  isMeant(change.source, source) &&
                  isMeant(change.destination, destination) &&
                  (change.protocol === 0 || change.protocol === protocol) &&
                  isIn(change.ports, port),
              );
              const expected = was === is ? [] : [`${was} ${is}`];
              expect(told.map((change) => `${change.before} ${change.after}`)).toEqual(expected);
            }
          }
        }
      }
    }),
    { numRuns: 25 },
  );
});

function isIn(ports: string, port: number): boolean {
  if (ports === 'any') return true;
  const [first = 0, last = first] = ports.split('-').map(Number);
  return port >= first && port <= last;
}

function isMeant(party: PreviewParty, end: (typeof ENDS)[number]): boolean {
  const { address } = end.peer as { address: string };
  if (party.kind === 'identity') {
    return party.id === end.id && (party.addresses?.includes(address) ?? true);
  }
  if (party.kind !== end.id) return false;
  if (party.kind === 'host') return party.addresses?.includes(address) ?? true;
  const isInside = (text: string) => cidrContains(parseCidr(text), parseAddress(address));
  return party.range === undefined || (isInside(party.range) && !(party.except ?? []).some(isInside));
}
