/** What does not fit into the kernel's tables is refused as a whole, and what fits costs no more than its identities. */
import { describe, expect, it } from 'vitest';
import { PORTS_MAX } from '../../src/model/endpoint.js';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { policies } from '../../src/store/tables.js';
import { networkPolicy } from '../support/policy-objects.js';
import { unlikeBoth } from '../support/reach.js';
import { type Answer, errorOf } from '../support/rest.js';
import { useSite } from '../support/site.js';

/** The smallest tables that the settings allow. */
const ENTRIES = 1024;
const SUBJECTS = 256;
const PORT_NAMES = 256;

const site = useSite({
  settings: {
    policy_max: ENTRIES,
    policy_cidrs_max: ENTRIES,
    subjects_max: SUBJECTS,
    port_names_max: PORT_NAMES,
  },
});

const app = (name: string) => ({ podSelector: { matchLabels: { app: name } } });
const labelled = (name: string) => site().container(name, 'blue', { labels: { app: name } });
const count = (length: number) => [...Array(length).keys()];
const inForce = networkPolicy('from-b', { ...app('a'), ingress: [{ from: [app('b')] }] });

async function scene() {
  await site().network('blue', { isolation_mode: 'peer', cidr: '10.60.0.0/16' });
  const scene = { a: await labelled('a'), b: await labelled('b'), c: await labelled('c') };
  await site().rest.applyAll(inForce);
  return scene;
}

function post(...items: object[]): Promise<Answer> {
  return site().rest.call('POST', '/policies', { apiVersion: 'v1', kind: 'List', items });
}

/** As many ports as the table has entries, each of them an entry; from everybody, which must not come true. */
const ports = networkPolicy('ports', {
  ...app('a'),
  ingress: count(ENTRIES / 64).map((rule) => ({
    ports: count(64).map((port) => ({ port: 2 * (64 * rule + port) + 1 })),
  })),
});
/** As many ranges as their table has entries. */
const blocks = networkPolicy('ranges', {
  ...app('a'),
  ingress: count(ENTRIES / 64 + 1).map((rule) => ({
    from: count(64).map((part) => ({ ipBlock: { cidr: `10.${60 + rule}.${part}.0/24` } })),
    ports: [{ port: 80 }],
  })),
});

