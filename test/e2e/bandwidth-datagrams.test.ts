/** What has no connection of its own under limits of bandwidth: one receiver that is slow slows nobody else down. */
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { bucketsOf } from '../../src/model/bandwidth.js';
import { type Container, FAMILIES, type Family, type Host } from '../support/containers.js';
import { during, lookAtFrames, MEASURED_MS, MTU } from '../support/rates.js';
import { useSite } from '../support/site.js';

const site = useSite();

/** Nothing leaves the queue while a test runs. */
const SLOW = { ingress_rate: 1_000 };
/** More than the buffer of a socket holds, and than waits in the queue. */
const [COUNT, BYTES] = [500, 1400];
/** As many of the smallest frames as there is room for in bytes. */
const TINY_COUNT = 5000;
/** The kernel keeps some 800 bytes for each of them. */
const WAITING_MAX = 1024;
/** What a socket sends in one piece. */
const [PIECES, PIECE] = [120, 150];
/** So many may find the last place at once. */
const PROCESSORS_MAX = 64;
const LONG = { timeout: 120_000 };
/** Some 2,000 a second. */
const TINY_RATE = 1_000_000;

const statisticsOf = (host: Host, name: string) => host.output('tc', '-s', 'qdisc', 'show', 'dev', name);
/** Packets that wait in the queue of an interface; and how many that has dropped. */
const waitingIn = async (host: Host, name: string) =>
  Number(/ backlog \S+ ([0-9]+)p/.exec(await statisticsOf(host, name))?.[1]);
const droppedBy = async (host: Host, name: string) =>
  Number(/dropped ([0-9]+)/.exec(await statisticsOf(host, name))?.[1]);

/** Of the smallest datagrams, many more than may pass: bytes of frames a second, as a part of what full ones would come to. */
async function shareOfTiny(from: Container, to: Container, family: Family): Promise<number> {
  const { rate } = bucketsOf({ ingress_rate: TINY_RATE }, MTU).ingress ?? { rate: 0 };
  return during([from, to, family], ['-u', '-b', String(8 * TINY_RATE), '-l', '16'], async () => {
    await expect.poll(() => lookAtFrames(to).bytes, { timeout: 20_000 }).toBeGreaterThan(rate);
    const first = lookAtFrames(to);
    await delay(MEASURED_MS);
    const last = lookAtFrames(to);
    return ((last.bytes - first.bytes) * 1000) / (last.at - first.at) / rate;
  });
}

/**
 * A slow container, and another that knows it as its neighbour: until then the sender's own kernel keeps few of the packets
 * for it, and drops the others.
 */
async function slowAndServer(
  family: Family,
  bandwidth: { ingress_rate: number } = SLOW,
): Promise<[slow: Container, server: Container]> {
  await site().network('blue', { isolation_mode: 'none' });
  const slow = await site().container('slow', 'blue', { options: { bandwidth } });
  const server = await site().container('server', 'blue');
  expect(await server.spray(slow, 1, 1, family)).toBe(1);
  await expect
    .poll(() => server.output('ip', 'neigh', 'show', 'to', slow.address(family)))
    .toContain('lladdr');
  return [slow, server];
}

describe.each(FAMILIES)('IPv%i:', (family) => {
  it('a socket that has sent a slow receiver more than may wait has room for others', async () => {
    const [slow, server] = await slowAndServer(family);
    const received = () => site().packets({ container: slow, direction: 'ingress' });
    const sent = () => site().packets({ container: server, reason: 'NONE' });
    expect(await server.spray(slow, COUNT, BYTES, family)).toBe(COUNT);
    // The kernel may look at a packet after the socket has sent it.
    await expect.poll(sent).toBeGreaterThanOrEqual(COUNT);
    const before = await received();
    expect(before).toBeGreaterThan(0);
    // The node's own sockets, too. Each packet counts once, whether it waits or is dropped.
    expect(await site().host.spray(slow, COUNT, BYTES, family)).toBe(COUNT);
    await expect.poll(async () => (await received()) - before).toBe(COUNT);
  });

  it('of the smallest datagrams no more wait than a megabyte of the kernel holds', async () => {
    const [slow, server] = await slowAndServer(family);
    expect(await server.spray(slow, TINY_COUNT, 1, family)).toBe(TINY_COUNT);
    const waiting = await waitingIn(site().host, slow.endpoint.host_interface);
    expect(waiting).toBeGreaterThan(WAITING_MAX / 2);
    expect(waiting).toBeLessThanOrEqual(WAITING_MAX + PROCESSORS_MAX);
  });

  it('what of them finds no place is dropped with its reason, and none by the queue, which tells nobody', async () => {
    const [slow, server] = await slowAndServer(family);
    expect(await server.spray(slow, TINY_COUNT, 1, family)).toBe(TINY_COUNT);
    const dropped = () => site().packets({ container: slow, reason: 'BANDWIDTH_INGRESS' });
    await expect.poll(dropped).toBeGreaterThan(TINY_COUNT / 2);
    expect(await droppedBy(site().host, slow.endpoint.host_interface)).toBe(0);
  });

  it('so is what the queue would cut into more pieces than it has places', async () => {
    const [slow, server] = await slowAndServer(family, { ingress_rate: 100_000 });
    expect(await server.spray(slow, COUNT, PIECES * PIECE, family, PIECE)).toBe(COUNT);
    const dropped = () => site().packets({ container: slow, reason: 'BANDWIDTH_INGRESS' });
    await expect.poll(dropped).toBeGreaterThan(COUNT / 2);
    const { host_interface } = slow.endpoint;
    expect(await waitingIn(site().host, host_interface)).toBeGreaterThan(WAITING_MAX / 4);
    expect(await droppedBy(site().host, host_interface)).toBe(0);
  });

  it('of more of them than may pass as many do as of others: the limit is reached', LONG, async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const options = { bandwidth: { ingress_rate: TINY_RATE } };
    const limited = await site().container('limited', 'blue', { options });
    const other = await site().container('other', 'blue');
    expect(await shareOfTiny(other, limited, family)).toBeGreaterThan(0.9);
  });

  it('what is larger than the interface of a receiver carries reaches it with a limit as without one', async () => {
    await site().network('jumbo', { isolation_mode: 'none', options: { mtu: 9000 } });
    await site().network('blue', { isolation_mode: 'none' });
    const sender = await site().container('sender', 'jumbo');
    const plain = await site().container('plain', 'blue');
    const options = { bandwidth: { ingress_rate: 100_000_000 } };
    const limited = await site().container('limited', 'blue', { options });
    for (const receiver of [plain, limited])
      expect(await sender.dial(receiver, { family, protocol: 'udp', bytes: 5000 }), receiver.id).toBe('open');
    // It counts, too.
    const slow = await site().container('slow', 'blue', { options: { bandwidth: SLOW } });
    await sender.spray(slow, COUNT, 5000, family);
    expect(await site().packets({ reason: 'BANDWIDTH_INGRESS' })).toBeGreaterThan(COUNT / 2);
  });
});
