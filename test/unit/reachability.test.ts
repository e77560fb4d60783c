/** What is asked of a few peers costs those alone, and is answered as the whole of the rules would. */
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { PolicyEngine } from '../../src/firewall/engine.js';
import { tableAbout } from '../../src/firewall/excerpt.js';
import { decide, type PacketPeer, RuleTable } from '../../src/firewall/lookup.js';
import { notOutside, outsiders } from '../../src/firewall/outsiders.js';
import { SubjectView } from '../../src/firewall/subject-view.js';
import {
  type Address,
  type Cidr,
  cidrContains,
  formatAddress,
  lastAddress,
  parseCidr,
} from '../../src/model/address.js';
import type { Endpoint } from '../../src/model/endpoint.js';
import { PROTOCOL_NUMBERS, type Protocol } from '../../src/model/names.js';
import { parsePolicy } from '../../src/model/policy.js';
import { Answers } from '../../src/vnet/policy/answers.js';
import { Reachability, type Target } from '../../src/vnet/policy/reachability.js';
import type { Steps } from '../../src/work/steps.js';
import { type Populated, populated } from '../support/policy-arbitraries.js';
import { drawFlows, sideOf } from '../support/policy-flows.js';
import type { OraclePacket } from '../support/policy-oracle.js';

afterEach(() => {
  vi.restoreAllMocks();
});

const seed = fc.noShrink(fc.integer());

function engineOf({ node, networks, namespaces, identities, policies }: Populated): PolicyEngine {
  const engine = new PolicyEngine({ node });
  for (const network of networks) engine.upsertNetwork(network);
  for (const namespace of namespaces) engine.setNamespace(namespace);
  for (const identity of identities) engine.upsertIdentity(identity);
  for (const policy of policies) engine.upsertPolicy(parsePolicy(policy));
  return engine;
}

function peerOf({ peer, peerAddress: address }: OraclePacket): PacketPeer {
  if (typeof peer === 'string') return { kind: peer, address };
  const { id, network_id } = peer.identity;
  return { kind: 'identity', id, network_id, address };
}

it('a packet is judged by the rules about its peer as by all of them', () => {
  let decided = 0;
  fc.assert(
    fc.property(populated, seed, (world, drawn) => {
      const engine = engineOf(world);
      const whole = RuleTable.from(engine.snapshot());
      for (const flow of drawFlows(world, drawn, 40)) {
        for (const direction of ['egress', 'ingress'] as const) {
          const side = sideOf(flow, direction);
          if (side === undefined) continue;
          const subject = side.subject.identity.id;
          const peer = peerOf(side);
          const { protocol, port } = side;
          const packet = { subject, direction, peer, protocol, port };
          const part = tableAbout(engine.inForce.view(subject), direction, peer);
          for (const audit of [false, true]) {
            const wanted = decide(whole, packet, { audit });
            expect(decide(part, packet, { audit })).toEqual(wanted);
            if (wanted.entry !== undefined) decided += 1;
          }
        }
      }
    }),
    { numRuns: 60 },
  );
  expect(decided).toBeGreaterThan(100);
});

it('who has no rules is judged by none', () => {
  const peer: PacketPeer = { kind: 'world', address: '192.0.2.1' };
  const table = tableAbout(undefined, 'ingress', peer);
  const packet = { subject: 256, direction: 'ingress', peer, protocol: 6, port: 80 } as const;
  expect(decide(table, packet, { audit: false })).toEqual({ verdict: 'deny', isDefaultDeny: false });
});

const cidrs = (...texts: string[]) => texts.map((text) => parseCidr(text));
/** Two networks, as the arbitrary worlds have them, and a part of a range that rules there name. */
const INSIDE = cidrs('10.1.0.0/16', '10.2.0.0/16', 'fd00:1::/64', '198.51.100.0/25');
/** Nobody sends a packet from there. */
const NOBODYS = cidrs(
  ...['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/4', '255.255.255.255/32'],
  ...['::/128', '::1/128', 'ff00::/8'],
);

/** One of every kind of address: where ranges begin, and behind their ends. */
function addressesOf(ranges: readonly Cidr[]): Address[] {
  const firsts: Address[] = ranges.flatMap((range) => {
    const { family, value } = lastAddress(range);
    return [
      { family, value: range.base },
      { family, value: value + 1n },
    ];
  });
  return firsts.filter(({ family, value }) => value < 1n << (family === 4 ? 32n : 128n));
}

