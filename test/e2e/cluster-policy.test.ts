/** ClusterNetworkPolicy around NetworkPolicy: tiers, priorities, actions and peers, with real connections. */
import { describe, expect, it } from 'vitest';
import { type Container, FAMILIES, type Family } from '../support/containers.js';
import { clusterPolicy, networkPolicy } from '../support/policy-objects.js';
import { portsUnlike, unlikeBoth } from '../support/reach.js';
import { errorOf } from '../support/rest.js';
import { useSite } from '../support/site.js';

const site = useSite({ settings: { node_labels: 'role=worker' } });

const app = (name: string) => ({ podSelector: { matchLabels: { app: name } } });
const pods = (name: string) => ({ pods: app(name) });
const everyPod = { namespaces: {} };
const named = (name: string) => ({
  namespaces: { matchLabels: { 'kubernetes.io/metadata.name': name } },
});

function pod(name: string, namespace = 'default', ports: { name: string; container_port: number }[] = []) {
  const id = namespace === 'default' ? name : `${name}-${namespace}`;
  return site().container(id, 'blue', { labels: { app: name }, namespace, ports });
}

/** `web` in a network in which everybody may talk, and two that want to reach it. */
async function scene(): Promise<{ web: Container; friend: Container; foe: Container }> {
  await site().network('blue', { isolation_mode: 'none' });
  return { web: await pod('web'), friend: await pod('friend'), foe: await pod('foe') };
}

/** A rule of ingress. */
const from = (action: 'Accept' | 'Deny' | 'Pass', ...peers: object[]) => ({ action, from: peers });
const to = (action: 'Accept' | 'Deny' | 'Pass', ...peers: object[]) => ({ action, to: peers });

const admin = (name: string, priority: number, spec: object) =>
  clusterPolicy(name, { tier: 'Admin', priority, subject: pods('web'), ...spec });
const baseline = (name: string, priority: number, spec: object) =>
  clusterPolicy(name, { tier: 'Baseline', priority, subject: pods('web'), ...spec });
/** Nothing but what is listed reaches `web`. */
const webAllows = (...peers: string[]) =>
  networkPolicy('web', { ...app('web'), ingress: peers.length ? [{ from: peers.map(app) }] : [] });

describe('tier Admin', () => {
  it('Deny stands above a NetworkPolicy that allows', async () => {
    const { web, friend, foe } = await scene();
    await site().rest.applyAll(
      webAllows('friend', 'foe'),
      admin('no-foes', 10, { ingress: [from('Deny', pods('foe'))] }),
    );
    expect(await unlikeBoth('open', [friend, web])).toEqual([]);
    expect(await unlikeBoth('blocked', [foe, web])).toEqual([]);
    expect(await site().packets({ container: foe, reason: 'POLICY_INGRESS_DENY' })).toBeGreaterThan(0);
  });

  it('Accept stands above a NetworkPolicy that isolates', async () => {
    const { web, friend, foe } = await scene();
    await site().rest.applyAll(
      webAllows(),
      admin('monitoring', 10, { ingress: [from('Accept', pods('friend'))] }),
    );
    expect(await unlikeBoth('open', [friend, web])).toEqual([]);
    expect(await unlikeBoth('blocked', [foe, web])).toEqual([]);
  });

  it('Pass hands over to NetworkPolicy, past the rules of lower priority', async () => {
    const { web, friend, foe } = await scene();
    await site().rest.applyAll(
      admin('hands-over', 10, { ingress: [from('Pass', pods('friend'))] }),
      admin('denies', 20, { ingress: [from('Deny', everyPod)] }),
    );
    expect(await unlikeBoth('open', [friend, web])).toEqual([]);
    expect(await unlikeBoth('blocked', [foe, web])).toEqual([]);
    // Where NetworkPolicy isolates, it is the one to decide.
    await site().rest.applyAll(webAllows('foe'));
    expect(await unlikeBoth('blocked', [friend, web], [foe, web])).toEqual([]);
    await site().rest.applyAll(webAllows('friend', 'foe'));
    expect(await unlikeBoth('open', [friend, web])).toEqual([]);
  });

  it('the lower number is asked first, and within a policy the earlier rule', async () => {
    const { web, friend, foe } = await scene();
    const accepts = (priority: number) =>
      admin('accepts', priority, {
        ingress: [from('Accept', pods('friend')), from('Deny', pods('friend')), from('Accept', pods('foe'))],
      });
    await site().rest.applyAll(accepts(1000), admin('denies', 50, { ingress: [from('Deny', everyPod)] }));
    expect(await unlikeBoth('blocked', [friend, web], [foe, web])).toEqual([]);
    await site().rest.applyAll(accepts(0));
    expect(await unlikeBoth('open', [friend, web], [foe, web])).toEqual([]);
    await site().rest.applyAll(
      admin('accepts', 0, { ingress: [from('Deny', pods('friend')), from('Accept', everyPod)] }),
    );
    expect(await unlikeBoth('blocked', [friend, web])).toEqual([]);
    expect(await unlikeBoth('open', [foe, web])).toEqual([]);
  });

  it('selects subjects by namespaces, and both sides of a packet are asked', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const [web, tenant, other] = [
      await pod('web', 'prod'),
      await pod('a', 'tenant'),
      await pod('b', 'other'),
    ];
    await site().rest.applyAll(
      clusterPolicy('tenants', { subject: named('tenant'), egress: [to('Deny', named('prod'))] }),
      clusterPolicy('prod', { subject: named('prod'), priority: 1, ingress: [from('Accept', everyPod)] }),
    );
    expect(await unlikeBoth('blocked', [tenant, web])).toEqual([]);
    expect(await unlikeBoth('open', [other, web], [web, tenant], [tenant, other])).toEqual([]);
  });
});

