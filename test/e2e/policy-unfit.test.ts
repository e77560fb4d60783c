/** Recorded policies that the kernel's tables have no room for, whatever is withdrawn, when the daemon starts. */
import { expect, it } from 'vitest';
import { EmbeddedStore } from '../../src/store/embedded.js';
import type { Transaction } from '../../src/store/store.js';
import { policies } from '../../src/store/tables.js';
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

const KEY: [string, string] = ['default', 'exceptions'];
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
async function record(change: (transaction: Transaction) => void): Promise<void> {
  const store = await EmbeddedStore.open(site().daemon.path('state'));
  try {
    await store.transaction(change);
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
  await record((transaction) => {
    const object: Record<string, unknown> = { ...exceptions };
    transaction.put(policies, KEY, {
      kind: 'NetworkPolicy',
      object,
      created_at: new Date().toISOString(),
    });
  });

  await daemon.start();

  expect(await rest.expect('GET', '/readyz')).toMatchObject({
    ready: true,
    policies: { identities_cut_off: 1, message: expect.stringContaining('policy_cidrs_max') },
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
