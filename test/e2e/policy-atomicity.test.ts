/** A change of policy is one moment: before it the old set counts whole, after it the new one. */
import { describe, expect, it } from 'vitest';
import {
  type Container,
  FAMILIES,
  type Family,
  lastWords,
  TCP_PORT,
  UDP_PORT,
} from '../support/containers.js';
import type { Lines } from '../support/lines.js';
import { connectionsOf } from '../support/node-state.js';
import { networkPolicy } from '../support/policy-objects.js';
import { useSite } from '../support/site.js';

const site = useSite();

const SWAPS = 1000;
const PER_SECOND = 50;
const BYTES_PER_MS = 20;
const TRANSFER_BYTES = 256 << 20;
const STREAM_PORTS = { 4: 504, 6: 506 };
const POLICY_REASONS = [
  'POLICY_EGRESS',
  'POLICY_INGRESS',
  'POLICY_MISSING',
  'CONNECTION_CUT',
  'NO_CONNECTION',
];

const app = (name: string) => ({ podSelector: { matchLabels: { app: name } } });
const labelled = (name: string) => site().container(name, 'blue', { labels: { app: name } });
const RANGES = ['10.60.1.0/24', 'fd00:60:1::/64'];
const ranges = (except: readonly string[] = []) =>
  RANGES.map((cidr) => ({
    ipBlock: { cidr, except: except.filter((part) => part.includes(':') === cidr.includes(':')) },
  }));
const hostRanges = (container: Container) =>
  FAMILIES.map((family) => `${container.address(family)}/${family === 4 ? 32 : 128}`);

/** Both let b reach a, and neither lets c: one because a does not let it in, the other because c may not send. */
function variants(c: Container): readonly (readonly object[])[] {
  const ports = [
    { port: 1, endPort: 1000 },
    { protocol: 'UDP', port: UDP_PORT },
  ];
  const single = [TCP_PORT, STREAM_PORTS[4], STREAM_PORTS[6]].map((port) => ({ port }));
  const egress = (rules: object[]) => ({ policyTypes: ['Egress'], egress: rules });
  return [
    [
      networkPolicy('a', { ...app('a'), ingress: [{ from: [app('b')], ports }] }),
      networkPolicy('b', { ...app('b'), ...egress([{ to: [app('a')] }]) }),
      networkPolicy('c', { ...app('c'), ...egress([{}]) }),
    ],
    [
      networkPolicy('a', {
        ...app('a'),
        ingress: [{ from: ranges(), ports: single }, { ports: [{ protocol: 'UDP' }] }],
      }),
      networkPolicy('b', { ...app('b'), ...egress([{ to: ranges(hostRanges(c)) }]) }),
      networkPolicy('c', { ...app('c'), ...egress([{ to: [app('b')] }]) }),
    ],
  ];
}

interface Traffic {
  /** Ends it, and gives the account of it. */
  finish(): Promise<Record<string, unknown>>;
}

/** New calls and an open stream from b to a: nothing of either may be lost. */
async function allowed(a: Container, b: Container, family: Family): Promise<Traffic> {
  const address = a.address(family);
  const port = String(STREAM_PORTS[family]);
  const sink = await a.start('streams', 'sink', port).ready();
  const source = await b.start('streams', 'source', address, port, String(BYTES_PER_MS)).ready();
  const calls = await b
    .start('calls', address, String(TCP_PORT), String(UDP_PORT), String(PER_SECOND))
    .ready();
  const finish = async () => {
    const called = JSON.parse(await lastWords(calls));
    const { sent, error } = JSON.parse(await lastWords(source));
    await sink.ended;
    return { ...called, sent, broken: error, sink: JSON.parse(sink.all.at(-1) ?? '') };
  };
  return { finish };
}

/** Attempts of c to reach a, and what of them arrives. */
async function denied(a: Container, c: Container, family: Family): Promise<Traffic> {
  const watch: Lines = await a.start('probes', 'watch', 'eth0', c.address(family)).ready();
  const send: Lines = await c
    .start('probes', 'send', a.address(family), String(TCP_PORT), String(PER_SECOND))
    .ready();
  const finish = async () => {
    const sent = JSON.parse(await lastWords(send));
    return { ...sent, ...JSON.parse(await lastWords(watch)) };
  };
  return { finish };
}

