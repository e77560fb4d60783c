/**
 * What the first packet of a flow costs, by the number of rules that its sender has. Under BPF_PROG_TEST_RUN, each
 * packet once, so that nothing of the last one is of use to it but what every packet uses.
 */
import { execFileSync } from 'node:child_process';
import { Cleanup } from './cleanup.mjs';
import { udpFrame } from './frames.mjs';
import { load, MAC } from './loaded.mjs';
import { line } from './report.mjs';
import { KINDS, PORT } from './rules.mjs';
import { median } from './statistics.mjs';

const COUNTS = [10, 1000, 100_000];
/** New flows in a round. */
const FLOWS = 1500;
const MAPS = { qn_policy: 'rule', qn_policy_cidrs: 'range', qn_policy_subjects: 'subject' };

export async function verdict({ rounds }) {
  const lines = [];
  for (const kind of Object.keys(KINDS)) lines.push(...(await measure(kind, rounds)));
  return lines;
}

function measure(kind, rounds) {
  return Cleanup.during(async (cleanup) => {
    const sites = [];
    for (const count of COUNTS) {
      const { change, receivers, destination } = KINDS[kind](count);
      sites.push({ count, change, destination, times: [], ...(await load(cleanup, { change, receivers })) });
    }
    let flow = 0;
    for (let round = 0; round <= rounds; round++) {
      for (const site of sites) for (let at = 0; at < FLOWS; at++) runNew(site, flow++, round > 0);
    }
    const [few, ...more] = sites.map(({ times }) => median(times));
    const about = { part: 'verdict', unit: 'ns', other: `${COUNTS[0]} rules`, theirs: few, goal: '<= 1.2' };
    return [
      ...more.map((ours, at) => line({ ...about, what: `new flow, ${COUNTS[at + 1]} rules: ${kind}`, ours })),
      ...memory(kind, sites),
    ];
  });
}

function runNew({ run, destination, times }, flow, isCounted) {
  const data = udpFrame({
    mac: MAC,
    source: '198.18.0.2',
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
