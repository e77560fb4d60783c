/** Recorded policies that the kernel's tables have no room for, whatever is withdrawn, when the daemon starts. */
import { describe, expect, it } from 'vitest';
import type { Explanation } from '../../src/model/explanation.js';
import { type Policy, policyRef } from '../../src/model/policy.js';
import type { PortMappingList } from '../../src/model/port-mapping.js';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { policies } from '../../src/store/tables.js';
import type { PolicyPreview } from '../../src/vnet/contract.js';
import { TCP_PORT } from '../support/containers.js';
import { networkPolicy } from '../support/policy-objects.js';
import { unlikeBoth } from '../support/reach.js';
import { useSite } from '../support/site.js';

/** The smallest table that the settings allow. */
const RANGES = 1024;

/** The tables of entries are larger, so that what is recorded is found not to fit by the kernel alone. */
const site = useSite({ settings: { policy_max: 4 * RANGES, policy_cidrs_max: RANGES } });

const app = (name: string) => ({ podSelector: { matchLabels: { app: name } } });
const labelled = (name: string) => site().container(name, 'blue', { labels: { app: name } });
const lets = (client: string, server: string) =>
  networkPolicy(`to-${server}`, { ...app(server), ingress: [{ from: [app(client)] }] });
const count = (length: number) => [...Array(length).keys()];

const exceptions = networkPolicy('exceptions', {
  ...app('a'),
  ingress: count(RANGES / 64).map((rule) => ({
    from: [
      {
        ipBlock: {
          cidr: `10.${60 + rule}.0.0/16`,
          except: count(64).map((part) => `10.${60 + rule}.${part}.0/24`),
        },
      },
    ],
  })),
});

/** Changes what the daemon, which must not run, has recorded. */
async function record(...added: Policy[]): Promise<void> {
  const store = await EmbeddedStore.open(site().daemon.path('state'));
  try {
    await store.transaction((transaction) => {
      for (const policy of added) {
        const { namespace, name } = policyRef(policy);
        const created_at = new Date().toISOString();
        transaction.put(policies, [namespace, name], {
          kind: policy.kind,
          object: { ...policy },
          created_at,
        });
      }
    });
  } finally {
    await store.close();
  }
}

it('cut off those whose they are, as the daemon says, until a policy that goes makes room', {
  timeout: 120_000,
}, async () => {
  const { daemon, rest } = site();
  await site().network('blue', { isolation_mode: 'peer', cidr: '10.60.0.0/16' });
  const [a, b, c] = [await labelled('a'), await labelled('b'), await labelled('c')];
  await rest.applyAll(lets('b', 'a'), lets('b', 'c'));
  expect(await unlikeBoth('open', [b, a], [b, c])).toEqual([]);
  await daemon.kill();
  await record(exceptions);

  await daemon.start();

  expect(await rest.expect('GET', '/readyz')).toMatchObject({
    ready: true,
    policies: {
      identities_cut_off: 1,
      cut_off: [
        {
          identity: a.endpoint.identity,
          network: 'blue',
          namespace: 'default',
          cut_off_by: ['policy_cidrs_max'],
        },
      ],
      message: expect.stringContaining('or raise policy_cidrs_max and restart the node'),
    },
  });
  expect(await unlikeBoth('blocked', [b, a])).toEqual([]);
  expect(await unlikeBoth('open', [b, c])).toEqual([]);

  // What concerns others takes effect, and what concerns it does not let it in by halves.
  await rest.applyAll(lets('a', 'c'));
  await rest.applyAll(networkPolicy('all-to-a', { ...app('a'), ingress: [{}] }));
  expect(await unlikeBoth('blocked', [b, a], [b, c])).toEqual([]);
  await daemon.restart();
  expect(await unlikeBoth('blocked', [b, a], [b, c])).toEqual([]);

  await rest.deletePolicy('all-to-a');
  await rest.deletePolicy('exceptions');
  expect(await unlikeBoth('open', [b, a])).toEqual([]);
  expect(await unlikeBoth('blocked', [c, a])).toEqual([]);
  expect(await rest.expect('GET', '/readyz')).not.toHaveProperty('policies');
});

/** Beside what lets it be reached: so many ranges that nobody comes from. */
const ranges = (server: string, parts: number) =>
  networkPolicy(`ranges-${server}`, {
    ...app(server),
    ingress: count(Math.ceil(parts / 50)).map((rule) => ({
      from: count(Math.min(50, parts - 50 * rule)).map((part) => ({
        ipBlock: { cidr: `10.${200 + rule}.${part}.0/24` },
      })),
    })),
  });
/** And so many ports that nobody serves, a hundred to a rule. */
const ports = (server: string, hundreds: number) =>
  networkPolicy(`ports-${server}`, {
    ...app(server),
    ingress: count(hundreds).map((rule) => ({
      ports: count(100).map((part) => ({ port: 10_001 + 2 * (100 * rule + part) })),
    })),
  });