it(`${SWAPS} changes lose nothing that both sets allow, and let nothing through that both deny`, {
  timeout: 300_000,
}, async () => {
  await site().network('blue');
  const [a, b, c] = [await labelled('a'), await labelled('b'), await labelled('c')];
  const sets = variants(c);
  await site().rest.applyAll(...(sets[0] ?? []));
  const open = await Promise.all(FAMILIES.map((family) => allowed(a, b, family)));
  const shut = await Promise.all(FAMILIES.map((family) => denied(a, c, family)));
  for (let swap = 1; swap <= SWAPS; swap++) await site().rest.applyAll(...(sets[swap % 2] ?? []));

  for (const { finish } of open) {
    const { answered, sent, ...rest } = await finish();
    expect(rest).toEqual({
      failed: 0,
      error: '',
      broken: '',
      sink: { received: sent, intact: true, error: '' },
    });
    expect(answered).toBeGreaterThan(SWAPS / 10);
    expect(sent).toBeGreaterThan(SWAPS);
  }
  // A connection request that were lost would be repeated, and the call answered: the programs count every one.
  for (const container of [a, b]) {
    for (const reason of POLICY_REASONS) {
      expect([container.id, reason, await site().packets({ container, reason })]).toEqual([
        container.id,
        reason,
        0,
      ]);
    }
  }
  for (const { finish } of shut) {
    const { datagrams, ...rest } = await finish();
    expect(rest).toEqual({ syns: datagrams, opened: 0, answered: 0, frames: 0 });
    expect(datagrams).toBeGreaterThan(SWAPS / 10);
  }
  // Each of the two sets has had its turn.
  for (const reason of ['POLICY_EGRESS', 'POLICY_INGRESS']) {
    expect([reason, await site().packets({ container: c, reason })]).toEqual([reason, expect.any(Number)]);
    expect(await site().packets({ container: c, reason })).toBeGreaterThan(0);
  }
});

describe.each(FAMILIES)('a change cuts exactly what it does not allow any more, IPv%i:', (family) => {
  /** A transfer, a connection that says nothing, and one of which nobody but the programs knows any more. */
  async function connect(from: Container, a: Container) {
    const [active, idle] = [await from.stream(a, family), await from.stream(a, family)];
    const sums = active.transfer(TRANSFER_BYTES).catch(() => false);
    await expect.poll(() => active.received, { timeout: 10_000 }).toBeGreaterThan(1 << 20);
    expect(await from.dial(a, { family, protocol: 'udp' })).toBe('open');
    return {
      idle,
      sums,
      active,
      remembered: () => connectionsOf(site().daemon, from.address(family)).length,
      [Symbol.dispose]() {
        active.close();
        idle.close();
      },
    };
  }

  it('one that talks, one that is idle, and one that is only remembered', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    const [a, b, c] = [await labelled('a'), await labelled('b'), await labelled('c')];
    using cut = await connect(b, a);
    using kept = await connect(c, a);
    expect([cut.remembered(), kept.remembered()]).toEqual([3, 3]);
    const ports = [{ port: TCP_PORT }, { protocol: 'UDP', port: UDP_PORT }];
    await site().rest.apply({
      name: 'only-c',
      spec: { ...app('a'), ingress: [{ from: [app('c')], ports }] },
    });
    await expect.poll(cut.remembered, { timeout: 10_000 }).toBe(0);
    expect(await cut.idle.echoes(500)).toBe(false);
    expect(kept.remembered()).toBe(3);
    expect(await kept.idle.echoes()).toBe(true);
    expect(await kept.sums).toBe(true);
    expect(cut.active.received).toBeLessThan(TRANSFER_BYTES);
    for (const reason of POLICY_REASONS) {
      expect([reason, await site().packets({ container: c, reason })]).toEqual([reason, 0]);
    }
    // Taking the change back does not bring back what was cut.
    await site().rest.deletePolicy('only-c');
    expect(await cut.idle.echoes(500)).toBe(false);
    expect(await b.dial(a, { family })).toBe('open');
  });
});
