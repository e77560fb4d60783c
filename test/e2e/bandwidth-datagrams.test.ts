/** What has no connection of its own under limits of bandwidth: one receiver that is slow slows nobody else down. */
import { describe, expect, it } from 'vitest';
import { FAMILIES } from '../support/containers.js';
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

describe.each(FAMILIES)('IPv%i:', (family) => {
  it('a socket that has sent a slow receiver more than may wait has room for others', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const slow = await site().container('slow', 'blue', { options: { bandwidth: SLOW } });
    const server = await site().container('server', 'blue');
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
    await site().network('blue', { isolation_mode: 'none' });
    const slow = await site().container('slow', 'blue', { options: { bandwidth: SLOW } });
    const server = await site().container('server', 'blue');
    expect(await server.spray(slow, TINY_COUNT, 1, family)).toBe(TINY_COUNT);
    const text = await site().host.output('tc', '-s', 'qdisc', 'show', 'dev', slow.endpoint.host_interface);
    const waiting = Number(/ backlog \S+ ([0-9]+)p/.exec(text)?.[1]);
    expect(waiting).toBeGreaterThan(WAITING_MAX / 2);
    expect(waiting).toBeLessThanOrEqual(WAITING_MAX);
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
