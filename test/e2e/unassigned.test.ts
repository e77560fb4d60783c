/** Addresses of a network that nobody has: whoever asks for one is refused at once, and the node remembers nothing of it. */
import { describe, expect, it } from 'vitest';
import { RANGE_METRIC } from '../../src/bridge/network-device.js';
import { FAMILIES, unlike } from '../support/containers.js';
import { useSite } from '../support/site.js';

const site = useSite();

/** What the node has tried to find on the bridge. */
const asked = async () => {
  const { rtnl } = site().host.netns.net;
  const bridges = rtnl.links().filter(({ name }) => name.startsWith('qnbr'));
  return bridges.flatMap(({ index }) => rtnl.neighbours(index)).filter(({ state }) => state !== 'noarp');
};

describe.each(FAMILIES)('an address that nobody has, IPv%i:', (family) => {
  it('is refused to the host and to the outside, and nobody is looked for', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const a = await site().container('a', 'blue');
    const outside = await site().outside();
    const nobody = a.address(family).replace(/.$/, '9');

    const verdicts = await Promise.all([site().host, outside].map((from) => from.dial(nobody)));

    expect(verdicts).toEqual(['EHOSTUNREACH', family === 4 ? 'EHOSTUNREACH' : 'ENETUNREACH']);
    expect(await asked()).toEqual([]);
    expect(await unlike('open', family, [site().host, a], [outside, a], [a, outside])).toEqual([]);
  });
});

it('a daemon that starts puts back what refuses, and takes away what refuses for no network', async () => {
  await site().network('blue', { isolation_mode: 'none' });
  const a = await site().container('a', 'blue');
  const whole = await site().state();
  const { rtnl } = site().host.netns.net;
  await site().daemon.kill();
  for (const destination of rtnl.unreachable(RANGE_METRIC)) {
    rtnl.deleteRoute({ destination, type: 'unreachable', metric: RANGE_METRIC });
  }
  const index = rtnl.link(
    whole.interfaces.find((line) => line.startsWith('qnbr'))?.split(' ')[0] ?? '',
  )?.index;
  rtnl.addRoute({ destination: '10.60.1.0/24', index, scope: 'link' });
  for (const destination of ['10.61.0.0/24', 'fd00:61::/64']) {
    rtnl.addRoute({ destination, type: 'unreachable', metric: RANGE_METRIC });
  }

  await site().daemon.start();

  expect(await site().state()).toEqual(whole);
  for (const family of FAMILIES) expect(await unlike('open', family, [site().host, a])).toEqual([]);
});
