/**
 * What people use NetworkPolicy for, as the Kubernetes documentation and collections of recipes list it: who may
 * talk to an application, to a namespace, and from where. Each case in both families.
 */
import { describe, expect, it } from 'vitest';
import type { Container } from '../support/containers.js';
import { portsUnlike, unlikeBoth } from '../support/reach.js';
import { useSite } from '../support/site.js';

const site = useSite();

const pods = (matchLabels: Record<string, string>) => ({ podSelector: { matchLabels } });
const namespaces = (matchLabels: Record<string, string>) => ({ namespaceSelector: { matchLabels } });
const everyNamespace = { namespaceSelector: {} };

/** `web` in namespace `shop`: its labels are `app=web`, and those that are given. */
function pod(app: string, namespace = 'default', labels: Record<string, string> = {}): Promise<Container> {
  return site().container(`${app}-${namespace}`, 'blue', { namespace, labels: { app, ...labels } });
}

/** A network in which everybody may talk as long as no policy says otherwise, as in Kubernetes. */
const asInKubernetes = () => site().network('blue', { isolation_mode: 'none' });

describe('ingress of an application', () => {
  it('deny all traffic to an application: no rules let nobody in, and its neighbours stay open', async () => {
    await asInKubernetes();
    const [web, other] = [await pod('web'), await pod('other')];
    await site().rest.apply({ name: 'web-deny-all', spec: { ...pods({ app: 'web' }), ingress: [] } });
    expect(await unlikeBoth('blocked', [other, web], [site().host, web])).toEqual([]);
    expect(await unlikeBoth('open', [web, other], [site().host, other])).toEqual([]);
  });

  it('limit traffic to an application: those with a label of the application alone', async () => {
    await asInKubernetes();
    const api = await pod('bookstore', 'default', { role: 'api' });
    const [frontend, stranger] = [
      await site().container('frontend', 'blue', { labels: { app: 'bookstore', role: 'frontend' } }),
      await pod('stranger', 'default', { role: 'frontend' }),
    ];
    await site().rest.apply({
      name: 'api-allow',
      spec: {
        ...pods({ app: 'bookstore', role: 'api' }),
        ingress: [{ from: [pods({ app: 'bookstore' })] }],
      },
    });
    expect(await unlikeBoth('open', [frontend, api], [api, frontend])).toEqual([]);
    expect(await unlikeBoth('blocked', [stranger, api])).toEqual([]);
  });

  it('allow all traffic to an application: one empty rule outweighs the policy that denies', async () => {
    await asInKubernetes();
    const [web, near, far] = [await pod('web'), await pod('near'), await pod('far', 'elsewhere')];
    const outside = await site().outside();
    await site().rest.apply({ name: 'default-deny', spec: { podSelector: {} } });
    await site().rest.apply({ name: 'web-allow-all', spec: { ...pods({ app: 'web' }), ingress: [{}] } });
    expect(await unlikeBoth('open', [near, web], [far, web], [site().host, web], [outside, web])).toEqual([]);
    expect(await unlikeBoth('blocked', [web, near], [far, near])).toEqual([]);
  });

  it('allow traffic from external clients: a rule without peers, for one port', async () => {
    await asInKubernetes();
    const [web, near] = [await pod('web'), await pod('near')];
    const outside = await site().outside();
    await site().rest.apply({ name: 'default-deny', spec: { podSelector: {} } });
    const ingress = [{ from: [], ports: [{ port: 80 }] }];
    await site().rest.apply({ name: 'web-external', spec: { ...pods({ app: 'web' }), ingress } });
    expect(await portsUnlike('open', [outside, web], 'tcp:80')).toEqual([]);
    expect(await portsUnlike('open', [near, web], 'tcp:80')).toEqual([]);
    expect(await portsUnlike('blocked', [outside, web], 'udp:53', 'tcp:81')).toEqual([]);
    expect(await unlikeBoth('blocked', [outside, near])).toEqual([]);
  });

  it('allow traffic from applications with any of several selectors', async () => {
    await asInKubernetes();
    const db = await pod('db');
    const inventory = await pod('inventory', 'default', { role: 'web' });
    const [search, api] = [
      await pod('search', 'default', { role: 'search' }),
      await pod('api', 'default', { role: 'web' }),
    ];
    const from = [
      pods({ role: 'search' }),
      pods({ app: 'inventory', role: 'web' }),
      pods({ app: 'none-such' }),
    ];
    await site().rest.apply({
      name: 'redis-allow-services',
      spec: { ...pods({ app: 'db' }), ingress: [{ from }] },
    });
    expect(await unlikeBoth('open', [search, db], [inventory, db])).toEqual([]);
    expect(await unlikeBoth('blocked', [api, db])).toEqual([]);
  });

  it('two policies that select one pod allow what either allows, at the ports of each', async () => {
    await asInKubernetes();
    const [db, api, ops] = [await pod('db'), await pod('api'), await pod('ops')];
    const rule = (app: string, port: number) => ({ from: [pods({ app })], ports: [{ port }] });
    await site().rest.apply({ name: 'one', spec: { ...pods({ app: 'db' }), ingress: [rule('api', 5432)] } });
    await site().rest.apply({ name: 'two', spec: { podSelector: {}, ingress: [rule('ops', 9187)] } });
    expect(await portsUnlike('refused', [api, db], 'tcp:5432')).toEqual([]);
    expect(await portsUnlike('refused', [ops, db], 'tcp:9187')).toEqual([]);
    expect(await portsUnlike('blocked', [api, db], 'tcp:9187', 'udp:5432')).toEqual([]);
    expect(await portsUnlike('blocked', [ops, db], 'tcp:5432')).toEqual([]);
  });
});

