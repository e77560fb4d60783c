/** A program of somebody else that is put before ours can see what ours judges, and does not decide for it. */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { u32 } from '../../src/datapath/abi/codec.js';
import { CONFIG } from '../../src/datapath/abi/generated.js';
import type { Readiness } from '../../src/model/health.js';
import { BpfLink, BpfMap, BpfObject, type Direction, tcxSupported } from '../../src/native/bpf.js';
import {
  type Container,
  FAMILIES,
  type Family,
  type Host,
  lastWords,
  unlike,
} from '../support/containers.js';
import { runCtl } from '../support/ctl.js';
import type { TestNetns } from '../support/netns.js';
import { passBy } from '../support/pass-by.js';
import { OBJECT_FOLDER } from '../support/programs.js';
import { parseMetrics } from '../support/prometheus-text.js';
import { useSite } from '../support/site.js';
import { lineAt, Stranger } from '../support/stranger.js';

const site = useSite({ settings: { uplink: 'auto' } });

const PORT = '5000';
const EVERYONE = '255.255.255.255';
/** The daemon looks every 5 s, and at guards each third time. */
const SOON = { timeout: 40_000, interval: 100 };
const ETHER_IP = [0x0800, 0x86dd];

let strangers: Stranger[] = [];
afterEach(() => {
  for (const stranger of strangers) stranger[Symbol.dispose]();
  strangers = [];
});
async function stranger(...[verdict, name]: Parameters<typeof Stranger.load>): Promise<Stranger> {
  const loaded = await Stranger.load(verdict, name);
  strangers.push(loaded);
  return loaded;
}

/** Where one of our programs is. */
interface Place {
  netns: TestNetns;
  device: string;
  direction: Direction;
}
const hostSide = ({ endpoint, daemon }: Container, direction: Direction): Place => ({
  netns: daemon.netns,
  device: endpoint.host_interface,
  direction,
});
const line = ({ netns, device, direction }: Place) => lineAt(netns, device, direction);
const enter = (by: Stranger, { netns, device, direction }: Place) => by.enter(netns, device, direction);

async function series(name: string, labels: Record<string, string>): Promise<number | undefined> {
  const { text } = await site().rest.call('GET', '/metrics');
  return parseMetrics(text).series.find(
    (one) =>
      one.name === name && Object.entries(labels).every(([label, value]) => one.labels[label] === value),
  )?.value;
}
const moves = (program: string) => series('quantum_link_repairs_total', { program, lost: 'position' });
const preceded = async () => (await site().rest.expect<Readiness>('GET', '/readyz')).preceded;

/** Whether a datagram of the host reaches the container: nothing of it may. */
async function arrives(from: Host, to: Container, family: Family): Promise<boolean> {
  const capture = await to.capture();
  await from.dial(to, { protocol: 'udp', expected: 'blocked', family });
  return (await capture.stop()).some(({ type }) => ETHER_IP.includes(type));
}

