/**
 * Kernels without TCX, of which this one is made one for the daemon: filters that somebody removes, replaces or puts others
 * before are put right while it runs.
 */
import { afterEach, expect, it } from 'vitest';
import type { Readiness } from '../../src/model/health.js';
import { clsactLine, type Direction } from '../../src/native/bpf.js';
import { type Container, unlike } from '../support/containers.js';
import { parseMetrics } from '../support/prometheus-text.js';
import { useSite } from '../support/site.js';
import { lineAt, Stranger } from '../support/stranger.js';
import { trafficProgram } from '../support/traffic.js';

const site = useSite({ settings: { uplink: 'auto' }, wrapper: [trafficProgram('without_tcx')] });

const SOON = { timeout: 15_000, interval: 50 };
const ETHER_IP = [0x0800, 0x86dd];

let stranger: Stranger | undefined;
afterEach(() => {
  stranger?.[Symbol.dispose]();
  stranger = undefined;
});

/** Ids of the programs of the filters there, the first first. */
function filters(device: string, direction: Direction): number[] {
  const { net } = site().host.netns;
  const index = net.link(device)?.index ?? 0;
  return net.run(() => clsactLine(index, direction).map(({ programId }) => programId));
}

async function repairs(): Promise<Record<string, number>> {
  const { text } = await site().rest.call('GET', '/metrics');
  const own = parseMetrics(text).series.filter(
    ({ name, value }) => name === 'quantum_link_repairs_total' && value > 0,
  );
  return Object.fromEntries(own.map(({ labels, value }) => [`${labels.program} ${labels.lost}`, value]));
}
/** What was put right since a look before. */
async function since(before: Record<string, number>): Promise<Record<string, number>> {
  const now = await repairs();
  return Object.fromEntries(
    Object.entries(now).flatMap(([key, value]) =>
      value > (before[key] ?? 0) ? [[key, value - (before[key] ?? 0)]] : [],
    ),
  );
}

const tc = (...args: string[]) => site().host.output('tc', ...args);

/** Whether a datagram of the host reaches the container, whose policy does not let it. */
async function arrives(to: Container): Promise<boolean> {
  const capture = await to.capture();
  await site().host.dial(to, { protocol: 'udp', expected: 'blocked' });
  return (await capture.stop()).some(({ type }) => ETHER_IP.includes(type));
}

/** A container that nobody may reach, and what is on its interface. */
async function scene() {
  await site().network('blue');
  const a = await site().container('a', 'blue');
  const device = a.endpoint.host_interface;
  const hooks = () => [filters(device, 'ingress'), filters(device, 'egress')];
  expect(lineAt(site().host.netns, device, 'egress')).toEqual([]);
  expect(await arrives(a)).toBe(false);
  const before = hooks();
  expect(before.map(({ length }) => length)).toEqual([1, 1]);
  return { a, device, hooks, before, counted: await repairs() };
}

it.each([
  ['one filter', (device: string) => tc('filter', 'del', 'dev', device, 'egress'), ['to_container']],
  [
    'the queueing discipline with both',
    (device: string) => tc('qdisc', 'del', 'dev', device, 'clsact'),
    ['from_container', 'to_container'],
  ],
])('%s of a container is removed: it is soon there again, and told of', async (_, remove, programs) => {
  const { a, device, hooks, before, counted } = await scene();
  await remove(device);
  await expect.poll(hooks, SOON).toEqual(before);
  expect(await arrives(a)).toBe(false);
  await expect
    .poll(() => since(counted), SOON)
    .toEqual(Object.fromEntries(programs.map((name) => [`${name} link`, 1])));
  await expect.poll(() => site().daemon.log, SOON).toContain('programs were taken off: they are there again');
});

it('the filter of somebody else that passes everything before ours soon decides no more', async () => {
  const { a, device, hooks, before, counted } = await scene();
  stranger = await Stranger.load('pass');
  stranger.enterByFilter(site().host.netns, device, 'egress');
  const { id } = stranger.program.info();
  await expect.poll(hooks, SOON).toEqual([before[0], [...(before[1] ?? []), id]]);
  expect(await arrives(a)).toBe(false);
  await expect.poll(() => since(counted), SOON).toEqual({ 'to_container position': 1 });
});

it('the filter on the uplink is put back, and answers find the way back again', async () => {
  const outside = await site().outside({ isUplink: true });
  await expect.poll(() => filters('uplink', 'ingress'), SOON).toHaveLength(1);
  await site().network('blue', { isolation_mode: 'none', options: { masquerade: true } });
  const a = await site().container('a', 'blue');
  expect(await unlike('open', 4, [a, outside])).toEqual([]);
  const [before, counted] = [filters('uplink', 'ingress'), await repairs()];
  await tc('qdisc', 'del', 'dev', 'uplink', 'clsact');
  await expect.poll(() => filters('uplink', 'ingress'), SOON).toEqual(before);
  expect(await unlike('open', 4, [a, outside])).toEqual([]);
  await expect.poll(() => since(counted), SOON).toEqual({ 'from_uplink link': 1 });
});

it('the queueing discipline for one hook in its place is replaced, and each program is at its own again', async () => {
  const { a, device, hooks, before, counted } = await scene();
  await tc('qdisc', 'del', 'dev', device, 'clsact');
  await tc('qdisc', 'add', 'dev', device, 'ingress');
  await expect.poll(hooks, SOON).toEqual(before);
  expect(await arrives(a)).toBe(false);
  await expect.poll(() => tc('qdisc', 'show', 'dev', device), SOON).toContain('clsact');
  await expect.poll(() => since(counted), SOON).toEqual({ 'from_container link': 1, 'to_container link': 1 });
});

it('who takes the filters off in a loop is told of, in few lines, until he stops', {
  timeout: 120_000,
}, async () => {
  const { device, hooks, before } = await scene();
  const lines = () => site().daemon.log.split('programs were taken off').length - 1;
  const unrepaired = async () => (await site().rest.expect<Readiness>('GET', '/readyz')).unrepaired;
  const told = lines();
  for (let times = 0; times < 3; times++) {
    await tc('qdisc', 'del', 'dev', device, 'clsact');
    await expect.poll(hooks, SOON).toEqual(before);
  }
  await expect
    .poll(unrepaired, SOON)
    .toMatchObject({ first: expect.arrayContaining([expect.stringContaining('again and again')]) });
  expect(lines() - told).toBeLessThanOrEqual(5);
});

it('what was removed while no daemon ran is there again after its start', async () => {
  const { a, device, hooks } = await scene();
  await site().daemon.kill();
  await tc('qdisc', 'del', 'dev', device, 'clsact');
  await site().daemon.start();
  expect(hooks().map(({ length }) => length)).toEqual([1, 1]);
  expect(await arrives(a)).toBe(false);
});
