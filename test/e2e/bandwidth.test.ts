/**
 * Limits of bandwidth: kept within 5 % in both directions, by whatever way packets come, and kept whatever the container
 * does. What is measured is what a limit counts: IP packets.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { bucketsOf } from '../../src/model/bandwidth.js';
import type { EndpointOptions } from '../../src/model/endpoint.js';
import { type Container, FAMILIES, type Family, type Host } from '../support/containers.js';
import { useSite } from '../support/site.js';

const site = useSite({ settings: { uplink: 'auto', xdp: 'native' } });

/** Slow enough for a busy machine. */
const RATE = 20_000_000;
/** As long as a processor may be late on a busy machine: what is not sent meanwhile is sent then. */
const BURST = RATE * 0.06;
const EGRESS = { egress_rate: RATE, egress_burst: BURST };
const INGRESS = { ingress_rate: RATE, ingress_burst: BURST };
const TOLERANCE = 0.05;
const MTU = 1500;
/** Of IP and TCP, with the time stamps that TCP puts in. */
const HEADERS = { 4: 52, 6: 72 } as const;
const ETHERNET_HEADER = 14;
/** How long it is measured, and what has to arrive before: more than bursts and queues hold. */
const MEASURED_MS = 4000;
const WARM_UP_BYTES = 1_500_000;
const LONG = { timeout: 120_000 };

/** Bytes of TCP that eth0 has received, and when, by a look that takes no process. */
function look(host: Host, family: Family): { at: number; bytes: number } {
  const text = host.netns.net.run(() => readFileSync('/proc/thread-self/net/dev', 'utf8'));
  const at = performance.now();
  const [, bytes, packets] = /eth0:\s*([0-9]+)\s+([0-9]+)/.exec(text) ?? [];
  // What the kernel has put together is one packet there, with one header.
  return { at, bytes: Number(bytes) - Number(packets) * (ETHERNET_HEADER + HEADERS[family]) };
}