/** As its definition says: somebody with an address that nobody inside has is let in. */
function isReachable(engine: PolicyEngine, identity: number, protocol: Protocol, port: number): boolean {
  const rules = engine.rulesOf(identity);
  const table = RuleTable.from(rules);
  const taken = [...INSIDE, ...NOBODYS];
  const named = rules.cidrs.map(({ cidr }) => parseCidr(cidr));
  return addressesOf([...named, ...taken, ...cidrs('0.0.0.0/0', '::/0')])
    .filter((address) => !taken.some((cidr) => cidrContains(cidr, address)))
    .some((address) => {
      const peer: PacketPeer = { kind: 'world', address: formatAddress(address) };
      const number = PROTOCOL_NUMBERS[protocol];
      const packet = { subject: identity, direction: 'ingress', peer, protocol: number, port } as const;
      return decide(table, packet, { audit: false }).verdict === 'allow';
    });
}

const OWN = { ip_address: '10.1.0.2', ip6_address: 'fd00:1::2' };
const targetOf = (identity: number, protocol: Protocol, port: number, own: object = OWN): Target => ({
  endpoint: { identity, network_id: 1, ports: [], ...own } as unknown as Endpoint,
  ...{ protocol, port },
});

it('somebody outside reaches a port when rules let in an address that nobody inside has', async () => {
  const seen = { true: 0, false: 0 };
  await fc.assert(
    fc.asyncProperty(populated, async (world) => {
      const engine = engineOf(world);
      const targets = world.identities.flatMap(({ id }) =>
        (['TCP', 'UDP'] as const).flatMap((protocol) =>
          [80, 443, 32768].map((port) => targetOf(id, protocol, port)),
        ),
      );
      const reached = await new Reachability(engine.inForce, () => INSIDE).among(targets);
      for (const target of targets) {
        const { endpoint, protocol, port } = target;
        const { identity } = endpoint;
        const wanted = isReachable(engine, identity, protocol, port);
        expect([identity, protocol, port, reached.has(target)]).toEqual([identity, protocol, port, wanted]);
        seen[`${wanted}`] += 1;
      }
    }),
    { numRuns: 100 },
  );
  expect(Math.min(seen.true, seen.false)).toBeGreaterThan(50);
});

/** One container, and what its policies let in: from which blocks, and to which ports. */
function engineWith(
  ...rules: { from: { cidr: string; except?: string[] }[]; ports?: { port: number }[] }[]
): PolicyEngine {
  const engine = new PolicyEngine();
  engine.upsertNetwork({ id: 1, name: 'n', isolation_mode: 'full', peers: [] });
  engine.upsertIdentity({ id: 256, network_id: 1, namespace: 'default', labels: {} });
  const ingress = rules.map(({ from, ...rule }) => ({
    from: from.map((ipBlock) => ({ ipBlock })),
    ...rule,
  }));
  engine.upsertPolicy(
    parsePolicy({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'p' },
      spec: { podSelector: {}, ingress },
    }),
  );
  return engine;
}

async function isReached(engine: PolicyEngine, inside: string[] = [], own?: object): Promise<boolean> {
  const target = targetOf(256, 'TCP', 80, own);
  return (await new Reachability(engine.inForce, () => cidrs(...inside)).among([target])).has(target);
}

const ports = [{ port: 80 }];
const others = [{ port: 443 }];

it.each([
  ['203.0.113.0/24', '203.0.113.0/32'],
  ['2001:db8:1::/48', '2001:db8:1::/128'],
])('of %s somebody comes in also where other rules name its first address', async (cidr, first) => {
  expect(
    await isReached(engineWith({ from: [{ cidr }], ports }, { from: [{ cidr: first }], ports: others })),
  ).toBe(true);
  expect(await isReached(engineWith({ from: [{ cidr, except: [first] }], ports }))).toBe(true);
  expect(await isReached(engineWith({ from: [{ cidr }], ports }), [first])).toBe(true);
});

