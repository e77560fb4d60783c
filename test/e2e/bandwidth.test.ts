/**
 * Limits of bandwidth: kept within 5 % in both directions, by whatever way packets come, and kept whatever the container
 * does. What is measured is what a limit counts: IP packets.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { queueKinds } from '../../src/bridge/queue-kinds.js';
import { bucketsOf } from '../../src/model/bandwidth.js';
import type { EndpointOptions } from '../../src/model/endpoint.js';
import { type Container, FAMILIES } from '../support/containers.js';
import {
  during,
  EGRESS,
  expectLimit,
  INGRESS,
  look,
  MEASURED_MS,
  MTU,
  RATE,
  share,
  shareOfDatagrams,
  TOLERANCE,
} from '../support/rates.js';
import { useSite } from '../support/site.js';

const site = useSite({ settings: { uplink: 'auto', xdp: 'native' } });

/** What tc calls the queues that keep limits here. */
const { host, container } = queueKinds();

const LONG = { timeout: 120_000 };

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

  it('so are datagrams, whoever sends them, and how much more', LONG, async () => {
    const outside = await site().outside({ isUplink: true });
    await expect.poll(readUplink).toMatchObject({ interface: 'uplink' });
    const [limited, other] = await pair({ ...INGRESS, ...EGRESS });
    expectLimit(await shareOfDatagrams(limited, other, family));
    expect(await site().packets({ reason: 'BANDWIDTH_EGRESS' })).toBe(0);
    expectLimit(await shareOfDatagrams(other, limited, family));
    expectLimit(await shareOfDatagrams(limited, outside, family, '-R'));
    expect(await site().packets({ container: limited, reason: 'BANDWIDTH_INGRESS' })).toBeGreaterThan(0);
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
    expect(before.map((text) => text.split(' ')[1])).toEqual([container, host]);
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
  expect(await site().host.output('tc', 'qdisc', 'show', 'dev', host_interface)).not.toContain(
    `qdisc ${host} `,
  );
  expect(await limited.output('tc', 'qdisc', 'show', 'dev', 'eth0')).not.toContain(`qdisc ${container} `);
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
  expect(await limited.output('tc', 'qdisc', 'show', 'dev', 'eth0')).toContain(`qdisc ${container} `);
});
