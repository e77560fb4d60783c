/**
 * What a container runtime waits for when it carries out a whole configuration list: ours, of one plugin, beside
 * Debian's `bridge` with `host-local`, `firewall` and `portmap`, one container at a time and a hundred at once; ours on
 * a node that is full beside an empty one; and the memory of our plugin. Each container publishes a port.
 */
import { join } from 'node:path';
import { Cleanup } from './cleanup.mjs';
import { Node, namedNamespaces } from './node.mjs';
import { line } from './report.mjs';
import { pluginList, series, startRuntime, WARM_UP } from './runtime.mjs';
import { bridgeConfiguration, CNI_PLUGINS } from './sites.mjs';
import { median, quantile } from './statistics.mjs';

const GOALS = { ADD: '<= 0.4', DEL: '<= 0.3' };
const FULL_GOAL = '<= 1.2';
const MEMORY_GOAL = '<= 3';
const AT_ONCE = 100;
const PORT = 20_000;
const OTHER = 'bridge+firewall+portmap';

export async function chain({ calls, present }) {
  return [...(await besideDebian(calls)), ...(await besideFull(calls, present))];
}

function besideDebian(calls) {
  return Cleanup.during(async (cleanup) => {
    const node = await startNode(cleanup);
    const run = startRuntime(cleanup, node);
    const lists = [ours(node), debian(node)];
    const runs = [run, run];
    await series(cleanup, lists, runs, { count: WARM_UP });
    const alone = await series(cleanup, lists, runs, { count: calls });
    const together = await series(cleanup, lists, runs, { count: calls, atOnce: AT_ONCE });
    const kilobytes = [alone, together].flatMap(({ memory }) => memory[0]);
    return [
      ...compare('alone', alone, GOALS),
      ...compare(`${AT_ONCE} at once`, together, GOALS),
      line({
        part: 'chain',
        what: 'memory of the plugin',
        unit: 'MB',
        ours: Math.max(...kilobytes) / 1000,
        goal: MEMORY_GOAL,
      }),
    ];
  });
}

function besideFull(calls, present) {
  return Cleanup.during(async (cleanup) => {
    const nodes = [];
    for (let at = 0; at < 2; at++) nodes.push(await startNode(cleanup));
    for (const [at, path] of namedNamespaces(cleanup, present, 'f').entries()) {
      const body = {
        container_id: `f${at}`,
        netns_path: path,
        labels: { app: `app-${at % 100}` },
        ports: [{ container_port: 80, host_port: PORT - 1 - at }],
      };
      await nodes[0].rest.call('POST', '/networks/bench/containers', body);
    }
    const runs = nodes.map((node) => startRuntime(cleanup, node));
    const lists = nodes.map(ours);
    await series(cleanup, lists, runs, { count: WARM_UP });
    const times = await series(cleanup, lists, runs, { count: calls });
    return ['ADD', 'DEL'].map((command) => {
      const [full, empty] = times[command].map(median);
      const what = `${command}, with ${present} endpoints, median`;
      return line({
        part: 'chain',
        what,
        unit: 'ms',
        ours: full,
        other: 'an empty node',
        theirs: empty,
        goal: FULL_GOAL,
      });
    });
  });
}

async function startNode(cleanup) {
  const node = new Node(cleanup);
  await node.start();
  await node.rest.call('POST', '/networks', { name: 'bench', cidr: '198.18.0.0/16' });
  return node;
}

function compare(how, times, goals) {
  return ['ADD', 'DEL'].flatMap((command) => {
    const [own, theirs] = times[command];
    const about = (share) => ({
      part: 'chain',
      what: `${command}, ${how}, ${share}`,
      unit: 'ms',
      other: OTHER,
    });
    const p99 = (values) => quantile(values, 0.99);
    return [
      line({ ...about('median'), ours: median(own), theirs: median(theirs), goal: goals[command] }),
      line({ ...about('99th percentile'), ours: p99(own), theirs: p99(theirs), goal: goals[command] }),
    ];
  });
}

function ours(node) {
  const plugin = { cniVersion: '1.0.0', name: 'bench', type: 'quantum-cni', socket: node.cniSocket };
  return pluginList(node, 'ours', join(node.directory, 'bin'), (at) => [published(plugin, at)]);
}

function debian(node) {
  const name = 'qbchain';
  const common = { cniVersion: '1.0.0', name };
  const bridge = bridgeConfiguration(node, name, ['198.19.0.0/16']);
  const firewall = { ...common, type: 'firewall' };
  const portmap = { ...common, type: 'portmap' };
  return pluginList(node, 'debian', CNI_PLUGINS, (at) => [bridge, firewall, published(portmap, at)]);
}

/** With the port of the at-th container, as a runtime gives it. */
function published(plugin, at) {
  const portMappings = [{ hostPort: PORT + at, containerPort: 80, protocol: 'tcp' }];
  return { ...plugin, runtimeConfig: { portMappings } };
}
