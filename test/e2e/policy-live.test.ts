/** Labels, namespaces, endpoints and ports change while policies stay: only what depends on them changes. */
import { describe, expect, it } from 'vitest';
import type { EndpointRequestInput } from '../../src/model/endpoint.js';
import type { Container } from '../support/containers.js';
import { portsUnlike, unlikeBoth } from '../support/reach.js';
import { useSite } from '../support/site.js';
import { ingressPeers, rulesBySubject, subjectsChanged } from '../support/subject-rules.js';

const site = useSite();

const app = (name: string) => ({ podSelector: { matchLabels: { app: name } } });
const labelled = (name: string, more: Partial<EndpointRequestInput> = {}) =>
  site().container(name, 'blue', { labels: { app: name }, ...more });
const rules = async () => rulesBySubject(await site().state());
const idOf = ({ endpoint }: Container) => endpoint.identity;

/** `a` lets `b` in, and `bystander` lets `neighbour` in, which has nothing to do with it. */
async function scene() {
  await site().network('blue', { isolation_mode: 'peer' });
  const scene = {
    a: await labelled('a'),
    b: await labelled('b'),
    c: await labelled('c'),
    bystander: await labelled('bystander'),
    neighbour: await labelled('neighbour'),
  };
  await site().rest.apply({ name: 'from-b', spec: { ...app('a'), ingress: [{ from: [app('b')] }] } });
  const ingress = [{ from: [app('neighbour')], ports: [{ port: 80 }, { protocol: 'UDP', port: 53 }] }];
  await site().rest.apply({ name: 'bystander', spec: { ...app('bystander'), ingress } });
  return scene;
}