it.each([
  ['203.0.113.0/24', '203.0.113.0/25', '203.0.113.128/25'],
  ['::/0', '::/1', '8000::/1'],
  // The last two parts of it are others: addresses of IPv4, which no packet of IPv6 has.
  ['::/80', '::/81', '::8000:0:0/82', '::c000:0:0/83', '::e000:0:0/84', '::f000:0:0/85', '::f800:0:0/86']
    .concat(['::fc00:0:0/87', '::fe00:0:0/88', '::ff00:0:0/89', '::ff80:0:0/90', '::ffc0:0:0/91'])
    .concat(['::ffe0:0:0/92', '::fff0:0:0/93', '::fff8:0:0/94', '::fffc:0:0/95', '::fffe:0:0/96']),
])('of %s nobody comes in where it is all exceptions, or inside', async (cidr, ...parts) => {
  expect(await isReached(engineWith({ from: [{ cidr, except: parts }], ports }))).toBe(false);
  expect(await isReached(engineWith({ from: [{ cidr }], ports }), parts)).toBe(false);
  expect(await isReached(engineWith({ from: [{ cidr, except: parts.slice(1) }], ports }))).toBe(true);
});

it('nobody comes in by rules about addresses that no packet has', async () => {
  const from = [{ cidr: '127.0.0.0/8' }, { cidr: '0.0.0.0/8' }, { cidr: '224.0.0.0/4' }, { cidr: '::1/128' }];
  expect(await isReached(engineWith({ from, ports }))).toBe(false);
  expect(await isReached(engineWith({ from: [...from, { cidr: '126.0.0.0/7' }], ports }))).toBe(true);
});

it('of a family that the container has no address of nobody reaches it', async () => {
  const engine = engineWith({ from: [{ cidr: '2001:db8:1::/48' }] });
  const { ip_address } = OWN;
  expect([await isReached(engine, [], { ip_address }), await isReached(engine, [])]).toEqual([false, true]);
});

it('all of whom rules say the same, be it in many rules, are looked at once', () => {
  const from = (rule: number) => [...Array(100).keys()].map((part) => ({ cidr: `100.${rule}.${part}.0/24` }));
  const rules = [...Array(50).keys()].map((rule) => ({
    from: from(rule),
    ports: rule % 2 === 0 ? ports : others,
  }));
  const view = engineWith(...rules).inForce.view(256);
  const cells = view && vi.spyOn(view, 'cell');
  const steps = outsiders(view as SubjectView, notOutside([]));
  let [ofOneStep, step] = [0, steps.next()];
  for (; step.done !== true; step = steps.next()) {
    ofOneStep = Math.max(ofOneStep, cells?.mock.calls.length ?? 0);
    cells?.mockClear();
  }
  // Anybody by IPv4 and by IPv6, and two sets of ports.
  expect(step.value.all).toHaveLength(4);
  expect(ofOneStep).toBeLessThan(1000);
});

