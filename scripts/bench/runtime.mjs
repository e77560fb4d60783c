/** A container runtime that carries out lists of CNI plugins, ours and others', and tells how long it waited for each. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { Cleanup } from './cleanup.mjs';
import { namedNamespaces } from './node.mjs';
import { compile, end } from './processes.mjs';

/** Calls of each list before anything is measured, as any daemon that has run for a minute. */
export const WARM_UP = 30;
/** After each call: what one list leaves to the kernel, or the disk, must not be on the other's account. */
const SETTLE_MS = 20;

/**
 * A configuration list.
 * @param {(at: number) => object[]} pluginsOf configurations of the plugins, in their order, for the at-th container
 */
export function pluginList(node, name, directory, pluginsOf) {
  const written = new Map();
  const fileOf = (plugin) => {
    const text = JSON.stringify(plugin);
    if (!written.has(text)) {
      const path = join(node.directory, `${name}-${written.size}.json`);
      writeFileSync(path, text);
      written.set(text, path);
    }
    return written.get(text);
  };
  const call = (command, container, netns, at) => {
    const plugins = pluginsOf(at);
    const ordered = command === 'ADD' ? plugins : plugins.toReversed();
    return [
      command,
      container,
      netns,
      directory,
      join(node.directory, `${name}-${container}.result`),
      ...ordered.flatMap((plugin) => [join(directory, plugin.type), fileOf(plugin)]),
    ];
  };
  return { call };
}

/** The process that carries lists out, see runtime.c. The same for all of them, and as small as it can be. */
export function startRuntime(cleanup, node) {
  const tool = compile('runtime', node.directory);
  const child = node.netns.spawn(tool, [], { stdio: ['pipe', 'pipe', 'inherit'] });
  cleanup.add(() => end(child, 'SIGKILL'));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return async (batch) => {
    child.stdin.write(`${batch.map((parts) => parts.join('\t')).join('\n')}\n\n`);
    const outcomes = [];
    for (const [command] of batch) {
      const { value, done } = await lines.next();
      if (done) throw new Error('the runtime has ended');
      const [ns, code, kilobytes] = value.split(' ').map(Number);
      if (code !== 0) throw new Error(`${command} ended with ${code}`);
      outcomes.push({ ms: ns / 1e6, kilobytes });
    }
    return outcomes;
  };
}

/**
 * ADD for every container, then DEL for every container, so many at once, each time by one list and then by the other.
 * @param {((batch: string[][]) => Promise<{ms: number, kilobytes: number}[]>)[]} runs the runtime of each list
 * @returns {Promise<{ADD: number[][], DEL: number[][], memory: number[][]}>} milliseconds and kilobytes, by list
 */
export async function series(cleanup, lists, runs, { count, atOnce = 1 }) {
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
        for (const { ms, kilobytes } of await runs[which](batch)) {
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