describe('live changes', () => {
  it('a source with new labels is let in and out, and no rules but of those it is a peer of change', async () => {
    const { a, b, c, bystander, neighbour } = await scene();
    using kept = await b.stream(a);
    using other = await neighbour.stream(bystander);
    const before = await rules();
    const was = idOf(c);
    expect(await unlikeBoth('blocked', [c, a])).toEqual([]);
    await c.relabel({ labels: { app: 'b', copy: 'yes' } });
    expect(await unlikeBoth('open', [c, a], [b, a])).toEqual([]);
    const during = await rules();
    expect(ingressPeers(during, idOf(a))).toContain(idOf(c));
    const known = new Set(before.keys());
    expect(subjectsChanged(before, during).filter((id) => known.has(id) && during.has(id))).toEqual([
      idOf(a),
    ]);
    using cut = await c.stream(a);
    await c.relabel({ labels: { app: 'c' } });
    expect(await cut.echoes(500)).toBe(false);
    expect(await unlikeBoth('blocked', [c, a])).toEqual([]);
    expect(await kept.echoes()).toBe(true);
    expect(await other.echoes()).toBe(true);
    // All is as it was, but for the number of the identity that nobody had in the meantime.
    expect(idOf(c)).not.toBe(was);
    expect(subjectsChanged(before, await rules())).toEqual([was, idOf(c)]);
  });

  it('a subject with new labels takes on the rules that go with them, and others keep theirs', async () => {
    const { a, b, c, bystander } = await scene();
    const before = await rules();
    const [was, other] = [idOf(c), idOf(bystander)];
    expect(await unlikeBoth('open', [bystander, c])).toEqual([]);
    await c.relabel({ labels: { app: 'a' } });
    expect(idOf(c)).toBe(idOf(a));
    expect(await unlikeBoth('open', [b, c])).toEqual([]);
    expect(await unlikeBoth('blocked', [bystander, c])).toEqual([]);
    const after = await rules();
    expect(after.get(other)).toEqual(before.get(other));
    expect(subjectsChanged(before, after)).toEqual([was]);
  });

  it('labels of a namespace open and close, for the rules that select it alone', async () => {
    const { a, b, bystander, neighbour } = await scene();
    const far = await labelled('far', { namespace: 'prod' });
    const peer = { namespaceSelector: { matchLabels: { team: 'ops' } } };
    await site().rest.apply({ name: 'ops', spec: { ...app('a'), ingress: [{ from: [peer] }] } });
    using kept = await b.stream(a);
    const before = await rules();
    expect(await unlikeBoth('blocked', [far, a])).toEqual([]);
    await site().rest.setNamespace('prod', { team: 'ops' });
    expect(await unlikeBoth('open', [far, a], [b, a])).toEqual([]);
    expect(await unlikeBoth('blocked', [far, bystander], [neighbour, a])).toEqual([]);
    expect(subjectsChanged(before, await rules())).toEqual([idOf(a)]);
    using cut = await far.stream(a);
    await site().rest.setNamespace('prod', { team: 'dev' });
    expect(await cut.echoes(500)).toBe(false);
    expect(await unlikeBoth('blocked', [far, a])).toEqual([]);
    expect(await kept.echoes()).toBe(true);
    expect(await rules()).toEqual(before);
  });

  it('endpoints that come and go change rules only with the first and the last of an identity', async () => {
    const { a, c } = await scene();
    const before = await rules();
    const labels = { app: 'b', version: '2' };
    const first = await site().container('first', 'blue', { labels });
    const one = await rules();
    const changed = subjectsChanged(before, one).filter((id) => id !== idOf(first));
    expect(changed).toEqual([idOf(a)]);
    const second = await site().container('second', 'blue', { labels });
    expect(await rules()).toEqual(one);
    expect(await unlikeBoth('open', [first, a], [second, a])).toEqual([]);
    await first.disconnect();
    expect(await rules()).toEqual(one);
    expect(await unlikeBoth('open', [second, a])).toEqual([]);
    expect(await unlikeBoth('blocked', [c, a])).toEqual([]);
    await second.disconnect();
    expect(await rules()).toEqual(before);
    // Whoever gets its addresses next does not get what it was allowed.
    const addresses = { ip_address: '10.60.1.200', ip6_address: 'fd00:60:1::200' };
    const friend = await site().container('friend', 'blue', { labels, ...addresses });
    expect(await unlikeBoth('open', [friend, a])).toEqual([]);
    await friend.disconnect();
    const heir = await site().container('heir', 'blue', { labels: { app: 'c' }, ...addresses });
    expect(await unlikeBoth('blocked', [heir, a])).toEqual([]);
  });

  it('a container that reconnects with another port of that name is let in there, and no rule changes', async () => {
    await scene();
    const ports = (container_port: number) => [{ name: 'web', container_port }];
    const labels = { app: 'server' };
    const server = await site().container('server', 'blue', { labels, ports: ports(8080) });
    const twin = await site().container('twin', 'blue', { labels, ports: ports(8080) });
    const client = await labelled('client');
    const ingress = [{ from: [app('client')], ports: [{ port: 'web' }] }];
    await site().rest.apply({ name: 'named', spec: { ...app('server'), ingress } });
    expect(await portsUnlike('refused', [client, server], 'tcp:8080')).toEqual([]);
    const before = await rules();
    await server.disconnect();
    await server.connect('blue', { labels, ports: ports(9090) });
    expect(await rules()).toEqual(before);
    expect(await portsUnlike('refused', [client, server], 'tcp:9090')).toEqual([]);
    expect(await portsUnlike('blocked', [client, server], 'tcp:8080', 'udp:9090')).toEqual([]);
    expect(await portsUnlike('refused', [client, twin], 'tcp:8080')).toEqual([]);
    expect(await portsUnlike('blocked', [client, twin], 'tcp:9090')).toEqual([]);
    await server.disconnect();
    await server.connect('blue', { labels });
    expect(await rules()).toEqual(before);
    expect(await portsUnlike('blocked', [client, server], 'tcp:8080', 'tcp:9090')).toEqual([]);
  });
});
