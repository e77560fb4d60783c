/**
 * Whole TCP connections through a node, whose ends are programs of a few instructions in place of sockets
 * (openings.bpf.c): opened, a question, an answer, closed. What is measured is the node's part, and what seven packets
 * between two pairs of veths take, which is the same for all.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { BpfLink, BpfObject } from '../../dist/native/bpf.js';
import { Cleanup } from './cleanup.mjs';
import { compile, compileBpf, end } from './processes.mjs';
import { line } from './report.mjs';
import { PORTS } from './sites.mjs';
import { median } from './statistics.mjs';

/** In a turn, as in openings.c: what all turns leave in the tables has room there. */
const CONNECTIONS = 500;
/** Segments of each that one end and the other one get. */
const SEGMENTS = { opener: 3, responder: 4 };
const CPU = '1';
/** Where those outside are, who vary. */
export const FAR = { 4: '198.19.128.0', 6: 'fd00:be:a::' };
export const FAR_BITS = { 4: 24, 6: 64 };

/**
 * Sites are as nat.mjs has them: the first beside each of the others.
 * @param {'masquerade' | 'port mapping'} part
 */
export function openings(part, sites, goal, { rounds, directory, families = [4, 6] }) {
  return Cleanup.during(async (cleanup) => {
    const tool = compile('openings', directory);
    const program = await loadProgram(cleanup, directory);
    for (const { container, outside } of sites) {
      for (const netns of [container, outside]) turnRound(cleanup, netns, program);
    }
    const lines = [];
    for (const family of families) {
      lines.push(...(await measure(cleanup, part, sites, goal, { rounds, tool, family })));
    }
    return lines;
  });
}

async function measure(cleanup, part, sites, goal, { rounds, tool, family }) {
  const senders = new Map();
  for (const site of sites) senders.set(site, await sender(cleanup, tool, part, site, family));
  const rates = new Map(sites.map((site) => [site, []]));
  let first = 0;
  for (let round = 0; round <= 3 * rounds; round++) {
    for (const [site, send] of senders) {
      const rate = await send(first);
      if (round > 0) rates.get(site).push(rate);
    }
    first += CONNECTIONS;
  }
  const [ours, ...others] = sites;
  return others.map((other) =>
    line({
      part,
      what: `TCP connections, ends without sockets, IPv${family}, one core`,
      unit: '/s',
      ours: median(rates.get(ours)),
      other: other.name,
      theirs: median(rates.get(other)),
      goal: goal[other.name],
    }),
  );
}

async function loadProgram(cleanup, directory) {
  const object = BpfObject.open(compileBpf('openings', directory));
  cleanup.add(() => object.close());
  await object.load();
  const program = object.program('bench_turn');
  cleanup.add(() => program.close());
  return program;
}

function turnRound(cleanup, netns, program) {
  const link = netns.run(() =>
    BpfLink.attachTcx({ program, ifindex: netns.link('eth0').index, direction: 'ingress' }),
  );
  cleanup.add(() => link.close());
}

/** Resolves with what opens connections, and tells how many a second. */
async function sender(cleanup, tool, part, { container, outside, address, gatewayMac, uplinkMac }, family) {
  const isOut = part === 'masquerade';
  const [opener, responder] = isOut ? [container, outside] : [outside, container];
  const own = opener.link('eth0');
  const source = isOut ? addressOf(container, family) : FAR[family];
  const destination = isOut ? FAR[family] : address[family];
  const child = opener.run(() =>
    spawn(
      tool,
      [
        ...['eth0', own.mac, isOut ? gatewayMac : uplinkMac, source, destination],
        ...[String(PORTS.traffic), isOut ? 'varies-destination' : 'varies-source', CPU],
      ],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    ),
  );
  cleanup.add(() => end(child));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  await lines.next();
  return async (first) => {
    const before = [received(opener), received(responder)];
    child.stdin.write(`${first}\n`);
    const ns = Number((await lines.next()).value);
    const [opened, answered] = [received(opener) - before[0], received(responder) - before[1]];
    if (opened < CONNECTIONS * SEGMENTS.opener * 0.99 || answered < CONNECTIONS * SEGMENTS.responder * 0.99)
      throw new Error(`${part}: of ${CONNECTIONS} connections ${opened} and ${answered} segments arrived`);
    return 1e9 / ns;
  };
}

function addressOf(netns, family) {
  const { index } = netns.link('eth0');
  const found = netns.rtnl
    .addresses(index)
    .find((each) => each.address.includes(':') === (family === 6) && !each.address.startsWith('fe80'));
  return found.address;
}

function received(netns) {
  const text = netns.run(() => readFileSync('/proc/thread-self/net/dev', 'utf8'));
  return Number(/^\s*eth0:\s*(.*)$/m.exec(text)[1].split(/\s+/)[1]);
}