describe('ingress of a namespace', () => {
  it('deny all that is not whitelisted in a namespace: an empty selector, and no rules', async () => {
    await asInKubernetes();
    const [web, near, far] = [await pod('web'), await pod('near'), await pod('far', 'elsewhere')];
    await site().rest.apply({ name: 'default-deny', spec: { podSelector: {}, policyTypes: ['Ingress'] } });
    expect(await unlikeBoth('blocked', [near, web], [far, web], [web, near])).toEqual([]);
    // Egress is not restricted, nor is the other namespace.
    expect(await unlikeBoth('open', [web, far], [site().host, far])).toEqual([]);
  });

  it('deny traffic from other namespaces: a podSelector means the namespace of its policy', async () => {
    await asInKubernetes();
    const [web, near, far] = [await pod('web'), await pod('near'), await pod('web', 'elsewhere')];
    await site().rest.apply({
      name: 'own-namespace',
      spec: { podSelector: {}, ingress: [{ from: [{ podSelector: {} }] }] },
    });
    expect(await unlikeBoth('open', [near, web], [web, near], [web, far])).toEqual([]);
    expect(await unlikeBoth('blocked', [far, web], [far, near], [site().host, web])).toEqual([]);
  });

  it('allow traffic from all namespaces: every pod, but neither the node nor the outside', async () => {
    await asInKubernetes();
    const [web, near, far] = [await pod('web'), await pod('near'), await pod('far', 'elsewhere')];
    const outside = await site().outside();
    await site().rest.apply({
      name: 'web-all-namespaces',
      spec: { ...pods({ app: 'web' }), ingress: [{ from: [everyNamespace] }] },
    });
    expect(await unlikeBoth('open', [near, web], [far, web])).toEqual([]);
    expect(await unlikeBoth('blocked', [site().host, web], [outside, web])).toEqual([]);
  });

  it('allow traffic from a namespace, by its labels', async () => {
    await asInKubernetes();
    await site().rest.setNamespace('prod', { purpose: 'production' });
    await site().rest.setNamespace('dev', { purpose: 'testing' });
    const [web, prod, dev] = [await pod('web'), await pod('client', 'prod'), await pod('client', 'dev')];
    const near = await pod('near');
    await site().rest.apply({
      name: 'web-allow-prod',
      spec: { ...pods({ app: 'web' }), ingress: [{ from: [namespaces({ purpose: 'production' })] }] },
    });
    expect(await unlikeBoth('open', [prod, web])).toEqual([]);
    expect(await unlikeBoth('blocked', [dev, web], [near, web])).toEqual([]);
  });

  it('allow traffic from some pods in another namespace: both selectors in one peer', async () => {
    await asInKubernetes();
    await site().rest.setNamespace('ops', { team: 'operations' });
    const [one, two] = [await pod('one'), await pod('two')];
    const [monitor, other] = [await pod('monitor', 'ops', { type: 'monitoring' }), await pod('other', 'ops')];
    const [local, remote] = [
      await pod('local', 'default', { type: 'monitoring' }),
      await pod('remote', 'elsewhere', { type: 'monitoring' }),
    ];
    const team = namespaces({ team: 'operations' });
    const type = pods({ type: 'monitoring' });
    await site().rest.apply({
      name: 'one-peer',
      spec: { ...pods({ app: 'one' }), ingress: [{ from: [{ ...team, ...type }] }] },
    });
    // The same two in two peers: either is enough, and the second means the namespace of the policy.
    await site().rest.apply({
      name: 'two-peers',
      spec: { ...pods({ app: 'two' }), ingress: [{ from: [team, type] }] },
    });
    expect(await unlikeBoth('open', [monitor, one], [monitor, two], [other, two], [local, two])).toEqual([]);
    expect(await unlikeBoth('blocked', [other, one], [local, one], [remote, one], [remote, two])).toEqual([]);
  });
});

describe('policyTypes', () => {
  it('default deny of both directions, and a policy of ingress alone says nothing of egress', async () => {
    await asInKubernetes();
    const [shut, deaf, other] = [await pod('shut'), await pod('deaf'), await pod('other')];
    await site().rest.apply({
      name: 'shut',
      spec: { ...pods({ app: 'shut' }), policyTypes: ['Ingress', 'Egress'] },
    });
    await site().rest.apply({ name: 'deaf', spec: pods({ app: 'deaf' }) });
    expect(await unlikeBoth('blocked', [shut, other], [other, shut], [other, deaf], [shut, deaf])).toEqual(
      [],
    );
    expect(await unlikeBoth('open', [deaf, other])).toEqual([]);
  });

  it('are Ingress and Egress where there are egress rules, and rules of a type that is not named do not count', async () => {
    await asInKubernetes();
    const [both, unsaid, other] = [await pod('both'), await pod('unsaid'), await pod('other')];
    await site().rest.apply({
      name: 'both',
      spec: { ...pods({ app: 'both' }), egress: [{ to: [pods({ app: 'other' })] }] },
    });
    await site().rest.apply({
      name: 'unsaid',
      spec: { ...pods({ app: 'unsaid' }), policyTypes: ['Ingress'], ingress: [{}], egress: [] },
    });
    expect(await unlikeBoth('open', [both, other], [unsaid, other], [other, unsaid])).toEqual([]);
    expect(await unlikeBoth('blocked', [both, unsaid], [other, both])).toEqual([]);
  });
});
