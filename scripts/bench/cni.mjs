/** How long a container runtime waits for the plugin: ours, and Debian's `bridge` with `host-local`. */
import { join } from 'node:path';
import { Cleanup } from './cleanup.mjs';
import { Node } from './node.mjs';
import { line } from './report.mjs';
import { pluginList, series, startRuntime, WARM_UP } from './runtime.mjs';
import { bridgeConfiguration, CNI_PLUGINS } from './sites.mjs';
import { median, quantile } from './statistics.mjs';

const GOAL = '<= 0.5';

const NETWORKS = {
  IPv4: { ours: { cidr: '198.18.0.0/16' }, bridge: ['198.19.0.0/16'] },
  'dual stack': {
    ours: { cidr: '10.60.0.0/16', cidr6: 'fd00:be:1::/64' },
    bridge: ['10.61.0.0/16', 'fd00:be:2::/64'],
  },
};
const KINDS = [
  { network: 'IPv4', what: 'equal labels', labelOf: () => 'web' },
  { network: 'IPv4', what: 'new identity each', labelOf: (at) => `web-${at}` },
  { network: 'dual stack', what: 'equal labels', labelOf: () => 'web' },
];

export function cni({ calls }) {
  return Cleanup.during(async (cleanup) => {
    const node = new Node(cleanup);
    await node.start();
    const run = startRuntime(cleanup, node);
    const names = Object.keys(NETWORKS);
    for (const [at, name] of names.entries())
      await node.rest.call('POST', '/networks', { name: `bench${at}`, ...NETWORKS[name].ours });
    const take = (network, labelOf, count) => {
      const at = names.indexOf(network);
      const bridge = debian(node, `qbcni${at}`, NETWORKS[network].bridge);
      return series(cleanup, [ours(node, `bench${at}`, labelOf), bridge], [run, run], { count });
    };
    await take('IPv4', (at) => `warm-${at}`, WARM_UP);
    const lines = [];
    for (const { network, what, labelOf } of KINDS) {
      const times = await take(network, labelOf, calls);
      const about = (command) => `${command}, ${network}, ${what}`;
      lines.push(...['ADD', 'DEL'].flatMap((command) => compare(about(command), times[command])));
    }
    return lines;
  });
}

function compare(what, [ours, theirs]) {
  const about = (share) => ({ part: 'cni', what: `${what}, ${share}`, unit: 'ms', other: 'bridge' });
  const p99 = (values) => quantile(values, 0.99);
  return [
    line({ ...about('median'), ours: median(ours), theirs: median(theirs), goal: GOAL }),
    line({ ...about('99th percentile'), ours: p99(ours), theirs: p99(theirs) }),
  ];
}

function ours(node, name, labelOf) {
  const plugin = { cniVersion: '1.0.0', name, type: 'quantum-cni', socket: node.cniSocket };
  const labelled = (at) => ({ ...plugin, args: { cni: { labels: [{ key: 'app', value: labelOf(at) }] } } });
  return pluginList(node, name, join(node.directory, 'bin'), (at) => [labelled(at)]);
}

function debian(node, bridge, subnets) {
  const configuration = bridgeConfiguration(node, bridge, subnets);
  return pluginList(node, bridge, CNI_PLUGINS, () => [configuration]);
}
