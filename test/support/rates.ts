/** How much passes in a time, for limits of bandwidth. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import type { Family, Host } from './containers.js';

/** Slow enough for a busy machine. */
export const RATE = 20_000_000;
/** As long as a processor may be late on a busy machine: what is not sent meanwhile is sent then. */
const BURST = RATE * 0.06;
export const EGRESS = { egress_rate: RATE, egress_burst: BURST };
export const INGRESS = { ingress_rate: RATE, ingress_burst: BURST };
export const TOLERANCE = 0.05;
export const MTU = 1500;
/** Of IP and TCP, with the time stamps that TCP puts in. */
export const HEADERS = { 4: 52, 6: 72 } as const;
/** Of IP and UDP. */
const UDP_HEADERS = { 4: 28, 6: 48 } as const;
const ETHERNET_HEADER = 14;
/** How long it is measured, and what has to arrive before: more than bursts and queues hold. */
export const MEASURED_MS = 4000;
const LOOKS_MAX = 3;
const WARM_UP_BYTES = 1_500_000;

/** Frames that eth0 has received, their bytes, and when, by a look that takes no process. */
export function lookAtFrames(host: Host): { at: number; bytes: number; packets: number } {
  const text = host.netns.net.run(() => readFileSync('/proc/thread-self/net/dev', 'utf8'));
  const at = performance.now();
  const [, bytes, packets] = /eth0:\s*([0-9]+)\s+([0-9]+)/.exec(text) ?? [];
  return { at, bytes: Number(bytes), packets: Number(packets) };
}

/** The same without their Ethernet headers. */
function lookAtPackets(host: Host): { at: number; bytes: number; packets: number } {
  const { at, bytes, packets } = lookAtFrames(host);
  return { at, bytes: bytes - packets * ETHERNET_HEADER, packets };
}

/** Bytes of TCP in them: what the kernel has put together is one packet there, with one header. */
export function look(host: Host, family: Family): { at: number; bytes: number } {
  const { at, bytes, packets } = lookAtPackets(host);
  return { at, bytes: bytes - packets * HEADERS[family] };
}

/** Runs iperf3 from a client to a server as long as `body` takes. */
export async function during<T>(
  [client, server, family]: readonly [Host, Host, Family],
  options: readonly string[],
  body: () => Promise<T>,
): Promise<T> {
  const processes = [server.netns.spawn('iperf3', ['-s', '-1'])];
  try {
    await expect.poll(() => server.output('ss', '-Hltn', 'sport = :5201')).not.toBe('');
    processes.push(client.netns.spawn('iperf3', ['-c', server.address(family), '-t', '60', ...options]));
    return await body();
  } finally {
    for (const child of processes) child.kill('SIGKILL');
    await Promise.all(processes.map((child) => child.exitCode ?? child.signalCode ?? once(child, 'exit')));
  }
}

/**
 * Bits of IP packets a second, as a part of `RATE`, once they are under way: of bytes as `count` reads them, which are so
 * much of the packets. A machine that does not run the sender for a while makes it less, and nothing makes it more: so
 * it is looked at again where it is too little, and the most counts.
 */
async function measure(count: () => { at: number; bytes: number }, part: number): Promise<number> {
  const { bytes } = count();
  await expect.poll(() => count().bytes - bytes, { timeout: 20_000 }).toBeGreaterThan(WARM_UP_BYTES);
  let most = 0;
  for (let looks = 0; looks < LOOKS_MAX && most < 1 - TOLERANCE; looks++) {
    const first = count();
    await delay(MEASURED_MS);
    const last = count();
    const bits = ((last.bytes - first.bytes) * 8) / ((last.at - first.at) / 1000);
    most = Math.max(most, bits / part / RATE);
  }
  return most;
}

/** Bits of IP packets a second that one TCP connection carries, as a part of `RATE`. */
export function share(client: Host, server: Host, family: Family, ...options: string[]): Promise<number> {
  const receiver = options.includes('-R') ? client : server;
  const part = (MTU - HEADERS[family]) / MTU;
  return during([client, server, family], options, () => measure(() => look(receiver, family), part));
}

/** Of UDP: full packets, sent at twice the rate. */
export function shareOfDatagrams(
  client: Host,
  server: Host,
  family: Family,
  ...options: string[]
): Promise<number> {
  const receiver = options.includes('-R') ? client : server;
  const size = MTU - UDP_HEADERS[family];
  const flood = ['-u', '-b', String(2 * RATE), '-l', String(size), ...options];
  return during([client, server, family], flood, () => measure(() => lookAtPackets(receiver), 1));
}

export function expectLimit(measured: number): void {
  expect(measured).toBeGreaterThan(1 - TOLERANCE);
  expect(measured).toBeLessThan(1 + TOLERANCE);
}