/** Runs iperf3 from a client to a server as long as `body` takes. */
async function during<T>(
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

/** Bits of IP packets a second that one TCP connection carries once it is under way, as a part of `RATE`. */
function share(client: Host, server: Host, family: Family, ...options: string[]): Promise<number> {
  const receiver = options.includes('-R') ? client : server;
  return during([client, server, family], options, async () => {
    const { bytes } = look(receiver, family);
    await expect
      .poll(() => look(receiver, family).bytes - bytes, { timeout: 20_000 })
      .toBeGreaterThan(WARM_UP_BYTES);
    const first = look(receiver, family);
    await delay(MEASURED_MS);
    const last = look(receiver, family);
    const payload = ((last.bytes - first.bytes) * 8) / ((last.at - first.at) / 1000);
    return ((payload / RATE) * MTU) / (MTU - HEADERS[family]);
  });
}

function expectLimit(measured: number): void {
  expect(measured).toBeGreaterThan(1 - TOLERANCE);
  expect(measured).toBeLessThan(1 + TOLERANCE);
}

async function pair(bandwidth: EndpointOptions['bandwidth']): Promise<[Container, Container]> {
  await site().network('blue', { isolation_mode: 'none', options: { masquerade: true } });
  const limited = await site().container('limited', 'blue', { options: { bandwidth } });
  return [limited, await site().container('other', 'blue')];
}

const readUplink = async () => (await site().rest.expect<{ uplink?: object }>('GET', '/readyz')).uplink;

describe.each(FAMILIES)('IPv%i:', (family) => {
  it(
    'what a container sends to another, and what it is sent, is within 5 % of its limits',
    LONG,
    async () => {
      const [limited, other] = await pair({ ...INGRESS, ...EGRESS });
      expectLimit(await share(limited, other, family));
      expectLimit(await share(other, limited, family));
      expect(await site().packets({ reason: 'BANDWIDTH_EGRESS' })).toBe(0);
    },
  );

  it('so is what it gets from outside, past the fast path, and from the node', LONG, async () => {
    const outside = await site().outside({ isUplink: true });
    await expect.poll(readUplink).toMatchObject({ interface: 'uplink' });
    const [limited, other] = await pair(INGRESS);
    const reverse = [limited, outside, family, '-R'] as const;
    expectLimit(await share(...reverse));
    expect(await share(other, outside, family, '-R')).toBeGreaterThan(2);
    // Sent by the node itself, it comes by the host's stack.
    expectLimit(await share(site().host, limited, family));
  });

  it('a container that takes its queue away stays within its limit', LONG, async () => {
    const [limited, other] = await pair(EGRESS);
    await limited.output('tc', 'qdisc', 'del', 'dev', 'eth0', 'root');
    expect(await share(limited, other, family)).toBeLessThan(1 + TOLERANCE);

    const { rate, burst } = bucketsOf(EGRESS, MTU).egress ?? { rate: 0, burst: 0 };
    const before = look(other, family);
    const flood = ['-u', '-b', '300M', '-l', '1200'];
    const after = await during([limited, other, family], flood, async () => {
      await delay(MEASURED_MS);
      return look(other, family);
    });
    const seconds = (after.at - before.at) / 1000;
    expect(after.bytes - before.bytes).toBeLessThan((rate * seconds + burst) * (1 + TOLERANCE));
    expect(await site().packets({ container: limited, reason: 'BANDWIDTH_EGRESS' })).toBeGreaterThan(0);
  });

  it('it is kept while no daemon runs, and the next one finds it as it is', LONG, async () => {
    const [limited, other] = await pair({ ...INGRESS, ...EGRESS });
    const queues = async () => [
      await limited.output('tc', 'qdisc', 'show', 'dev', 'eth0'),
      await site().host.output('tc', 'qdisc', 'show', 'dev', limited.endpoint.host_interface),
    ];
    const before = await queues();
    expect(before.map((text) => text.startsWith('qdisc tbf'))).toEqual([true, true]);
    await site().daemon.kill();
    expectLimit(await share(other, limited, family));
    await site().daemon.start();
    expect(await queues()).toEqual(before);
    expectLimit(await share(limited, other, family));
  });
});

it('limits are changed while the container runs, are shown, and end', LONG, async () => {
  const [limited, other] = await pair({ egress_rate: RATE * 4 });
  const path = '/networks/blue/containers/limited';
  const patch = async (bandwidth: EndpointOptions['bandwidth']) => {
    const answer = await site().rest.expect<object>('PATCH', path, { options: { bandwidth } });
    expect(answer).toMatchObject({ options: { bandwidth } });
    expect(await site().rest.expect('GET', path)).toEqual(answer);
  };
  await patch({ ...EGRESS, ...INGRESS });
  expectLimit(await share(limited, other, 4));
  expectLimit(await share(other, limited, 4));
  await patch({ ...INGRESS, ingress_rate: RATE * 2 });
  expect(await share(limited, other, 4)).toBeGreaterThan(2);
  expectLimit((await share(other, limited, 4)) / 2);
  await patch({});
  expect(await share(other, limited, 4)).toBeGreaterThan(3);
  const { host_interface } = limited.endpoint;
  expect(await site().host.output('tc', 'qdisc', 'show', 'dev', host_interface)).not.toContain('tbf');
  expect(await limited.output('tc', 'qdisc', 'show', 'dev', 'eth0')).not.toContain('tbf');
});

it('a queue that the node has lost is put back at the next start', LONG, async () => {
  const [limited] = await pair({ ...INGRESS, ...EGRESS });
  const { host_interface } = limited.endpoint;
  const show = () => site().host.output('tc', 'qdisc', 'show', 'dev', host_interface);
  const before = await show();
  await site().host.output('tc', 'qdisc', 'del', 'dev', host_interface, 'root');
  await limited.output('tc', 'qdisc', 'del', 'dev', 'eth0', 'root');
  await site().daemon.stop();
  await site().daemon.start();
  expect(await show()).toEqual(before);
  expect(await limited.output('tc', 'qdisc', 'show', 'dev', 'eth0')).toContain('qdisc tbf');
});
