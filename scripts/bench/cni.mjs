/** How long a container runtime waits for the plugin: ours, and Debian's `bridge` with `host-local`. */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { Cleanup } from './cleanup.mjs';
import { Node, namedNamespaces } from './node.mjs';
import { compile, end } from './processes.mjs';
import { line } from './report.mjs';
import { bridgeConfiguration, CNI_PLUGINS } from './sites.mjs';
import { median, quantile } from './statistics.mjs';

const GOAL = '<= 0.5';
/** Before anything is measured, as any daemon that has run for a minute. */
const WARM_UP = 30;
/** After each call: what one plugin leaves to the kernel, or the disk, must not be on the other's account. */
const SETTLE_MS = 20;

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
    const harness = startHarness(cleanup, node);
    const plugins = {};
    for (const [at, [name, ranges]] of Object.entries(NETWORKS).entries()) {
      await node.rest.call('POST', '/networks', { name: `bench${at}`, ...ranges.ours });
      plugins[name] = [ours(node, `bench${at}`), debian(node, `qbcni${at}`, ranges.bridge)];
    }
    const warm = { labelOf: (at) => `warm-${at}`, prefix: 'w' };
    await series(cleanup, plugins.IPv4, harness, WARM_UP, warm);
    const lines = [];
    for (const [at, { network, what, labelOf }] of KINDS.entries()) {
      const times = await series(cleanup, plugins[network], harness, calls, { labelOf, prefix: `c${at}` });
      const about = (command) => `${command}, ${network}, ${what}`;
      lines.push(...['ADD', 'DEL'].flatMap((command) => compare(about(command), times[command])));
    }
    return lines;
  });
}

/**
 * ADD for every container, then DEL for every container, each time by one plugin and then by the other.
 * @returns {Promise<{ADD: number[][], DEL: number[][]}>} milliseconds, by plugin
 */
async function series(cleanup, plugins, harness, calls, { labelOf, prefix }) {
  const namespaces = plugins.map((_, which) => namedNamespaces(cleanup, calls, `${prefix}${which}-`));
  const times = { ADD: plugins.map(() => []), DEL: plugins.map(() => []) };
  for (const command of ['ADD', 'DEL']) {
    for (let at = 0; at < calls; at++) {
      for (let turn = 0; turn < plugins.length; turn++) {
        const which = (at + turn) % plugins.length;
        const { directory, type, configuration } = plugins[which];
        const path = namespaces[which][at];
        const file = configuration(labelOf(at));
        const call = [join(directory, type), file, command, `${prefix}-${at}`, path, directory];
        times[command][which].push(await harness(call));
        await delay(SETTLE_MS);
      }
    }
  }
  return times;
}

function compare(what, [ours, theirs]) {
  const about = (share) => ({ part: 'cni', what: `${what}, ${share}`, unit: 'ms', other: 'bridge' });
  const p99 = (values) => quantile(values, 0.99);
  return [
    line({ ...about('median'), ours: median(ours), theirs: median(theirs), goal: GOAL }),
    line({ ...about('99th percentile'), ours: p99(ours), theirs: p99(theirs) }),
  ];
}

function ours(node, name) {
  const written = new Map();
  const configuration = (app) => {
    if (!written.has(app)) {
      const labels = [{ key: 'app', value: app }];
      const text = { cniVersion: '1.0.0', name, type: 'quantum-cni', socket: node.cniSocket };
      written.set(app, writeJson(node, `${name}-${app}`, { ...text, args: { cni: { labels } } }));
    }
    return written.get(app);
  };
  return { type: 'quantum-cni', directory: join(node.directory, 'bin'), configuration };
}

function debian(node, bridge, subnets) {
  const path = writeJson(node, bridge, bridgeConfiguration(node, bridge, subnets));
  return { type: 'bridge', directory: CNI_PLUGINS, configuration: () => path };
}

function writeJson(node, name, value) {
  const path = join(node.directory, `${name}.json`);
  writeFileSync(path, JSON.stringify(value));
  return path;
}

/** The process that starts the plugins, see spawn.c. The same for both, and as small as it can be. */
function startHarness(cleanup, node) {
  const tool = compile('spawn', node.directory);
  const child = node.netns.spawn(tool, [], { stdio: ['pipe', 'pipe', 'inherit'] });
  cleanup.add(() => end(child, 'SIGKILL'));
  const lines = createInterface({ input: child.stdout });
  return async (parts) => {
    child.stdin.write(`${parts.join('\t')}\n`);
    const [answer] = await once(lines, 'line');
    const [ns, code] = answer.split(' ').map(Number);
    if (code !== 0) throw new Error(`${parts[0]} ${parts[2]} ended with ${code}`);
    return ns / 1e6;
  };
}