describe.skipIf(!tcxSupported())('before ours is one that passes everything,', () => {
  it.each(FAMILIES)('to a container: soon it does not decide any more, IPv%i', async (family) => {
    await site().network('blue');
    const a = await site().container('a', 'blue');
    expect(await arrives(site().host, a, family)).toBe(false);
    const before = (await moves('to_container')) ?? 0;
    const place = hostSide(a, 'egress');
    enter(await stranger('pass'), place);
    expect(line(place)).toEqual(['first', 'to_container']);
    // What this is about.
    expect(await arrives(site().host, a, family)).toBe(true);
    await expect.poll(() => line(place), SOON).toEqual(['to_container', 'first']);
    expect(await arrives(site().host, a, family)).toBe(false);
    expect(await moves('to_container')).toBe(before + 1);
    await expect.poll(() => site().daemon.log, SOON).toContain('had been put before ours');
    expect(await preceded()).toBeUndefined();
  });

  it('of a container: soon the node hears nothing any more that ours drops', async () => {
    await site().network('blue');
    const a = await site().container('a', 'blue');
    await a.output('ip', 'route', 'replace', `${EVERYONE}/32`, 'dev', 'eth0');
    const heard = await site().host.start('groups', 'join', 'lo', EVERYONE, PORT).ready();
    const place = hostSide(a, 'ingress');
    enter(await stranger('pass'), place);
    await a.cast(EVERYONE, PORT, 'past');
    expect(await heard.find((text) => text === 'past', 5000)).toBe('past');
    await expect.poll(() => line(place), SOON).toEqual(['from_container', 'first']);
    await a.cast(EVERYONE, PORT, 'judged');
    expect(await heard.find((text) => text === 'judged', 300)).toBeUndefined();
    expect(await site().packets({ container: a, reason: 'BROADCAST' })).toBeGreaterThan(0);
  });

  it("on the container's side: soon ours is the first there too, and guards", async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const a = await site().container('a', 'blue');
    await a.output('ip', 'route', 'replace', `${EVERYONE}/32`, 'dev', 'eth0');
    await passBy(a);
    const unjudged = () => site().packets({ reason: 'UNJUDGED' });
    const place: Place = { netns: a.netns, device: 'eth0', direction: 'egress' };
    const other = await stranger('pass');
    enter(other, place);
    expect(line(place)).toEqual(['first', 'leave_container']);
    await expect.poll(() => line(place), SOON).toEqual(['leave_container', 'first']);
    // It would keep frames from being sent the other way.
    other.leave();
    const before = await unjudged();
    await a.cast(EVERYONE, PORT, 'past');
    await expect.poll(unjudged).toBeGreaterThan(before);
  });

  it('on the uplink: soon answers find the way back again', async () => {
    const outside = await site().outside({ isUplink: true });
    const place: Place = { netns: site().daemon.netns, device: 'uplink', direction: 'ingress' };
    await expect.poll(() => line(place), SOON).toEqual(['from_uplink']);
    await site().network('blue', { isolation_mode: 'none', options: { masquerade: true } });
    const a = await site().container('a', 'blue');
    expect(await unlike('open', 4, [a, outside])).toEqual([]);
    enter(await stranger('pass'), place);
    expect(await unlike('blocked', 4, [a, outside])).toEqual([]);
    await expect.poll(() => line(place), SOON).toEqual(['from_uplink', 'first']);
    expect(await unlike('open', 4, [a, outside])).toEqual([]);
  });

  it('on the uplink and at a container, when the pins of all maps are gone: ours goes first with the maps that it has', async () => {
    const outside = await site().outside({ isUplink: true });
    const uplink: Place = { netns: site().daemon.netns, device: 'uplink', direction: 'ingress' };
    await expect.poll(() => line(uplink), SOON).toEqual(['from_uplink']);
    await site().network('blue', { isolation_mode: 'none', options: { masquerade: true } });
    const a = await site().container('a', 'blue');
    expect(await unlike('open', 4, [a, outside])).toEqual([]);
    const maps = `${site().daemon.bpffs}/maps`;
    for (const name of readdirSync(maps)) rmSync(`${maps}/${name}`);
    const observer = await stranger('next');
    for (const place of [uplink, hostSide(a, 'egress')]) {
      enter(observer, place);
      await expect.poll(() => line(place)[0], SOON).not.toBe('first');
    }
    expect(await unlike('open', 4, [a, outside], [site().host, a])).toEqual([]);
    expect(readdirSync(maps)).toEqual([]);
    // It pins maps again, and leaves the node as others find it.
    await site().daemon.kill();
    await site().daemon.start();
  });
});

describe.skipIf(!tcxSupported())('before ours is one that only looks:', () => {
  it('no packet passes while ours goes before it, nor is one lost that may pass', async () => {
    await site().network('blue');
    await site().network('green', { isolation_mode: 'none' });
    const [closed, open] = [await site().container('a', 'blue'), await site().container('b', 'green')];
    const places = [hostSide(closed, 'egress'), hostSide(open, 'egress'), hostSide(open, 'ingress')];
    const observer = await stranger('next');
    const capture = await closed.capture();
    const storm = await site().host.start('hostile', 'sockets', closed.address(4), '53').ready();
    const calls = await site().host.start('calls', open.address(4), '80', '53', '200').ready();
    for (let round = 0; round < 2; round++) {
      for (const place of places) enter(observer, place);
      await expect
        .poll(() => places.map((place) => line(place)[0]), SOON)
        .toEqual(['to_container', 'to_container', 'from_container']);
      observer.leave();
    }
    expect(observer.seen).toBeGreaterThan(0);
    expect(await lastWords(storm)).toMatch(/^[0-9]{3,}$/);
    expect((await capture.stop()).filter(({ type }) => ETHER_IP.includes(type))).toEqual([]);
    expect(JSON.parse(await lastWords(calls))).toMatchObject({ failed: 0, error: '' });
  });
});

