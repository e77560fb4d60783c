/** POST /explain says of a packet that nobody sends what a real one gets, and why; and leaves no trace. */
import { describe, expect, it } from 'vitest';
import type { ExplainRequest, Explanation } from '../../src/model/explanation.js';
import { type Container, FAMILIES, type Family, type Host } from '../support/containers.js';
import { connectionsOf } from '../support/node-state.js';
import { errorOf } from '../support/rest.js';
import { useSite } from '../support/site.js';

const site = useSite();

/** May be one that is refused. */
type Question = { [Key in keyof ExplainRequest]?: unknown } & Record<string, unknown>;

function explain(question: Question): Promise<Explanation> {
  return site().rest.expect('POST', '/explain', question);
}

const app = (name: string) => ({ podSelector: { matchLabels: { app: name } } });

function labelled(name: string, network = 'blue') {
  return site().container(name, network, { labels: { app: name } });
}

function clusterPolicy(name: string, spec: object): Promise<unknown> {
  const apiVersion = 'policy.networking.k8s.io/v1alpha2';
  return site().rest.expect('POST', '/policies', {
    apiVersion,
    kind: 'ClusterNetworkPolicy',
    metadata: { name },
    spec,
  });
}

async function removeClusterPolicy(name: string): Promise<void> {
  await site().rest.expect('DELETE', `/policies/-/${name}`);
}