describe('who asks again', () => {
  const block = fc.constantFrom<{ cidr: string; except?: string[] }>(
    { cidr: '203.0.113.0/24' },
    { cidr: '203.0.113.0/24', except: ['203.0.113.0/25'] },
    { cidr: '203.0.113.0/32' },
    { cidr: '198.51.100.0/25' },
    { cidr: '10.0.0.0/8', except: ['10.3.0.0/16'] },
    { cidr: '2001:db8::/32' },
  );
  const rule = fc.record({
    from: fc.array(
      block.map((ipBlock) => ({ ipBlock })),
      { maxLength: 2 },
    ),
    ports: fc.constantFrom([], ports, others),
  });
  /** Of one of three policies, or of who somebody is, or of what is inside. */
  const change = fc.record({
    kind: fc.constantFrom('upsert', 'upsert', 'remove', 'identity', 'inside'),
    name: fc.constantFrom('p0', 'p1', 'p2'),
    app: fc.constantFrom('a', 'b'),
    ingress: fc.array(rule, { maxLength: 2 }),
  });

  it('is told the same as who asks first, whatever has changed meanwhile, also amid a change', async () => {
    let different = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('full', 'none'),
        fc.array(change, { minLength: 4, maxLength: 10 }),
        async (isolation_mode, changes) => {
          const engine = new PolicyEngine();
          engine.upsertNetwork({ id: 1, name: 'n', isolation_mode, peers: [] });
          const identities = [256, 257];
          const who = (id: number, app: string) => ({
            id,
            network_id: 1,
            namespace: 'default',
            labels: { app },
          });
          for (const id of identities) engine.upsertIdentity(who(id, 'a'));
          let inside: Cidr[] = INSIDE;
          const again = new Reachability(engine.inForce, () => inside);
          const targets = identities.flatMap((id) => [80, 443].map((port) => targetOf(id, 'TCP', port)));
          const answers = new Set<string>();
          const check = async () => {
            const told = await again.among(targets);
            expect(told).toEqual(await new Reachability(engine.inForce, () => inside).among(targets));
            answers.add(targets.map((target) => told.has(target)).join());
          };
          const stepsOf = ({ kind, name, app, ingress }: (typeof changes)[number]): Steps | undefined => {
            switch (kind) {
              case 'identity':
                return engine.upsertingIdentity(who(257, app));
              case 'remove':
                return engine.removingPolicy({ namespace: 'default', name });
              case 'upsert':
                return engine.upsertingPolicy(
                  parsePolicy({
                    apiVersion: 'networking.k8s.io/v1',
                    kind: 'NetworkPolicy',
                    metadata: { name },
                    spec: { podSelector: { matchLabels: { app } }, policyTypes: ['Ingress'], ingress },
                  }),
                );
              default:
                inside = inside === INSIDE ? [...INSIDE, ...cidrs('203.0.113.0/24')] : INSIDE;
                return undefined;
            }
          };
          await check();
          for (const one of changes) {
            {
              using _ = engine.hold();
              const steps = stepsOf(one);
              for (let step = 0; steps !== undefined && steps.next().done !== true; step += 1) {
                if (step % 3 === 1) await check();
              }
            }
            await check();
          }
          if (answers.size > 2) different += 1;
        },
      ),
      { numRuns: 200 },
    );
    expect(different).toBeGreaterThan(20);
  });

  it('costs nothing anew, be it at the same time, until something changes', async () => {
    const engine = engineWith({ from: [{ cidr: '203.0.113.0/24' }], ports });
    const reachability = new Reachability(engine.inForce, () => INSIDE);
    const looks = vi.spyOn(SubjectView.prototype, 'ranges');
    const target = targetOf(256, 'TCP', 80);
    const ask = async () => (await reachability.among([target])).has(target);
    expect(await Promise.all([ask(), ask(), ask()])).toEqual([true, true, true]);
    expect(await ask()).toBe(true);
    expect(looks).toHaveBeenCalledTimes(1);
    engine.upsertIdentity({ id: 257, network_id: 1, namespace: 'default', labels: { app: 'other' } });
    expect(await ask()).toBe(true);
    expect(looks).toHaveBeenCalledTimes(1);
    engine.removePolicy({ namespace: 'default', name: 'p' });
    expect(await ask()).toBe(false);
    expect(looks).toHaveBeenCalledTimes(2);
  });

  it('pays for what is inside once, and not for each container', async () => {
    const engine = engineWith({ from: [{ cidr: '203.0.113.0/24' }], ports });
    for (const id of [257, 258, 259])
      engine.upsertIdentity({ id, network_id: 1, namespace: 'default', labels: {} });
    let reads = 0;
    const inside = [...Array(200).keys()].map((part): Cidr => {
      const { family, prefixLength, base } = parseCidr(`10.9.${part}.0/24`);
      const read = () => {
        reads += 1;
        return base;
      };
      return Object.defineProperty({ family, prefixLength, base }, 'base', { get: read });
    });
    const reachability = new Reachability(engine.inForce, () => inside);
    const ask = (...ids: number[]) => reachability.among(ids.map((id) => targetOf(id, 'TCP', 80)));
    expect((await ask(256)).size).toBe(1);
    const once = reads;
    expect(once).toBeGreaterThan(200);
    expect((await ask(257, 258, 259)).size).toBe(3);
    expect(reads).toBe(once);
  });

  it('is asked anew about whom more has been asked since than is remembered', () => {
    const answers = new Answers(3);
    const [one, other, third] = [256, 257, 258].map((id) => ({ id, version: {} }));
    if (one === undefined || other === undefined || third === undefined) throw new Error('not there');
    answers.set(one, 'a', true);
    answers.set(one, 'b', false);
    answers.set(other, 'a', true);
    answers.set(other, 'a', true);
    expect([one, one, other].map((who, at) => answers.get(who, at === 1 ? 'b' : 'a'))).toEqual([
      true,
      false,
      true,
    ]);
    answers.set(third, 'a', true);
    expect([one, other, third].map((who) => answers.get(who, 'a'))).toEqual([undefined, true, true]);
    const changed = { ...other, version: {} };
    expect(answers.get(changed, 'a')).toBeUndefined();
    answers.set(changed, 'b', true);
    expect([answers.get(other, 'a'), answers.get(changed, 'b'), answers.get(third, 'a')]).toEqual([
      undefined,
      true,
      true,
    ]);
    for (const question of ['a', 'c', 'd', 'e']) answers.set(changed, question, true);
    expect([answers.get(changed, 'a'), answers.get(third, 'a')]).toEqual([undefined, undefined]);
  });
});