describe('while somebody is cut off', () => {
  const explain = (from: string, to: string) =>
    site().rest.expect<Explanation>('POST', '/explain', { from, to, port: TCP_PORT });
  const mappings = async () =>
    (await site().rest.expect<PortMappingList>('GET', '/nat/port-mappings')).port_mappings;
  const dryRun = (...items: object[]) =>
    site().rest.expect<PolicyPreview>('POST', '/policies?dry_run=true', {
      ...{ apiVersion: 'v1', kind: 'List', items },
    });

  it('whoever needs nothing that is missing is not, and whoever asks is told who is', {
    timeout: 120_000,
  }, async () => {
    const { daemon, rest } = site();
    await site().network('blue', { isolation_mode: 'full' });
    const [a, b, c, d] = [await labelled('a'), await labelled('b'), await labelled('c'), await labelled('d')];
    const leaves = networkPolicy('leaves', {
      podSelector: {},
      policyTypes: ['Egress'],
      egress: [{}],
    });
    const published = networkPolicy('published', {
      ...app('a'),
      ingress: [{ ports: [{ port: TCP_PORT }] }],
    });
    await rest.applyAll(leaves, lets('b', 'a'), lets('b', 'c'), lets('b', 'd'), published);
    await rest.expect('POST', '/nat/port-mappings', {
      ...{ network: 'blue', container_id: 'a', host_port: 8080, container_port: TCP_PORT },
    });
    expect(await mappings()).toMatchObject([{ reachable_from_outside: true }]);
    await daemon.kill();
    // Who needs more rules than the one who is cut off needs no range.
    await record(ranges('c', 500), ranges('a', 600), ports('d', 13));
    await daemon.start();

    expect(await unlikeBoth('open', [b, c], [b, d])).toEqual([]);
    expect(await unlikeBoth('blocked', [b, a], [a, b])).toEqual([]);
    const cutOff = { cut_off_by: ['policy_cidrs_max'], identity: a.endpoint.identity };
    expect(await rest.expect('GET', '/readyz')).toMatchObject({
      policies: { identities_cut_off: 1, cut_off: [cutOff] },
    });
    expect(await explain('b', 'a')).toMatchObject({
      ...{ verdict: 'dropped', reason: 'POLICY_MISSING', agreed: true },
      egress: { verdict: 'allowed' },
      ingress: { verdict: 'denied', cut_off_by: ['policy_cidrs_max'] },
    });
    expect(await explain('a', 'b')).toMatchObject({
      ...{ verdict: 'dropped', reason: 'POLICY_MISSING', agreed: true },
      egress: { verdict: 'denied', cut_off_by: ['policy_cidrs_max'] },
    });
    expect(await explain('198.51.100.7', 'a')).toMatchObject({ reason: 'POLICY_MISSING', agreed: true });
    expect(await explain('b', 'd')).toMatchObject({ verdict: 'allowed', agreed: true });
    expect(await mappings()).toMatchObject([
      {
        reachable_from_outside: false,
        hint: expect.stringMatching(/cut off.*raise policy_cidrs_max/),
      },
    ]);

    // Nothing that is added changes anything for them, and a dry run tells who they are.
    const whole = await site().state();
    expect(await dryRun(lets('d', 'a'))).toMatchObject({
      changes: [],
      cut_off: [{ ...cutOff, network: 'blue', namespace: 'default', labels: { app: 'a' } }],
      truncated: false,
    });
    // What goes lets them in.
    const { changes, cut_off } = await dryRun(ranges('c', 1));
    expect(cut_off).toEqual([]);
    expect(changes).toContainEqual(
      expect.objectContaining({
        source: expect.objectContaining({ labels: { app: 'b' } }),
        destination: expect.objectContaining({ labels: { app: 'a' } }),
        before: 'denied',
        after: 'allowed',
      }),
    );
    expect(await site().state()).toEqual(whole);

    await rest.applyAll(ranges('c', 400));
    expect(await unlikeBoth('open', [b, a], [b, c], [b, d])).toEqual([]);
    expect(await rest.expect('GET', '/readyz')).not.toHaveProperty('policies');
    expect(await explain('b', 'a')).toMatchObject({ verdict: 'allowed', agreed: true });
    expect(await mappings()).toMatchObject([{ reachable_from_outside: true }]);
  });

  it('a container that goes lets in whoever has waited for its room', {
    timeout: 120_000,
  }, async () => {
    const { daemon, rest } = site();
    await site().network('blue', { isolation_mode: 'peer' });
    const [a, b, c] = [await labelled('a'), await labelled('b'), await labelled('c')];
    await rest.applyAll(lets('b', 'a'), lets('b', 'c'));
    await daemon.kill();
    await record(ranges('c', 500), ranges('a', 600));
    await daemon.start();
    expect(await unlikeBoth('blocked', [b, a])).toEqual([]);
    await c.disconnect();
    expect(await unlikeBoth('open', [b, a])).toEqual([]);
    expect(await rest.expect('GET', '/readyz')).not.toHaveProperty('policies');
    // Its rules are as many as before, and there is no room for them any more.
    await expect(c.connect('blue', { labels: { app: 'c' } })).rejects.toThrow(/INSUFFICIENT_CAPACITY/);
    expect(await unlikeBoth('open', [b, a])).toEqual([]);
  });
});