describe.each(FAMILIES)('IPv%i:', (family) => {
  it('allowed: both sides with their rules, policies and parties', async () => {
    await site().network('blue');
    const [a, b] = [await labelled('a'), await labelled('b')];
    const ports = [{ port: 1 }];
    const spec = {
      policyTypes: ['Ingress', 'Egress'],
      ingress: [{ ports }, { from: [app('a')] }],
      egress: [{}],
    };
    await site().rest.apply({ name: 'all', spec: { podSelector: {}, ...spec } });
    const answer = await explain({ from: 'a', to: 'b', port: 80, family });
    expect(answer).toEqual({
      verdict: 'allowed',
      reason: 'NONE',
      reason_text: expect.stringContaining('forwarded'),
      source: {
        kind: 'endpoint',
        container_id: 'a',
        network: 'blue',
        namespace: 'default',
        labels: { app: 'a' },
        ip: a.address(family),
        identity: a.endpoint.identity,
      },
      destination: expect.objectContaining({ container_id: 'b', ip: b.address(family) }),
      protocol: 'TCP',
      port: 80,
      egress: {
        verdict: 'allowed',
        tier: 'network-policy',
        rule: 'default/all egress[0]',
        policy: { namespace: 'default', name: 'all', direction: 'egress', index: 0 },
      },
      ingress: {
        verdict: 'allowed',
        tier: 'network-policy',
        rule: 'default/all ingress[1]',
        policy: { namespace: 'default', name: 'all', direction: 'ingress', index: 1 },
      },
      agreed: true,
    });
    // An endpoint's address is that endpoint.
    expect(await explain({ from: a.address(family), to: b.address(family), port: 80 })).toEqual(answer);
  });

  it('denied by default, because a policy isolates: which one; and the other side too', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    await labelled('a');
    await labelled('b');
    await site().rest.apply({ name: 'deny-out', spec: { ...app('a'), policyTypes: ['Egress'] } });
    await site().rest.apply({ name: 'deny-in', spec: { ...app('b') } });
    expect(await explain({ from: 'a', to: 'b', family })).toMatchObject({
      verdict: 'dropped',
      reason: 'POLICY_EGRESS',
      protocol: family === 4 ? 'ICMP' : 'ICMPv6',
      egress: { verdict: 'denied', tier: 'network-policy', isolated_by: ['default/deny-out'] },
      ingress: { verdict: 'denied', tier: 'network-policy', isolated_by: ['default/deny-in'] },
      agreed: true,
    });
  });

  it('denied by the isolation mode: no policy is to blame', async () => {
    await site().network('blue');
    await labelled('a');
    await labelled('b');
    const { egress, ...answer } = await explain({ from: 'a', to: 'b', port: 53, protocol: 'udp', family });
    expect(answer).toMatchObject({
      verdict: 'dropped',
      reason: 'POLICY_EGRESS',
      protocol: 'UDP',
      agreed: true,
    });
    expect(egress?.verdict).toBe('denied');
    expect(egress?.isolated_by).toBeUndefined();
    expect(egress?.policy).toBeUndefined();
  });

  it('denied by an administrator, whatever policies of namespaces allow', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    await labelled('a');
    await labelled('b');
    await site().rest.apply({ name: 'open', spec: { podSelector: {}, ingress: [{}] } });
    const subject = { namespaces: {} };
    const from = [{ namespaces: {} }];
    const protocols = [{ tcp: { destinationPort: { number: 80 } } }];
    const ingress = [{ action: 'Deny', from, protocols }];
    await clusterPolicy('no-web', { tier: 'Admin', priority: 1, subject, ingress });
    try {
      expect(await explain({ from: 'a', to: 'b', port: 80, family })).toMatchObject({
        verdict: 'dropped',
        reason: 'POLICY_INGRESS_DENY',
        ingress: {
          verdict: 'denied',
          tier: 'admin',
          policy: { namespace: '-', name: 'no-web', direction: 'ingress', index: 0 },
        },
        agreed: true,
      });
      const other = await explain({ from: 'a', to: 'b', port: 81, family });
      expect(other).toMatchObject({ verdict: 'allowed', ingress: { tier: 'network-policy' }, agreed: true });
    } finally {
      await removeClusterPolicy('no-web');
    }
  });

  it('from the host, to the host, from outside and to the outside', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const a = await labelled('a');
    const gateway = a.gateway(family);
    const outside = family === 4 ? '203.0.113.9' : '2001:db8::9';
    const host = await explain({ from: gateway, to: 'a', port: 80 });
    expect(host).toMatchObject({
      verdict: 'allowed',
      source: { kind: 'host', identity: 1, ip: gateway },
      agreed: true,
    });
    expect(host.egress).toBeUndefined();
    const toHost = await explain({ from: 'a', to: gateway, port: 80 });
    expect(toHost).toMatchObject({ verdict: 'allowed', destination: { kind: 'host' }, agreed: true });
    const inward = await explain({ from: outside, to: 'a', port: 80 });
    expect(inward).toMatchObject({
      verdict: 'allowed',
      source: { kind: 'world', identity: 2 },
      agreed: true,
    });
    await site().rest.apply({ name: 'shut', spec: { ...app('a'), policyTypes: ['Egress', 'Ingress'] } });
    expect(await explain({ from: 'a', to: outside, port: 443 })).toMatchObject({
      verdict: 'dropped',
      reason: 'POLICY_EGRESS',
      destination: { kind: 'world', ip: outside },
      egress: { isolated_by: ['default/shut'] },
      agreed: true,
    });
    expect(await explain({ from: gateway, to: 'a' })).toMatchObject({
      reason: 'POLICY_INGRESS',
      agreed: true,
    });
  });

  it('an address that nobody has, or that can be no destination, is the program to judge', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const a = await labelled('a');
    const nobody = `${a.address(family).replace(/[0-9a-f]+$/, '')}${family === 4 ? '99' : 'ffff'}`;
    const answer = await explain({ from: 'a', to: nobody, port: 80 });
    expect(answer).toMatchObject({
      reason: 'NO_SUCH_ENDPOINT',
      destination: { kind: 'unknown' },
      agreed: true,
    });
    expect(answer.egress).toBeUndefined();
    const loopback = family === 4 ? '127.0.0.1' : '::1';
    expect(await explain({ from: 'a', to: loopback, port: 80 })).toMatchObject({ reason: 'BAD_DESTINATION' });
    expect(await explain({ from: nobody, to: 'a', port: 80 })).toMatchObject({ reason: 'BAD_SOURCE' });
  });

  it('leaves no trace: no connection, no count, no flow', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const [a, b] = [await labelled('a'), await labelled('b')];
    await site().rest.apply({ name: 'web', spec: { ...app('b'), ingress: [{ ports: [{ port: 80 }] }] } });
    const questions = [{ port: 80 }, { port: 81 }, { port: 81, protocol: 'udp' }, {}];
    const answers = await Promise.all(
      questions.map((more) => explain({ from: 'a', to: 'b', family, ...more })),
    );
    expect(answers.map(({ reason }) => reason)).toEqual([
      'NONE',
      'POLICY_INGRESS',
      'POLICY_INGRESS',
      'POLICY_INGRESS',
    ]);
    expect(connectionsOf(site().daemon, a.address(family))).toEqual([]);
    expect(await site().packets({ container: a, reason: 'POLICY_INGRESS' })).toBe(0);
    // The events of the drop come after those that an explanation would have left.
    await a.dial(b, { family, port: 82, expected: 'blocked' });
    const ours = async () =>
      (await site().rest.flows(`&container_id=${a.id}`))
        .filter(({ source }) => source.ip === a.address(family))
        .map(({ destination }) => destination.port)
        .filter((port) => port !== undefined);
    await expect.poll(ours).toContain(82);
    expect(new Set(await ours())).toEqual(new Set([82]));
  });

  it('a container that reaches itself by a port of the node: no rule is asked, whatever policies say', async () => {
    await site().network('blue');
    const ports = [{ container_port: 80, host_port: 8080 }];
    const a = await site().container('a', 'blue', { labels: { app: 'a' }, ports });
    const question = { to: a.gateway(family), port: 8080 };
    const itself = await explain({ from: 'a', ...question });
    expect(itself).toMatchObject({ verdict: 'allowed', agreed: true });
    expect([itself.egress, itself.ingress]).toEqual([undefined, undefined]);
    expect(await a.dial(question.to, { family, port: question.port })).toBe('open');
    // One with the same labels is another container.
    await labelled('b');
    const twin = await site().container('c', 'blue', { labels: { app: 'a' } });
    expect(twin.endpoint.identity).toBe(a.endpoint.identity);
    for (const from of ['b', 'c']) {
      const other = await explain({ from, ...question });
      expect(other).toMatchObject({ verdict: 'dropped', reason: 'POLICY_EGRESS', agreed: true });
    }
    expect(site().daemon.log).not.toContain('has not decided as');
  });
});