/** What the daemon, which must not run, has recorded. */
async function withStore<T>(use: (store: EmbeddedStore) => Promise<T>): Promise<T> {
  const store = await EmbeddedStore.open(site().daemon.path('state'));
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

describe('a set of policies that does not fit', () => {
  it.each([
    ['for its entries', ports],
    ['for its ranges', blocks],
  ])('%s is refused as a whole, and nothing has changed', async (_, tooLarge) => {
    const { a, b, c } = await scene();
    using stream = await b.stream(a);
    const before = await site().state();
    // With it comes one that fits and would open what is closed: it is refused too.
    const fits = networkPolicy('from-c', { ...app('a'), ingress: [{ from: [app('c')] }] });
    const shuts = networkPolicy('from-b', { ...app('a'), ingress: [] });
    const answer = await post(fits, shuts, tooLarge);
    expect([answer.status, errorOf(answer).code]).toEqual([503, 'INSUFFICIENT_CAPACITY']);
    expect(await site().state()).toEqual(before);
    expect(await stream.echoes()).toBe(true);
    expect(await unlikeBoth('open', [b, a])).toEqual([]);
    expect(await unlikeBoth('blocked', [c, a])).toEqual([]);
    // Nor does it stand in the way of what fits, or of the next daemon.
    expect((await post(fits)).status).toBe(200);
    expect(await unlikeBoth('open', [b, a], [c, a])).toEqual([]);
    await site().daemon.restart();
    expect(await unlikeBoth('open', [b, a], [c, a])).toEqual([]);
  });

  it('a container whose identity does not fit is refused, and leaves nothing behind', {
    timeout: 120_000,
  }, async () => {
    const { a, b, c } = await scene();
    const crowd = site().bare('crowd');
    const connect = (number: number) =>
      site().rest.call('POST', '/networks/blue/containers', {
        container_id: `crowd-${number}`,
        netns_path: crowd.netns.path,
        interface_name: `eth${number}`,
        labels: { number: String(number) },
      });
    let number = 0;
    let answer = await connect(number);
    let before = await site().state();
    while (answer.status === 201 && number < SUBJECTS) {
      number += 1;
      // The state is dear to read: only where the end is near.
      if (number > SUBJECTS - 8) before = await site().state();
      answer = await connect(number);
    }
    expect([answer.status, errorOf(answer).code]).toEqual([503, 'INSUFFICIENT_CAPACITY']);
    expect(await site().state()).toEqual(before);
    expect(await unlikeBoth('open', [b, a])).toEqual([]);
    expect(await unlikeBoth('blocked', [c, a])).toEqual([]);
  });
});

it('a set that was recorded last, and does not fit beside the one in force, is in force at the next start', {
  timeout: 120_000,
}, async () => {
  const { a, b, c } = await scene();
  const { daemon, rest } = site();
  const key: [string, string] = ['default', 'many'];
  // Three quarters of the entries each, none of them in both.
  const many = (parity: number, client: string) => [
    { from: [app(client)] },
    ...count((3 * ENTRIES) / 4 / 64).map((rule) => ({
      from: [app('b')],
      ports: count(64).map((port) => ({ port: 20_000 + 4 * (64 * rule + port) + 2 * parity })),
    })),
  ];
  const first = networkPolicy('many', { ...app('a'), ingress: many(0, 'b') });
  const second = networkPolicy('many', { ...app('a'), ingress: many(1, 'c') });
  await rest.deletePolicy('from-b');
  await rest.applyAll(second);
  await daemon.kill();
  const recorded = await withStore(async (store) => store.get(policies, key));
  await daemon.start();
  await rest.deletePolicy('many');
  await rest.applyAll(first);
  expect(await unlikeBoth('open', [b, a])).toEqual([]);
  expect(errorOf(await post(second)).code).toBe('INSUFFICIENT_CAPACITY');
  await daemon.kill();
  await withStore((store) =>
    store.transaction((transaction) => {
      if (recorded === undefined) throw new Error('nothing was recorded');
      transaction.put(policies, key, recorded);
    }),
  );

  await daemon.start();

  expect(await unlikeBoth('open', [c, a])).toEqual([]);
  expect(await unlikeBoth('blocked', [b, a])).toEqual([]);
});

it('a container whose named ports do not fit is refused, and leaves nothing behind', async () => {
  const { a, b, c } = await scene();
  const crowd = site().bare('crowd');
  const ports = count(PORTS_MAX).map((port) => ({ name: `p${port}`, container_port: 1000 + port }));
  const connect = (number: number) =>
    site().rest.call('POST', '/networks/blue/containers', {
      container_id: `crowd-${number}`,
      netns_path: crowd.netns.path,
      interface_name: `eth${number}`,
      ports,
    });
  for (const number of count(PORT_NAMES / PORTS_MAX)) expect((await connect(number)).status).toBe(201);
  const before = await site().state();
  const answer = await connect(PORT_NAMES);
  expect([answer.status, errorOf(answer).code]).toEqual([503, 'INSUFFICIENT_CAPACITY']);
  expect(await site().state()).toEqual(before);
  expect(await unlikeBoth('open', [b, a])).toEqual([]);
  expect(await unlikeBoth('blocked', [c, a])).toEqual([]);
});

it('thirty containers with the same labels need the entries of three', async () => {
  await site().network('blue', { isolation_mode: 'peer' });
  const peers = [app('same'), { ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] } }];
  const ports = [{ port: 80, endPort: 90 }, { port: 'web' }];
  const rules = { ingress: [{ from: peers, ports }], egress: [{ to: peers, ports }] };
  await site().rest.apply({ name: 'same', spec: { ...app('same'), ...rules } });
  const crowd = site().bare('crowd');
  const connect = (number: number) =>
    site().rest.connect('blue', {
      container_id: `same-${number}`,
      netns_path: crowd.netns.path,
      interface_name: `eth${number}`,
      labels: { app: 'same' },
    });
  const entries = async () => {
    const { policy, policy_subjects } = (await site().state()).maps;
    return { policy, policy_subjects };
  };
  for (const number of count(3)) await connect(number);
  const three = await entries();
  expect(three.policy_subjects?.length).toBe(1);
  for (const number of count(27)) await connect(3 + number);
  expect(await entries()).toEqual(three);
});
