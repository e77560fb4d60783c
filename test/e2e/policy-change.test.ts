/** Policy changes while containers talk: in force with the next packet, for what is open already too. */
import { describe, expect, it } from 'vitest';
import { type Container, FAMILIES, lastWords, unlike } from '../support/containers.js';
import { connectionsOf } from '../support/node-state.js';
import { useSite } from '../support/site.js';

const site = useSite();

const app = (name: string) => ({ podSelector: { matchLabels: { app: name } } });
const labelled = (id: string, namespace = 'default') =>
  site().container(id, 'blue', { labels: { app: id }, namespace });

/** Only b may reach a. */
const onlyFromB = () =>
  site().rest.apply({ name: 'from-b', spec: { ...app('a'), ingress: [{ from: [app('b')] }] } });
/** Nobody may reach a. */
const fromNobody = () => site().rest.apply({ name: 'from-b', spec: { ...app('a'), ingress: [] } });

describe.each(FAMILIES)('a change takes effect with the next packet, IPv%i:', (family) => {
  it('labels of the source by PATCH, both ways', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    const [a, b] = [await labelled('a'), await labelled('b')];
    await onlyFromB();
    using stream = await b.stream(a, family);
    await b.relabel({ labels: { app: 'other' } });
    expect(await stream.echoes(500)).toBe(false);
    expect(await unlike('blocked', family, [b, a])).toEqual([]);
    await b.relabel({ labels: { app: 'b' } });
    expect(await unlike('open', family, [b, a])).toEqual([]);
  });

  it('labels of the destination by PATCH', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    const [a, b] = [await labelled('x'), await labelled('c')];
    await onlyFromB();
    using stream = await b.stream(a, family);
    await a.relabel({ labels: { app: 'a' } });
    expect(await stream.echoes(500)).toBe(false);
    expect(await unlike('blocked', family, [b, a])).toEqual([]);
  });

  it('the namespace of an endpoint by PATCH', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    const [a, b] = [await labelled('a'), await labelled('b')];
    await onlyFromB();
    using stream = await b.stream(a, family);
    await b.relabel({ namespace: 'prod' });
    expect(await stream.echoes(500)).toBe(false);
    expect(await unlike('blocked', family, [b, a])).toEqual([]);
    // The policy stays behind with its namespace.
    await a.relabel({ namespace: 'prod' });
    expect(await unlike('open', family, [b, a])).toEqual([]);
  });

  it('labels of a namespace', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    const [a, b] = [await labelled('a'), await labelled('b', 'prod')];
    const from = [{ namespaceSelector: { matchLabels: { team: 'ops' } } }];
    await site().rest.apply({ name: 'ops', spec: { ...app('a'), ingress: [{ from }] } });
    expect(await unlike('blocked', family, [b, a])).toEqual([]);
    await site().rest.setNamespace('prod', { team: 'ops' });
    using stream = await b.stream(a, family);
    expect(await unlike('open', family, [b, a])).toEqual([]);
    await site().rest.setNamespace('prod', { team: 'dev' });
    expect(await stream.echoes(500)).toBe(false);
    expect(await unlike('blocked', family, [b, a])).toEqual([]);
  });

  it('a policy that is made, replaced and deleted', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    const [a, b, c] = [await labelled('a'), await labelled('b'), await labelled('c')];
    expect(await unlike('open', family, [b, a], [c, a])).toEqual([]);
    await onlyFromB();
    expect(await unlike('open', family, [b, a])).toEqual([]);
    expect(await unlike('blocked', family, [c, a])).toEqual([]);
    await fromNobody();
    expect(await unlike('blocked', family, [b, a], [c, a])).toEqual([]);
    await site().rest.deletePolicy('from-b');
    expect(await unlike('open', family, [b, a], [c, a])).toEqual([]);
  });
});

describe.each(FAMILIES)('a connection that is no longer allowed is cut, IPv%i:', (family) => {
  it('also while it is idle, and it stays cut when the policy is taken back', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    const [a, b] = [await labelled('a'), await labelled('b')];
    using stream = await b.stream(a, family);
    expect(await stream.echoes()).toBe(true);
    expect(connectionsOf(site().daemon, b.address(family))).not.toEqual([]);
    await fromNobody();
    await expect.poll(() => connectionsOf(site().daemon, b.address(family)), { timeout: 5000 }).toEqual([]);
    await site().rest.deletePolicy('from-b');
    expect(await stream.echoes(500)).toBe(false);
    expect(await site().packets({ container: b, reason: 'NO_CONNECTION' })).toBeGreaterThan(0);
    expect(await unlike('open', family, [b, a])).toEqual([]);
  });

  it('in the middle of a transfer, with both ends silent after it', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    const [a, b] = [await labelled('a'), await labelled('b')];
    using stream = await b.stream(a, family);
    void stream.transfer(1 << 30).catch(() => undefined);
    await expect.poll(() => stream.received, { timeout: 10_000 }).toBeGreaterThan(1 << 20);
    await fromNobody();
    const sizes: number[] = [];
    // What was on its way is read; then nothing comes any more.
    await expect
      .poll(() => {
        sizes.push(stream.received);
        return sizes.length > 5 && sizes.at(-1) === sizes.at(-6);
      })
      .toBe(true);
    expect(stream.received).toBeLessThan(1 << 30);
    // Which one depends on who was first: the next packet, or the search for idle connections.
    const reasons = ['CONNECTION_CUT', 'NO_CONNECTION'].flatMap((reason) =>
      [a, b].map((container) => site().packets({ container, reason })),
    );
    expect((await Promise.all(reasons)).some((packets) => packets > 0)).toBe(true);
  });

  it('UDP with its answers', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    const [a, b] = [await labelled('a'), await labelled('b')];
    // An answer that is late would otherwise open a flow of its own, which is allowed.
    await site().rest.apply({ name: 'silent', spec: { ...app('a'), policyTypes: ['Egress'] } });
    const storm = await b.start('hostile', 'sockets', a.address(family), '53').ready();
    await expect
      .poll(() => site().packets({ container: a, direction: 'egress', reason: 'NONE' }))
      .toBeGreaterThan(10);
    await fromNobody();
    const capture = await b.capture();
    const dropped = await site().packets({ container: b, reason: 'POLICY_INGRESS' });
    await expect
      .poll(() => site().packets({ container: b, reason: 'POLICY_INGRESS' }))
      .toBeGreaterThan(dropped + 1000);
    await lastWords(storm);
    expect(await capture.stop()).toEqual([]);
  });
});