it('is what real packets get: random policies, every pair, both protocols', {
  timeout: 120_000,
}, async () => {
  await site().network('blue', { isolation_mode: 'none' });
  await site().network('red', { isolation_mode: 'peer' });
  const containers = await Promise.all(
    ['a', 'b', 'c'].map((name) => labelled(name)).concat(['d', 'e'].map((name) => labelled(name, 'red'))),
  );
  const everyone: Host[] = [...containers, site().host];
  const random = seeded(20261128);
  const pick = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)] as T;
  const peers = ['a', 'b', 'c', 'd', 'e'].map(app);
  for (let round = 0; round < 3; round++) {
    for (const name of ['one', 'two', 'three']) {
      const rule = (key: 'from' | 'to') => ({
        [key]: [pick(peers), pick(peers)],
        ports: pick([[], [{ port: 80 }], [{ protocol: 'UDP' }]]),
      });
      const policyTypes = pick([['Ingress'], ['Egress'], ['Ingress', 'Egress']]);
      await site().rest.apply({
        name,
        spec: { ...pick(peers), policyTypes, ingress: [rule('from')], egress: [rule('to')] },
      });
    }
    const family = pick(FAMILIES);
    const pairs = containers.flatMap((to) =>
      everyone.filter((from) => from !== to).map((from) => ({ from, to })),
    );
    const answers = await Promise.all(
      pairs.flatMap(({ from, to }) => [
        compared(from, to, family, 'tcp', 80),
        compared(from, to, family, 'udp', 53),
      ]),
    );
    expect(answers.filter(({ told, real }) => told !== real)).toEqual([]);
    expect(new Set(answers.map(({ told }) => told))).toEqual(new Set(['open', 'blocked']));
  }
});

async function compared(from: Host, to: Container, family: Family, protocol: 'tcp' | 'udp', port: number) {
  const source = from === site().host ? to.gateway(family) : from.id;
  const answer = await explain({ from: source, to: to.id, port, protocol, family });
  const told = answer.verdict === 'allowed' ? 'open' : 'blocked';
  const real = await from.dial(to, { family, protocol, port, expected: told });
  return { name: `${from.id} -> ${to.id} ${protocol}`, told: answer.agreed ? told : 'disagreed', real };
}

