/** NetworkPolicy: what its selectors, peers and ports let through, in the words of the Kubernetes documentation. */
import { describe, expect, it } from 'vitest';
import type { EndpointRequestInput } from '../../src/model/endpoint.js';
import { FAMILIES, unlike, type Verdict } from '../support/containers.js';
import { useSite } from '../support/site.js';

const site = useSite();

const app = (name: string) => ({ podSelector: { matchLabels: { app: name } } });
const inNamespace = (team: string) => ({ namespaceSelector: { matchLabels: { team } } });

/** A container with the label `app`, in a namespace. */
function labelled(name: string, namespace = 'default', more: Partial<EndpointRequestInput> = {}) {
  return site().container(name, 'blue', { labels: { app: name.replace(/-.*/, '') }, namespace, ...more });
}

describe.each(FAMILIES)('NetworkPolicy, IPv%i:', (family) => {
  it('default-deny-all: a policy that selects everything and allows nothing stops both directions', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const [a, b, other] = [await labelled('a'), await labelled('b'), await labelled('c', 'prod')];
    await site().rest.apply({ name: 'deny', spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'] } });
    await site().host.serve('tcp:80', 'udp:53');
    const pairs = [
      [a, b],
      [b, a],
      [a, a.gateway(family)],
      [site().host, a],
      [a, other],
      [other, a],
    ] as const;
    expect(await unlike('blocked', family, ...pairs)).toEqual([]);
    // It is a policy of its namespace alone.
    expect(await unlike('open', family, [other, other.gateway(family)])).toEqual([]);
  });

  it('podSelector: peers of the namespace of the policy, by their labels', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const a = await labelled('a');
    const [b, c, stranger] = [await labelled('b'), await labelled('c'), await labelled('b-prod', 'prod')];
    await site().rest.apply({ name: 'from-b', spec: { ...app('a'), ingress: [{ from: [app('b')] }] } });
    expect(await unlike('open', family, [b, a])).toEqual([]);
    expect(await unlike('blocked', family, [c, a], [stranger, a])).toEqual([]);
  });

  it('matchExpressions: In, NotIn, Exists and DoesNotExist', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const make = (id: string, labels: Record<string, string>) => site().container(id, 'blue', { labels });
    const a = await make('a', { app: 'a' });
    const [good, wrongTier, noTier, banned] = [
      await make('good', { tier: 'web', team: 'x' }),
      await make('wrong-tier', { tier: 'db', team: 'x' }),
      await make('no-tier', { team: 'x' }),
      await make('banned', { tier: 'web', team: 'x', banned: '' }),
    ];
    const matchExpressions = [
      { key: 'tier', operator: 'In', values: ['web', 'cache'] },
      { key: 'team', operator: 'NotIn', values: ['y'] },
      { key: 'team', operator: 'Exists' },
      { key: 'banned', operator: 'DoesNotExist' },
    ];
    const from = [{ podSelector: { matchExpressions } }];
    await site().rest.apply({ name: 'expressions', spec: { ...app('a'), ingress: [{ from }] } });
    expect(await unlike('open', family, [good, a])).toEqual([]);
    expect(await unlike('blocked', family, [wrongTier, a], [noTier, a], [banned, a])).toEqual([]);
  });

  it('namespaceSelector: every endpoint of the namespaces with those labels', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    await site().rest.setNamespace('prod', { team: 'ops' });
    await site().rest.setNamespace('dev', { team: 'dev' });
    const a = await labelled('a');
    const [b, c, d] = [
      await labelled('b', 'prod'),
      await labelled('c', 'prod'),
      await labelled('b-dev', 'dev'),
    ];
    await site().rest.apply({
      name: 'ops',
      spec: { ...app('a'), ingress: [{ from: [inNamespace('ops')] }] },
    });
    expect(await unlike('open', family, [b, a], [c, a])).toEqual([]);
    expect(await unlike('blocked', family, [d, a])).toEqual([]);
  });

  it('namespaceSelector: the name of a namespace is its implied label', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const [a, b, c] = [await labelled('a'), await labelled('b', 'prod'), await labelled('c', 'dev')];
    const from = [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'prod' } } }];
    await site().rest.apply({ name: 'prod', spec: { ...app('a'), ingress: [{ from }] } });
    expect(await unlike('open', family, [b, a])).toEqual([]);
    expect(await unlike('blocked', family, [c, a])).toEqual([]);
  });

  it('both selectors in one peer must hold; in two peers either is enough', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    await site().rest.setNamespace('prod', { team: 'ops' });
    const [both, either] = [await labelled('both'), await labelled('either')];
    const [b, c, local] = [
      await labelled('b', 'prod'),
      await labelled('c', 'prod'),
      await labelled('b-local'),
    ];
    const one = [{ ...inNamespace('ops'), ...app('b') }];
    const two = [inNamespace('ops'), app('b')];
    await site().rest.apply({ name: 'one', spec: { ...app('both'), ingress: [{ from: one }] } });
    await site().rest.apply({ name: 'two', spec: { ...app('either'), ingress: [{ from: two }] } });
    expect(await unlike('open', family, [b, both], [b, either], [c, either], [local, either])).toEqual([]);
    expect(await unlike('blocked', family, [c, both], [local, both])).toEqual([]);
  });

  it('ports: only the protocol and the port that are named', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const [a, b] = [await labelled('a'), await labelled('b')];
    await b.serve('tcp:53', 'udp:80', 'tcp:443');
    const ports = [{ port: 80 }, { protocol: 'UDP', port: 53 }, { protocol: 'TCP', port: 443 }];
    await site().rest.apply({ name: 'ports', spec: { ...app('b'), ingress: [{ ports }] } });
    const dial = (protocol: 'tcp' | 'udp', port: number, expected: Verdict) =>
      a.dial(b, { family, protocol, port, expected });
    expect(
      await Promise.all([
        dial('tcp', 80, 'open'),
        dial('udp', 53, 'open'),
        dial('tcp', 443, 'open'),
        dial('udp', 80, 'blocked'),
        dial('tcp', 53, 'blocked'),
        dial('tcp', 81, 'blocked'),
        // Rules with ports say nothing of ICMP.
        a.ping(b, { family, expected: 'blocked' }),
      ]),
    ).toEqual(['open', 'open', 'open', 'blocked', 'blocked', 'blocked', 'blocked']);
  });

  it('ports: a range allows its first, its last and what is between, and a protocol alone every port', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const [a, b, c] = [await labelled('a'), await labelled('b'), await labelled('c')];
    const range = [{ port: 8000, endPort: 8080 }];
    await site().rest.apply({ name: 'range', spec: { ...app('b'), ingress: [{ ports: range }] } });
    await site().rest.apply({
      name: 'udp',
      spec: { ...app('c'), ingress: [{ ports: [{ protocol: 'UDP' }] }] },
    });
    // Nobody listens: refused means that the packet and the answer to it have passed.
    const verdicts = (ports: number[], expected: Verdict) =>
      Promise.all(ports.map((port) => a.dial(b, { family, port, expected })));
    expect(await verdicts([8000, 8001, 8040, 8079, 8080], 'refused')).toEqual(Array(5).fill('refused'));
    expect(await verdicts([7999, 8081, 1, 65535], 'blocked')).toEqual(Array(4).fill('blocked'));
    expect(await a.dial(c, { family, protocol: 'udp', port: 40000 })).toBe('refused');
    expect(await a.dial(c, { family, port: 80, expected: 'blocked' })).toBe('blocked');
  });

  it('egress: peers and ports of what the selected endpoints send', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const [a, b, c] = [await labelled('a'), await labelled('b'), await labelled('c')];
    await b.serve('tcp:443');
    await site().rest.apply({
      name: 'to-b',
      spec: { ...app('a'), policyTypes: ['Egress'], egress: [{ to: [app('b')], ports: [{ port: 443 }] }] },
    });
    expect(await a.dial(b, { family, port: 443 })).toBe('open');
    expect(await a.dial(b, { family, port: 80, expected: 'blocked' })).toBe('blocked');
    expect(await a.dial(c, { family, port: 443, expected: 'blocked' })).toBe('blocked');
    // Its ingress is not restricted, and answers to what it received are no egress of its own.
    expect(await unlike('open', family, [b, a], [c, a])).toEqual([]);
  });

  it('policyTypes: egress rules alone restrict ingress too, unless the types say otherwise', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const [a, b] = [await labelled('a'), await labelled('b')];
    await site().rest.apply({ name: 'egress', spec: { ...app('a'), egress: [{}] } });
    expect(await unlike('open', family, [a, b])).toEqual([]);
    expect(await unlike('blocked', family, [b, a])).toEqual([]);
  });

  it('both sides must allow: egress of the source and ingress of the destination', async () => {
    await site().network('blue');
    const [a, b] = [await labelled('a'), await labelled('b')];
    const egress = {
      name: 'egress',
      spec: { ...app('a'), policyTypes: ['Egress'], egress: [{ to: [app('b')] }] },
    };
    const ingress = {
      name: 'ingress',
      spec: { ...app('b'), policyTypes: ['Ingress'], ingress: [{ from: [app('a')] }] },
    };
    await site().rest.apply(egress);
    expect(await unlike('blocked', family, [a, b])).toEqual([]);
    expect(await site().packets({ container: a, reason: 'POLICY_INGRESS' })).toBeGreaterThan(0);
    await site().rest.apply(ingress);
    expect(await unlike('open', family, [a, b])).toEqual([]);
    expect(await unlike('blocked', family, [b, a])).toEqual([]);
    await site().rest.deletePolicy('egress');
    expect(await unlike('blocked', family, [a, b])).toEqual([]);
    expect(await site().packets({ container: a, reason: 'POLICY_EGRESS' })).toBeGreaterThan(0);
  });

  it('policies add up: what any of them allows is allowed', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const [a, b, c, d] = [await labelled('a'), await labelled('b'), await labelled('c'), await labelled('d')];
    for (const peer of ['b', 'c']) {
      await site().rest.apply({
        name: `from-${peer}`,
        spec: { ...app('a'), ingress: [{ from: [app(peer)] }] },
      });
    }
    expect(await unlike('open', family, [b, a], [c, a])).toEqual([]);
    expect(await unlike('blocked', family, [d, a])).toEqual([]);
  });
});

it('containers with the same labels share the entries of their policy', async () => {
  await site().network('blue', { isolation_mode: 'peer' });
  const entriesWith = async (count: number) => {
    for (let number = 0; number < count; number++) {
      await site()
        .bare(`same-${count}-${number}`)
        .connect('blue', { labels: { app: 'same' } });
    }
    const { maps } = await site().state();
    return { policy: maps.policy?.length, subjects: maps.policy_subjects?.length };
  };
  await site().rest.apply({
    name: 'same',
    spec: { ...app('same'), ingress: [{ from: [app('same')], ports: [{ port: 80, endPort: 90 }] }] },
  });
  const one = await entriesWith(1);
  expect(one.subjects).toBe(1);
  expect(await entriesWith(10)).toEqual(one);
});