describe.each(FAMILIES)('a connection that stays allowed is not touched, IPv%i:', (family) => {
  /** Changes that leave `b -> a` allowed, by ever other rules. */
  const changes = async (a: Container, b: Container) => {
    for (let round = 0; round < 5; round++) {
      await onlyFromB();
      const ports = (['TCP', 'UDP'] as const).map((protocol) => ({
        protocol,
        port: 1,
        endPort: 1000 + round,
      }));
      await site().rest.apply({ name: 'ports', spec: { ...app('a'), ingress: [{ ports }] } });
      await site().rest.deletePolicy('from-b');
      await a.relabel({ labels: { app: 'a', round: String(round) } });
      await b.relabel({ labels: { app: 'b', round: String(round) } });
      await site().rest.setNamespace('prod', { round: String(round) });
      await onlyFromB();
      await site().rest.deletePolicy('ports');
    }
  };

  it('a transfer in progress comes through whole', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    const [a, b] = [await labelled('a'), await labelled('b')];
    using stream = await b.stream(a, family);
    using idle = await b.stream(a, family);
    expect(await stream.transfer(64 << 20, () => changes(a, b))).toBe(true);
    expect(await idle.echoes()).toBe(true);
    for (const container of [a, b]) {
      expect(await site().packets({ container, reason: 'CONNECTION_CUT' })).toBe(0);
    }
  });

  it('new connections are let through at every moment of a change', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    const [a, b] = [await labelled('a'), await labelled('b')];
    const storm = await b.start('hostile', 'sockets', a.address(family), '53').ready();
    await changes(a, b);
    expect(await lastWords(storm)).toMatch(/^[0-9]{3,} answered$/);
    for (const reason of ['POLICY_EGRESS', 'POLICY_INGRESS', 'POLICY_MISSING', 'CONNECTION_CUT']) {
      expect([reason, await site().packets({ container: b, reason })]).toEqual([reason, 0]);
    }
  });
});

it.each(FAMILIES)(
  'no packet is judged by a mixture of the old rules and the new ones, IPv%i',
  async (family) => {
    await site().network('blue');
    const [a, b] = [await labelled('a'), await labelled('b')];
    // Neither set lets a reach b: one forbids b to receive, the other forbids a to send.
    const apply = (egress: object[], ingress: object[]) =>
      site().rest.apply({
        name: 'swap',
        spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'], egress, ingress },
      });
    const sets = [() => apply([{ to: [app('b')] }], []), () => apply([], [{ from: [app('a')] }])] as const;
    await sets[0]();
    const capture = await b.capture();
    const storms = await Promise.all(
      [53, 80].map((port) => a.start('hostile', 'sockets', b.address(family), String(port)).ready()),
    );
    for (let round = 0; round < 25; round++) for (const set of sets) await set();
    for (const storm of storms) expect(await lastWords(storm)).toMatch(/^[0-9]{3,}$/);
    expect(await capture.stop()).toEqual([]);
    for (const reason of ['POLICY_EGRESS', 'POLICY_INGRESS']) {
      expect(await site().packets({ container: a, reason })).toBeGreaterThan(100);
    }
  },
);

it('of changes of labels at once none undoes another', async () => {
  await site().network('blue', { isolation_mode: 'peer' });
  const a = await labelled('a');
  const path = `/networks/blue/containers/${a.id}`;
  const patch = (label_changes: object) => site().rest.expect('PATCH', path, { label_changes });
  await Promise.all([patch({ x: '1' }), patch({ app: null }), patch({ y: '2' }), patch({ z: '3' })]);
  expect(await site().rest.expect('GET', path)).toMatchObject({ labels: { x: '1', y: '2', z: '3' } });
  const answer = await site().rest.call('PATCH', path, { labels: {}, label_changes: {} });
  expect(answer.status).toBe(400);
});