describe.skipIf(!tcxSupported())('while a copy of ours stands before ours,', () => {
  const held: { close(): void }[] = [];
  const leave = () => {
    for (const one of held.splice(0).reverse()) one.close();
  };
  afterEach(leave);
  async function standIn(name: string, { netns, device, direction }: Place) {
    const pinRoot = `${site().daemon.bpffs}/maps`;
    using object = BpfObject.open(join(OBJECT_FOLDER, `${name}.bpf.o`));
    object.setVariable(CONFIG.stands_in.variable, u32.encode(1));
    for (const pin of readdirSync(pinRoot)) {
      using map = BpfMap.fromPin(`${pinRoot}/${pin}`);
      if (object.mapNames.includes(pin)) object.setMaxEntries(pin, map.info.maxEntries);
    }
    await object.load({ pinRoot });
    const program = object.program(name);
    held.push(program);
    const ifindex = netns.net.link(device)?.index ?? 0;
    held.push(netns.net.run(() => BpfLink.attachTcx({ program, ifindex, direction, position: 'first' })));
  }

  it.each([
    ['no limit', {}],
    ['a limit of bandwidth', { options: { bandwidth: { ingress_rate: 100_000_000 } } }],
  ])('everything open stays so, translated or not, and is counted once: %s', async (_, options) => {
    const outside = await site().outside({ isUplink: true });
    const uplink: Place = { netns: site().daemon.netns, device: 'uplink', direction: 'ingress' };
    await expect.poll(() => line(uplink), SOON).toEqual(['from_uplink']);
    await site().network('blue', { isolation_mode: 'none', options: { masquerade: true } });
    const a = await site().container('a', 'blue', options);
    const b = await site().container('b', 'blue');
    const open = () => unlike('open', 4, [a, outside], [b, a], [site().host, a]);
    const call = () => site().host.dial(a, { protocol: 'udp', expected: 'open' });
    const counted = async (doing: () => Promise<unknown>) => {
      const before = await site().packets({ container: a, reason: 'NONE' });
      await doing();
      return (await site().packets({ container: a, reason: 'NONE' })) - before;
    };
    /** The daemon would see a program before its own. */
    const behindCopies = async <T>(doing: () => Promise<T>): Promise<T> => {
      process.kill(site().daemon.pid, 'SIGSTOP');
      try {
        await standIn('to_container', hostSide(a, 'egress'));
        await standIn('from_container', hostSide(a, 'ingress'));
        await standIn('from_uplink', uplink);
        expect(line(hostSide(a, 'egress'))).toEqual(['to_container', 'to_container']);
        return await doing();
      } finally {
        leave();
        process.kill(site().daemon.pid, 'SIGCONT');
      }
    };
    expect(await open()).toEqual([]);
    // What is lost on a busy machine is sent again.
    const once = Math.min(await counted(call), await counted(call), await counted(call));
    expect(once).toBeGreaterThan(0);
    expect(await behindCopies(open)).toEqual([]);
    await expect.poll(() => counted(() => behindCopies(call)), SOON).toBe(once);
  });
});

it.skipIf(!tcxSupported())('who comes back each time is told of, and is gone when he is', async () => {
  await site().network('blue');
  const a = await site().container('a', 'blue');
  const place = hostSide(a, 'egress');
  const [one, two] = [await stranger('next'), await stranger('next', 'second')];
  const before = (await moves('to_container')) ?? 0;
  // Twice ours goes first at once, and then not any more for 10 s.
  for (const by of [one, two]) {
    enter(by, place);
    await expect.poll(() => line(place)[0], SOON).toBe('to_container');
  }
  one.leave();
  enter(one, place);
  await expect.poll(preceded, SOON).toEqual({
    attachments: 1,
    first: [
      {
        pin: `${a.endpoint.host_interface}_to_container`,
        program: 'to_container',
        in_front: [{ id: one.program.info().id, name: 'first' }],
      },
    ],
    message: expect.stringContaining('run before ours'),
  });
  expect(await series('quantum_links_preceded', { program: 'to_container' })).toBe(1);
  expect(await moves('to_container')).toBe(before + 2);
  expect(site().daemon.log).toContain('programs of others run before ours');
  const socket = `${site().daemon.path('run')}/api.sock`;
  expect((await runCtl(['--socket', socket, 'status'])).out).toContain(
    `${a.endpoint.host_interface}_to_container: behind first (id ${one.program.info().id})`,
  );
  one.leave();
  await expect.poll(preceded, SOON).toBeUndefined();
  expect(await series('quantum_links_preceded', { program: 'to_container' })).toBe(0);
});
