/**
 * What a container runtime waits for when it carries out a whole configuration list: ours, of one plugin, beside
 * Debian's `bridge` with `host-local`, `firewall` and `portmap`, one container at a time and a hundred at once; ours on
 * a node that is full beside an empty one; and the memory of our plugin. Each container publishes a port.
 */
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

const GOALS = { ADD: '<= 0.4', DEL: '<= 0.3' };
const FULL_GOAL = '<= 1.2';
const MEMORY_GOAL = '<= 3';
const AT_ONCE = 100;
/** Before anything is measured, as any daemon that has run for a minute. */
const WARM_UP = 30;
/** After each call: what one list leaves to the kernel, or the disk, must not be on the other's account. */
const SETTLE_MS = 20;
const PORT = 20_000;
const OTHER = 'bridge+firewall+portmap';

export async function chain({ calls, present }) {
  return [...(await besideDebian(calls)), ...(await besideFull(calls, present))];
}

function besideDebian(calls) {
  return Cleanup.during(async (cleanup) => {
    const node = await startNode(cleanup);
    const run = startHarness(cleanup, node);
    const lists = [ours(node), debian(node)];
    await series(cleanup, lists, run, WARM_UP, 1);
    const alone = await series(cleanup, lists, run, calls, 1);
    const together = await series(cleanup, lists, run, Math.max(AT_ONCE, calls), AT_ONCE);
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
      const body = { container_id: `f${at}`, netns_path: path, labels: { app: `app-${at % 100}` } };
      await nodes[0].rest.call('POST', '/networks/bench/containers', body);
    }
    const runs = nodes.map((node) => startHarness(cleanup, node));
    const lists = nodes.map(ours);
    const run = (batch, which) => runs[which](batch);
    await series(cleanup, lists, run, WARM_UP, 1);
    const times = await series(cleanup, lists, run, calls, 1);
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

/**
 * ADD for every container, then DEL for every container, so many at once, each time by one list and then by the other.
 * @returns {Promise<{ADD: number[][], DEL: number[][], memory: number[][]}>} milliseconds and kilobytes, by list
 */
async function series(cleanup, lists, run, count, atOnce) {
  const rounds = Math.ceil(count / atOnce);
  const inner = new Cleanup();
  cleanup.add(() => inner.run());
  const paths = lists.map((_, which) => namedNamespaces(inner, rounds * atOnce, `c${which}-`));
  const result = { ADD: lists.map(() => []), DEL: lists.map(() => []), memory: lists.map(() => []) };
  for (const command of ['ADD', 'DEL']) {
    for (let round = 0; round < rounds; round++) {
      for (let turn = 0; turn < lists.length; turn++) {
        const which = (round + turn) % lists.length;
        const batch = Array.from({ length: atOnce }, (_, index) => {
          const at = round * atOnce + index;
          return lists[which].call(command, `c${at}`, paths[which][at], at);
        });
        for (const { ms, kilobytes } of await run(batch, which)) {
          result[command][which].push(ms);
          result.memory[which].push(kilobytes);
        }
        await delay(SETTLE_MS);
      }
    }
  }
  await inner.run();
  return result;
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
  const directory = join(node.directory, 'bin');
  return list(node, 'ours', directory, [
    { cniVersion: '1.0.0', name: 'bench', type: 'quantum-cni', socket: node.cniSocket, publishes: true },
  ]);
}

function debian(node) {
  const name = 'qbchain';
  const common = { cniVersion: '1.0.0', name };
  return list(node, 'debian', CNI_PLUGINS, [
    bridgeConfiguration(node, name, ['198.19.0.0/16']),
    { ...common, type: 'firewall' },
    { ...common, type: 'portmap', publishes: true },
  ]);
}

/** A list; plugins that publish get the port of each container, as a runtime gives it. */
function list(node, name, directory, plugins) {
  const written = new Set();
  const fileOf = ({ publishes, ...plugin }, at) => {
    const path = join(node.directory, `${name}-${plugin.type}${publishes ? `-${at}` : ''}.json`);
    if (!written.has(path)) {
      const portMappings = [{ hostPort: PORT + at, containerPort: 80, protocol: 'tcp' }];
      const runtimeConfig = publishes ? { runtimeConfig: { portMappings } } : {};
      writeFileSync(path, JSON.stringify({ ...plugin, ...runtimeConfig }));
      written.add(path);
    }
    return path;
  };
  const call = (command, container, netns, at) => {
    const ordered = command === 'ADD' ? plugins : plugins.toReversed();
    const parts = ordered.flatMap((plugin) => [join(directory, plugin.type), fileOf(plugin, at)]);
    return [
      command,
      container,
      netns,
      directory,
      join(node.directory, `${name}-${container}.result`),
      ...parts,
    ];
  };
  return { call };
}

/** The process that carries lists out, see chain.c. The same for both. */
function startHarness(cleanup, node) {
  const tool = compile('chain', node.directory);
  const child = node.netns.spawn(tool, [], { stdio: ['pipe', 'pipe', 'inherit'] });
  cleanup.add(() => end(child, 'SIGKILL'));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return async (batch) => {
    child.stdin.write(`${batch.map((parts) => parts.join('\t')).join('\n')}\n\n`);
    const outcomes = [];
    for (const [command] of batch) {
      const { value, done } = await lines.next();
      if (done) throw new Error('the harness has ended');
      const [ns, code, kilobytes] = value.split(' ').map(Number);
      if (code !== 0) throw new Error(`${command} ended with ${code}`);
      outcomes.push({ ms: ns / 1e6, kilobytes });
    }
    return outcomes;
  };
}