describe('tier Baseline', () => {
  it('counts where no NetworkPolicy isolates, and a NetworkPolicy overrides it', async () => {
    const { web, friend, foe } = await scene();
    await site().rest.applyAll(baseline('default-deny', 10, { ingress: [from('Deny', everyPod)] }));
    expect(await unlikeBoth('blocked', [friend, web], [foe, web])).toEqual([]);
    expect(await unlikeBoth('open', [web, friend], [site().host, web])).toEqual([]);
    await site().rest.applyAll(webAllows('friend'));
    expect(await unlikeBoth('open', [friend, web])).toEqual([]);
    expect(await unlikeBoth('blocked', [foe, web], [site().host, web])).toEqual([]);
  });

  it('Accept lets in where the network lets nobody in, and does not help the isolated', async () => {
    await site().network('blue', { isolation_mode: 'full' });
    const [web, friend] = [await pod('web'), await pod('friend')];
    await site().rest.applyAll(
      baseline('in', 10, { ingress: [from('Accept', pods('friend'))] }),
      clusterPolicy('out', {
        tier: 'Baseline',
        subject: pods('friend'),
        egress: [to('Accept', pods('web'))],
      }),
    );
    expect(await unlikeBoth('open', [friend, web])).toEqual([]);
    expect(await unlikeBoth('blocked', [web, friend])).toEqual([]);
    await site().rest.applyAll(webAllows());
    expect(await unlikeBoth('blocked', [friend, web])).toEqual([]);
  });

  it('is what Pass of tier Admin ends at, and Pass of its own leaves it to the network', async () => {
    const { web, friend, foe } = await scene();
    await site().rest.applyAll(
      admin('hands-over', 10, { ingress: [from('Pass', everyPod)] }),
      baseline('first', 1, { ingress: [from('Pass', pods('friend'))] }),
      baseline('second', 2, { ingress: [from('Deny', everyPod)] }),
    );
    expect(await unlikeBoth('open', [friend, web])).toEqual([]);
    expect(await unlikeBoth('blocked', [foe, web])).toEqual([]);
  });
});

