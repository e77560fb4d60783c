/** From container to container on one node, beside the bridge plugin and a bare pair of interfaces. */
import { Cleanup } from './cleanup.mjs';
import { Node } from './node.mjs';
import { compile } from './processes.mjs';
import { bareSite, bridgeSite, ourSite } from './sites.mjs';
import { compareSites, serve } from './traffic.mjs';

/** The client opens more connections than an endpoint may have by default. */
const SETTINGS = { 'flows-per-endpoint': 0 };
const GOALS = {
  throughput: { bridge: '>= 1', 'bare veth': '>= 0.9' },
  latency: { bridge: '<= 1', 'bare veth': '<= 1.1' },
};

export function datapath({ rounds, seconds }) {
  return Cleanup.during(async (cleanup) => {
    const node = new Node(cleanup, SETTINGS);
    await node.start();
    const tool = compile('traffic', node.directory);
    const sites = [await ourSite(cleanup, node), bridgeSite(cleanup, node), bareSite(cleanup)];
    await requireEqualOffloads(sites);
    for (const { server } of sites) await serve(cleanup, server, tool);
    return compareSites('datapath', sites, GOALS, { rounds, seconds, tool });
  });
}

/** Segmentation and checksums left to the interface, or not, would decide everything. */
async function requireEqualOffloads(sites) {
  const features = async ({ client }) => {
    const { stdout } = await client.exec('ethtool', ['-k', 'eth0']);
    return stdout.slice(stdout.indexOf('\n'));
  };
  const [first, ...others] = await Promise.all(sites.map(features));
  if (others.some((other) => other !== first)) throw new Error('the interfaces differ in what they offload');
}