/** A generator of its own, so that a failure can be seen again (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

describe('containers on several networks:', () => {
  it('the network that both share is taken, else the one that is named', async () => {
    for (const name of ['blue', 'red', 'green']) await site().network(name, { isolation_mode: 'none' });
    const a = await labelled('a');
    const inRed = await a.connect('red', { interface_name: 'eth1' });
    const b = await labelled('b', 'red');
    await labelled('c', 'green');
    expect(await explain({ from: 'a', to: 'b', port: 80 })).toMatchObject({
      source: { network: 'red', ip: inRed.ip_address },
      destination: { network: 'red' },
    });
    const ambiguous = await site().rest.call('POST', '/explain', { from: 'a', to: 'c' });
    expect([ambiguous.status, errorOf(ambiguous).details[0]?.path]).toEqual([400, 'network']);
    expect(errorOf(ambiguous).message).toContain('blue, green, red');
    const named = await explain({ from: 'a', to: 'c', network: 'blue' });
    expect(named).toMatchObject({ source: { network: 'blue' }, destination: { network: 'green' } });
    await b.connect('blue', { interface_name: 'eth1' });
    expect((await site().rest.call('POST', '/explain', { from: 'a', to: 'b' })).status).toBe(400);
    expect(await explain({ from: 'a', to: 'b', network: 'red' })).toMatchObject({
      source: { network: 'red' },
      destination: { network: 'red' },
    });
  });
});

const BAD: [string, Question, number, string, string | undefined][] = [
  ['nothing', {}, 400, 'INVALID_REQUEST', 'from'],
  ['an unknown field', { from: 'a', to: 'b', x: 1 }, 400, 'INVALID_REQUEST', 'x'],
  ['no such container', { from: 'a', to: 'ghost' }, 404, 'CONTAINER_NOT_FOUND', 'to'],
  ['what can be no id', { from: 'a', to: '-/-' }, 400, 'INVALID_REQUEST', 'to'],
  ['a network that is not', { from: 'a', to: 'b', network: 'ghost' }, 404, 'NETWORK_NOT_FOUND', undefined],
  ['a network of neither', { from: 'a', to: 'b', network: 'red' }, 400, 'INVALID_REQUEST', 'network'],
  ['TCP without a port', { from: 'a', to: 'b', protocol: 'tcp' }, 400, 'INVALID_REQUEST', 'port'],
  ['SCTP without a port', { from: 'a', to: 'b', protocol: 'SCTP' }, 400, 'INVALID_REQUEST', 'port'],
  ['ICMP with a port', { from: 'a', to: 'b', protocol: 'icmp', port: 7 }, 400, 'INVALID_REQUEST', 'port'],
  ['a port out of range', { from: 'a', to: 'b', port: 65536 }, 400, 'INVALID_REQUEST', 'port'],
  ['an unknown protocol', { from: 'a', to: 'b', protocol: 'gre' }, 400, 'INVALID_REQUEST', 'protocol'],
  ['family 5', { from: 'a', to: 'b', family: 5 }, 400, 'INVALID_REQUEST', 'family'],
  ['two families', { from: 'a', to: 'fd00::1', family: 4 }, 400, 'INVALID_REQUEST', 'family'],
  ['the same container', { from: 'a', to: 'a' }, 400, 'INVALID_REQUEST', 'to'],
  ['no container', { from: '10.1.2.3', to: '10.1.2.4' }, 400, 'INVALID_REQUEST', 'from'],
  ['an address with a zone', { from: 'a', to: 'fe80::1%eth0' }, 400, 'INVALID_REQUEST', 'to'],
];

it.each(BAD)('%s is refused', async (_name, question, status, code, path) => {
  await site().network('blue');
  await site().network('red');
  await labelled('a');
  await labelled('b');
  const answer = await site().rest.call('POST', '/explain', question);
  expect([answer.status, errorOf(answer).code]).toEqual([status, code]);
  if (path !== undefined) expect(errorOf(answer).details.map((detail) => detail.path)).toContain(path);
});
