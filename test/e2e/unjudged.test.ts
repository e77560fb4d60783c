/**
 * Frames that the kernel takes past from_container: a container that sends them through an ifb device of its own has
 * them marked as classified already. What no program has judged reaches nobody, not even if it is sent to everyone.
 */
import { rmSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { Container } from '../support/containers.js';
import { passBy } from '../support/pass-by.js';
import { useSite } from '../support/site.js';

const site = useSite();

const PORT = '5000';
const EVERYONE = '255.255.255.255';

async function scene(): Promise<Container> {
  await site().network('blue', { isolation_mode: 'none' });
  const a = await site().container('a', 'blue');
  await a.output('ip', 'route', 'replace', `${EVERYONE}/32`, 'dev', 'eth0');
  return a;
}

it('a broadcast past the program reaches no socket of the host', async () => {
  const a = await scene();
  const host = await site().host.start('groups', 'join', 'lo', EVERYONE, PORT).ready();
  await passBy(a);

  await a.cast(EVERYONE, PORT, 'past');

  await expect.poll(() => site().packets({ reason: 'UNJUDGED' })).toBeGreaterThan(0);
  expect(await site().packets({ container: a, reason: 'BROADCAST' })).toBe(0);
  expect(await host.find((line) => line === 'past', 300)).toBeUndefined();
});

it('root in the container cannot take the guard away, and a daemon that starts puts it back', async () => {
  const a = await scene();
  await passBy(a);
  const guarded = async () => {
    const before = await site().packets({ reason: 'UNJUDGED' });
    await a.cast(EVERYONE, PORT, 'past');
    await expect.poll(() => site().packets({ reason: 'UNJUDGED' })).toBeGreaterThan(before);
  };
  await guarded();

  await a.output('ip', 'link', 'del', 'ifb0');
  await a.output('tc', 'qdisc', 'del', 'dev', 'eth0', 'clsact');
  await a.output('tc', 'qdisc', 'replace', 'dev', 'eth0', 'root', 'pfifo_fast');
  await a.output('ip', 'link', 'set', 'eth0', 'down');
  await a.output('ip', 'link', 'set', 'eth0', 'up');
  await a.output('ip', 'route', 'replace', `${EVERYONE}/32`, 'dev', 'eth0');
  await passBy(a);
  await guarded();

  await site().daemon.kill();
  rmSync(`${site().daemon.bpffs}/links/${a.endpoint.host_interface}_leave_container`);
  await site().daemon.start();
  await guarded();
});