describe('peers and ports', () => {
  it('networks are ranges of addresses: of the outside, of containers and of the node', async () => {
    const { web, friend, foe } = await scene();
    const outside = await site().outside();
    await site().host.serve('tcp:80', 'udp:53');
    const gateway = (family: Family) => web.gateway(family);
    const host = (container: Container) =>
      FAMILIES.map((family) => `${container.address(family)}/${family === 4 ? 32 : 128}`);
    await site().rest.applyAll(
      admin('ranges', 10, {
        egress: [
          to('Accept', { networks: host(friend) }),
          to(
            'Deny',
            { networks: ['198.18.0.0/24', 'fd00:198::/64'] },
            { networks: ['10.60.1.0/24', 'fd00:60:1::/64'] },
          ),
        ],
      }),
    );
    expect(await unlikeBoth('open', [web, friend], [friend, outside], [foe, web])).toEqual([]);
    expect(await unlikeBoth('blocked', [web, foe], [web, outside], [web, gateway])).toEqual([]);
  });

  it('nodes are this node, by its labels', async () => {
    const { web, friend } = await scene();
    const outside = await site().outside();
    await site().host.serve('tcp:80', 'udp:53');
    const gateway = (family: Family) => web.gateway(family);
    const nodes = (role: string) => ({ nodes: { matchLabels: { role } } });
    await site().rest.applyAll(admin('others', 10, { egress: [to('Deny', nodes('master'))] }));
    expect(await unlikeBoth('open', [web, gateway])).toEqual([]);
    await site().rest.applyAll(admin('others', 10, { egress: [to('Deny', nodes('worker'))] }));
    expect(await unlikeBoth('blocked', [web, gateway])).toEqual([]);
    expect(await unlikeBoth('open', [web, friend], [web, outside], [friend, gateway])).toEqual([]);
  });

  it('ports, ranges and names of ports, in each protocol', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const [one, two] = [
      await pod('web', 'default', [{ name: 'admin', container_port: 9000 }]),
      await pod('web', 'other', [{ name: 'admin', container_port: 9001 }]),
    ];
    const friend = await pod('friend');
    await site().rest.applyAll(
      admin('ports', 10, {
        ingress: [
          {
            ...from('Accept', pods('friend')),
            protocols: [
              { tcp: { destinationPort: { number: 80 } } },
              { udp: { destinationPort: { range: { start: 100, end: 200 } } } },
              { destinationNamedPort: 'admin' },
            ],
          },
          from('Deny', everyPod),
        ],
      }),
    );
    expect(await portsUnlike('open', [friend, one], 'tcp:80')).toEqual([]);
    expect(await portsUnlike('refused', [friend, one], 'udp:100', 'udp:150', 'udp:200', 'tcp:9000')).toEqual(
      [],
    );
    expect(await portsUnlike('refused', [friend, two], 'tcp:9001')).toEqual([]);
    expect(
      await portsUnlike('blocked', [friend, one], 'udp:80', 'udp:99', 'udp:201', 'tcp:100', 'tcp:9001'),
    ).toEqual([]);
    expect(await portsUnlike('blocked', [friend, two], 'tcp:9000', 'udp:53')).toEqual([]);
  });
});

describe('v1alpha1, in YAML', () => {
  const ADMIN = `
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: { name: tenants }
spec:
  priority: 30
  subject: { namespaces: { matchLabels: { kubernetes.io/metadata.name: prod } } }
  ingress:
    - action: Allow
      from: [{ pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: friend } } } }]
      ports: [{ portNumber: { protocol: TCP, port: 80 } }, { portRange: { protocol: UDP, start: 50, end: 60 } }]
    - action: Pass
      from: [{ namespaces: { matchLabels: { kubernetes.io/metadata.name: prod } } }]
    - action: Deny
      from: [{ namespaces: {} }]
`;
  const BASELINE = `
apiVersion: policy.networking.k8s.io/v1alpha1
kind: BaselineAdminNetworkPolicy
metadata: { name: default }
spec:
  subject: { namespaces: {} }
  ingress:
    - action: Deny
      from: [{ pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: foe } } } }]
`;

  it('AdminNetworkPolicy and BaselineAdminNetworkPolicy are taken, and mean what they say', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const [web, near, foe] = [await pod('web', 'prod'), await pod('near', 'prod'), await pod('foe', 'prod')];
    const [friend, other] = [await pod('friend'), await pod('other')];
    const { status, json } = await site().rest.applyYaml(`${ADMIN}---${BASELINE}`);
    expect(status).toBe(200);
    expect(json).toMatchObject({
      policies: [
        {
          kind: 'ClusterNetworkPolicy',
          metadata: { name: 'tenants' },
          spec: { tier: 'Admin', priority: 30 },
        },
        { kind: 'ClusterNetworkPolicy', metadata: { name: 'default' }, spec: { tier: 'Baseline' } },
      ],
    });
    expect(await portsUnlike('open', [friend, web], 'tcp:80', 'udp:53')).toEqual([]);
    expect(await portsUnlike('blocked', [friend, web], 'tcp:81', 'udp:61')).toEqual([]);
    expect(await unlikeBoth('open', [near, web], [web, other])).toEqual([]);
    expect(await unlikeBoth('blocked', [other, web], [foe, web], [foe, other])).toEqual([]);
    // The tier between them has the last word where it isolates.
    await site().rest.apply({
      name: 'foe',
      namespace: 'prod',
      spec: { ...app('web'), ingress: [{ from: [app('foe')] }] },
    });
    expect(await unlikeBoth('open', [foe, web])).toEqual([]);
    expect(await unlikeBoth('blocked', [near, web])).toEqual([]);
  });

  it('one bad document keeps all of them out', async () => {
    const { web, foe } = await scene();
    const answer = await site().rest.applyYaml(
      `${BASELINE}---${ADMIN.replace('action: Pass', 'action: Maybe')}`,
    );
    expect([answer.status, errorOf(answer).code]).toEqual([422, 'INVALID_POLICY']);
    expect(errorOf(answer).details).toEqual([
      { path: '[1].spec.ingress[1].action', message: expect.any(String) },
    ]);
    expect(await unlikeBoth('open', [foe, web])).toEqual([]);
  });
});
