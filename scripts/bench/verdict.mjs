/**
 * What the first packet of a flow costs, by the number of rules that its sender has. Under BPF_PROG_TEST_RUN, each
 * packet once, so that nothing of the last one is of use to it but what every packet uses.
 */
import { execFileSync } from 'node:child_process';
import { Cleanup } from './cleanup.mjs';
import { udpFrame } from './frames.mjs';
import { load, MAC } from './loaded.mjs';
import { line } from './report.mjs';
import { KINDS, lengthsOf, nested, PORT, subjectsAlone } from './rules.mjs';
import { median } from './statistics.mjs';

const COUNTS = [10, 1000, 100_000];
const SUBJECTS = [10, 10_000];
/** New flows in a round. */
const FLOWS = 1500;
const MAPS = { qn_policy: 'rule', qn_policy_cidrs: 'range', qn_policy_subjects: 'subject' };

const SOURCES = { 4: '198.18.0.2', 6: 'fd00:be:1::2' };

export async function verdict({ rounds }) {
  const lines = [];
  for (const kind of Object.keys(KINDS)) lines.push(...(await byCount(kind, rounds)));
  for (const family of [4, 6]) lines.push(await byLengths(family, rounds));
  lines.push(...(await subjectMemory()));
  return lines;
}

function byCount(kind, rounds) {
  return Cleanup.during(async (cleanup) => {
    const sites = [];
    for (const count of COUNTS) sites.push(await site(cleanup, KINDS[kind](count)));
    takeTurns(sites, rounds);
    const [few, ...more] = sites.map(({ times }) => median(times));
    const about = { part: 'verdict', unit: 'ns', other: `${COUNTS[0]} rules`, theirs: few, goal: '<= 1.2' };
    return [
      ...more.map((ours, at) => line({ ...about, what: `new flow, ${COUNTS[at + 1]} rules: ${kind}`, ours })),
      ...memory(kind, sites),
    ];
  });
}

/** The most that the lengths of ranges can cost. */
function byLengths(family, rounds) {
  return Cleanup.during(async (cleanup) => {
    const count = lengthsOf(family);
    const sites = [];
    for (const longest of [0, count - 1]) {
      sites.push(await site(cleanup, { ...nested(family, longest), source: SOURCES[family] }));
    }
    takeTurns(sites, rounds);
    const [theirs, ours] = sites.map(({ times }) => median(times));
    const what = `new flow, in none of ${count} ranges but the widest, IPv${family}`;
    return line({ part: 'verdict', unit: 'ns', what, ours, other: 'one range', theirs });
  });
}

function subjectMemory() {
  return Cleanup.during(async (cleanup) => {
    const sites = [];
    for (const count of SUBJECTS) sites.push(await site(cleanup, subjectsAlone(count)));
    return memory('of an identity', sites);
  });
}

async function site(cleanup, { change, receivers, destination, source = SOURCES[4] }) {
  const loaded = await load(cleanup, { change, receivers });
  return { change, destination, source, times: [], ...loaded };
}

let flows = 0;

function takeTurns(sites, rounds) {
  for (let round = 0; round <= rounds; round++) {
    for (const each of sites) for (let at = 0; at < FLOWS; at++) runNew(each, flows++, round > 0);
  }
}

function runNew({ run, destination, source, times }, flow, isCounted) {
  const data = udpFrame({
    mac: MAC,
    source,
    destination: destination(flow),
    sourcePort: 1024 + (flow % 64_000),
    destinationPort: PORT,
    payload: 16,
  });
  const ns = run(data, 1);
  if (isCounted) times.push(ns);
}

/** What an entry takes in the kernel: what the map with most of them has more than the one with fewest. */
function memory(kind, sites) {
  const [least, most] = [sites[0], sites.at(-1)];
  return Object.entries(MAPS).flatMap(([map, what]) => {
    const entries = entriesOf(most, map) - entriesOf(least, map);
    if (entries < COUNTS[1]) return [];
    const ours = (bytes(most, map) - bytes(least, map)) / entries;
    return line({ part: 'verdict', what: `kernel memory of a ${what}: ${kind}`, unit: 'bytes', ours });
  });
}

function entriesOf({ change }, map) {
  if (map === 'qn_policy') return change.set.length;
  return map === 'qn_policy_cidrs' ? (change.cidrs?.length ?? 0) : change.subjects.length;
}

function bytes({ pins }, map) {
  const output = execFileSync('bpftool', ['-j', 'map', 'show', 'pinned', `${pins.maps}/${map}`], {
    encoding: 'utf8',
  });
  return JSON.parse(output).bytes_memlock;
}
