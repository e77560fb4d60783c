/** What somebody takes away of our links and pins while the daemon runs: nothing passes by that, and it is put back. */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { BpfLink, tcxSupported } from '../../src/native/bpf.js';
import { type Container, unlike } from '../support/containers.js';
import { passBy } from '../support/pass-by.js';
import { parseMetrics } from '../support/prometheus-text.js';
import { useSite } from '../support/site.js';

const site = useSite({ settings: { uplink: 'auto', xdp: 'native' } });

const PORT = '5000';
const EVERYONE = '255.255.255.255';
/** The daemon looks every 5 s. */
const SOON = { timeout: 15_000, interval: 100 };

const links = () => join(site().daemon.bpffs, 'links');
const names = () => readdirSync(links()).sort();
const guardOf = ({ endpoint }: Container) => `${endpoint.host_interface}_leave_container`;

function info(name: string) {
  using link = BpfLink.fromPin(join(links(), name));
  return link.info();
}

/** How often that was lost, of each program. */
async function repairs(lost: string): Promise<Record<string, number>> {
  const { text } = await site().rest.call('GET', '/metrics');
  const own = parseMetrics(text).series.filter(
    ({ name, labels }) => name === 'quantum_link_repairs_total' && labels.lost === lost,
  );
  return Object.fromEntries(own.map(({ labels, value }) => [labels.program ?? '', value]));
}

/** A container whose frames the kernel takes past from_container. */
async function past(): Promise<{ a: Container; guarded: () => Promise<void> }> {
  await site().network('blue', { isolation_mode: 'none' });
  const a = await site().container('a', 'blue');
  await a.output('ip', 'route', 'replace', `${EVERYONE}/32`, 'dev', 'eth0');
  await passBy(a);
  const guarded = async () => {
    const before = await site().packets({ reason: 'UNJUDGED' });
    await a.cast(EVERYONE, PORT, 'past');
    await expect.poll(() => site().packets({ reason: 'UNJUDGED' })).toBeGreaterThan(before);
  };
  return { a, guarded };
}

// Without TCX there is no guard, and what is pinned is XDP's and the sockets'.
if (tcxSupported()) {
  it('a guard whose pin is removed guards on, and is pinned again', async () => {
    const { a, guarded } = await past();
    const name = guardOf(a);
    const { id } = info(name);
    const before = await repairs('pin');
    rmSync(join(links(), name));
    await guarded();
    await expect.poll(names, SOON).toContain(name);
    expect(info(name).id).toBe(id);
    expect(await repairs('pin')).toEqual({ ...before, leave_container: (before.leave_container ?? 0) + 1 });
    await expect.poll(() => site().daemon.log, SOON).toContain(name);
    await site().daemon.kill();
    const heard = await site().host.start('groups', 'join', 'lo', EVERYONE, PORT).ready();
    await a.cast(EVERYONE, PORT, 'past');
    expect(await heard.find((line) => line === 'past', 300)).toBeUndefined();
  });

  it('a guard that was ended is attached again, and so is one in whose place another is', async () => {
    const { a, guarded } = await past();
    const name = guardOf(a);
    const { id } = info(name);
    const before = await repairs('link');
    {
      using link = BpfLink.fromPin(join(links(), name));
      link.detach();
    }
    rmSync(join(links(), name));
    {
      using other = BpfLink.fromPin(join(links(), `${a.endpoint.host_interface}_to_container`));
      other.pin(join(links(), name));
    }
    const isBack = () => info(name).id !== id && info(name).ifindex === a.netns.net.link('eth0')?.index;
    await expect.poll(isBack, SOON).toBe(true);
    await guarded();
    await expect
      .poll(() => repairs('link'), SOON)
      .toEqual({ ...before, leave_container: (before.leave_container ?? 0) + 1 });
  });

  it('all pins can be removed at once: no program is off for a moment', async () => {
    await site().outside({ isUplink: true });
    const uplinkIs = () => names().some((name) => name.startsWith('uplink_xdp-'));
    await expect.poll(uplinkIs, SOON).toBe(true);
    await site().network('blue', { isolation_mode: 'none' });
    const [a, b] = [await site().container('a', 'blue'), await site().container('b', 'blue')];
    const ids = () => names().map((name) => [name, info(name).id]);
    const before = ids();
    const programs = new Set(before.map(([name]) => String(name).replace(/^qn[0-9a-f]{8}_|-[0-9]+$/g, '')));
    expect([...programs]).toEqual(
      expect.arrayContaining([
        'from_container',
        'leave_container',
        'from_uplink',
        'uplink_xdp',
        'node_connect4',
      ]),
    );
    const lost = await repairs('link');
    removeAll(links());
    expect(await unlike('open', 4, [a, b], [b, a])).toEqual([]);
    await expect.poll(() => existsSync(links()) && names().length, SOON).toBe(before.length);
    expect(ids()).toEqual(before);
    expect(await repairs('link')).toEqual(lost);
  });

  it('what cannot be put back is told once, and keeps nobody else from being looked after', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const [a, b] = [await site().container('a', 'blue'), await site().container('b', 'blue')];
    // Not the interface that was made for it: that MAC address is another's.
    await a.output('ip', 'link', 'set', 'eth0', 'address', '06:00:00:00:00:77');
    for (const container of [a, b]) {
      using link = BpfLink.fromPin(join(links(), guardOf(container)));
      link.detach();
    }
    const isBack = (container: Container) =>
      info(guardOf(container)).ifindex === container.netns.net.link('eth0')?.index;
    await expect.poll(() => isBack(b), SOON).toBe(true);
    expect(isBack(a)).toBe(false);
    const toldTimes = () => site().daemon.log.split('could not be put back').length - 1;
    await expect.poll(toldTimes, SOON).toBe(1);
    await a.output('ip', 'link', 'set', 'eth0', 'address', a.endpoint.mac_address);
    await expect.poll(() => isBack(a), SOON).toBe(true);
    expect(toldTimes()).toBe(1);
  });
} else {
  it('hooks of sockets whose pins are removed are pinned again', async () => {
    const before = names();
    for (const name of before) rmSync(join(links(), name));
    await expect.poll(names, SOON).toEqual(before);
    expect(await repairs('link')).toMatchObject({ node_connect: 0 });
  });
}

/** The daemon pins again what is removed first while the rest is. */
function removeAll(directory: string): void {
  for (;;) {
    try {
      rmSync(directory, { recursive: true, force: true });
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY') throw error;
    }
  }
}
