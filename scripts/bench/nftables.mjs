/**
 * New connections from a container through the node to the outside, by the number of rules: ours beside nftables with
 * the same rules, as a set of address ranges and ports and as one rule each, and beside a node without any. Each node
 * forwards between two pairs of veths and tracks connections. What a datagram takes through the bare node is
 * taken off: what stays is connection tracking and the verdict. (nftables keeps its own track; the bare node none.)
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { BpfLink } from '../../dist/native/bpf.js';
import { createVethPair, Netns } from '../../dist/netns/index.js';
import { Cleanup } from './cleanup.mjs';
import { address4, load, MAC } from './loaded.mjs';
import { compile, end } from './processes.mjs';
import { line } from './report.mjs';
import { KINDS, PORT, rangeBase } from './rules.mjs';
import { median } from './statistics.mjs';

const COUNTS = [10, 1000, 100_000];
const FLOWS = 1000;
/** Of plain rules: one datagram asks half of them. */
const FLOWS_PLAIN = 30;
const KIND = 'ranges with an exception, all in use';
const SENDER_MAC = MAC;
const CPU = '1';

export async function nftables({ rounds }) {
  const lines = [];
  for (const count of COUNTS) lines.push(...(await measure(count, rounds)));
  return lines;
}

function measure(count, rounds) {
  return Cleanup.during(async (cleanup) => {
    const directory = mkdtempSync(join(tmpdir(), 'quantum-bench-nft-'));
    cleanup.add(() => rmSync(directory, { recursive: true }));
    const program = compile('flows', directory);
    const sites = {
      bare: node(cleanup),
      ours: await ourNode(cleanup, count),
      set: nftNode(cleanup, join(directory, 'set'), asSet(count)),
      rules: nftNode(cleanup, join(directory, 'rules'), asRules(count)),
    };
    const senders = {};
    for (const [name, site] of Object.entries(sites))
      senders[name] = await sender(cleanup, program, site, count);
    const times = Object.fromEntries(Object.keys(sites).map((name) => [name, []]));
    let first = 0;
    for (let round = 0; round <= 3 * rounds; round++) {
      for (const [name, send] of Object.entries(senders)) {
        const flows = name === 'rules' && count > COUNTS[1] ? FLOWS_PLAIN : FLOWS;
        const ns = await send(flows, first);
        if (round > 0) times[name].push(ns);
      }
      first += FLOWS;
    }
    for (const [name, site] of Object.entries(sites)) requireDelivery(name, site);
    const bare = median(times.bare);
    const over = (name) => median(times[name]) - bare;
    const about = { part: 'nftables', unit: 'ns', what: `new flow, ${count} ranges`, ours: over('ours') };
    return [
      line({ ...about, other: 'a set', theirs: over('set') }),
      line({ ...about, other: 'rules', theirs: over('rules') }),
    ];
  });
}

/** A namespace that forwards from `inside` to `outside`, where what arrives is counted and dropped. */
export function node(cleanup, host = Netns.create()) {
  const [inside, outside] = [Netns.create(), Netns.create()];
  cleanup.add(() => {
    for (const each of new Set([inside, outside, host])) each.close();
  });
  createVethPair(
    { netns: host, name: 'in', mac: '06:00:00:00:00:02', addresses: ['198.18.255.1/16'] },
    { netns: inside, name: 'eth0', mac: SENDER_MAC, addresses: [`${address4(0)}/16`] },
  );
  createVethPair(
    { netns: host, name: 'out', addresses: ['198.19.0.1/24'] },
    { netns: outside, name: 'eth0', mac: '06:00:00:00:00:03', addresses: ['198.19.0.2/24'] },
  );
  host.rtnl.addRoute({ destination: '20.0.0.0/8', via: '198.19.0.2' });
  host.rtnl.setNeighbour({
    index: host.link('out').index,
    address: '198.19.0.2',
    mac: '06:00:00:00:00:03',
    permanent: true,
  });
  host.run(() => writeFileSync('/proc/sys/net/ipv4/ip_forward', '1'));
  return { host, inside, outside };
}

async function ourNode(cleanup, count) {
  const host = Netns.create();
  const made = node(cleanup, host);
  const { change } = KINDS[KIND](count);
  const { loaded } = await load(cleanup, { change, ifindex: host.link('in').index });
  attach(cleanup, host, loaded);
  return made;
}

/** Puts from_container where the sender's frames come in. */
export function attach(cleanup, host, { fromContainer: program }) {
  const ifindex = host.link('in').index;
  const link = host.run(() =>
    BpfLink.attachTcx({ program, ifindex, direction: 'ingress', position: 'first' }),
  );
  cleanup.add(() => link.close());
}

export function nftNode(cleanup, path, ruleset) {
  const made = node(cleanup);
  writeFileSync(path, ruleset);
  made.host.run(() => execFileSync('nft', ['-f', path]));
  return made;
}

function asSet(count) {
  const elements = ranges(count).map((range) => `${range} . ${PORT}`);
  return ruleset(
    `set allowed { type ipv4_addr . inet_service; flags interval; elements = { ${elements.join(', ')} }; }`,
    ['ip daddr . udp dport @allowed accept'],
  );
}

function asRules(count) {
  return ruleset(
    '',
    ranges(count).map((range) => `ip daddr ${range} udp dport ${PORT} accept`),
  );
}

function ranges(count) {
  return Array.from({ length: count }, (_, at) => `${rangeBase(at, 4)}-${rangeBase(at, 15)}`);
}

function ruleset(set, rules) {
  return `table ip bench {
    ${set}
    chain forward {
      type filter hook forward priority filter; policy drop;
      ct state established,related accept
      ${rules.join('\n      ')}
    }
  }`;
}

/** Resolves with what sends flows and tells nanoseconds of each. */
export async function sender(cleanup, program, { inside }, count) {
  const mac = '06:00:00:00:00:02';
  const child = inside.run(() =>
    spawn(program, ['eth0', SENDER_MAC, mac, address4(0), String(count), CPU], {
      stdio: ['pipe', 'pipe', 'inherit'],
    }),
  );
  cleanup.add(() => end(child));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  await lines.next();
  return async (flows, first) => {
    child.stdin.write(`${flows} ${first}\n`);
    return Number((await lines.next()).value);
  };
}

/** Else something was measured that drops. */
export function requireDelivery(name, { outside, inside }) {
  const read = (netns, direction) => {
    const text = netns.run(() => execFileSync('cat', ['/proc/net/dev'], { encoding: 'utf8' }));
    const fields = /^\s*eth0:\s*(.*)$/m.exec(text)[1].split(/\s+/);
    return Number(fields[direction === 'rx' ? 1 : 9]);
  };
  const [sent, arrived] = [read(inside, 'tx'), read(outside, 'rx')];
  if (arrived < sent * 0.99) throw new Error(`${name}: of ${sent} datagrams ${arrived} arrived`);
}
