/** What is measured between a client and a server, whatever connects them. */
import { readFileSync } from 'node:fs';
import { end, lineOf } from './processes.mjs';
import { line } from './report.mjs';
import { PORTS } from './sites.mjs';
import { median } from './statistics.mjs';

/** Bytes of a question and of an answer; what sockperf sends by itself. */
const QUESTION = 14;

/** The traffic.c that serves in a namespace. */
const servers = new WeakMap();

/** Each run gives the values that are listed behind it, in that order; a goal is the name of a kind of goal. */
export const MEASURES = [
  {
    run: (site, options) => throughput(site, 1, options),
    values: [{ what: 'TCP throughput, 1 stream', unit: 'Gbit/s', goal: 'throughput' }],
  },
  {
    run: (site, options) => throughput(site, 4, options),
    values: [{ what: 'TCP throughput, 4 streams', unit: 'Gbit/s', goal: 'throughput' }],
  },
  {
    run: latency,
    values: [
      { what: 'TCP request latency, median', unit: 'us', goal: 'latency' },
      { what: 'TCP request latency, 99th percentile', unit: 'us' },
    ],
  },
  {
    run: connections,
    values: [
      { what: 'TCP connections, one after another', unit: '/s', goal: 'connections' },
      { what: 'TCP connections, CPU time of both ends', unit: 'us' },
    ],
  },
];

/** The first site beside each of the others; goals by kind, and there by the other site's name. */
export async function compareSites(part, sites, goals, { rounds, families = [4, 6], ...options }) {
  const lines = [];
  for (const family of families) {
    for (const measure of MEASURES) {
      const samples = await sample(measure, sites, rounds, { family, ...options });
      lines.push(...measure.values.flatMap((value, at) => compare(part, value, at, family, samples, goals)));
    }
  }
  return lines;
}

/** Site by site, round by round, each round beginning with another site. */
async function sample({ run }, sites, rounds, options) {
  const samples = new Map(sites.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < sites.length; turn++) {
      const site = sites[(round + turn) % sites.length];
      samples.get(site.name).push(await run(site, options));
    }
  }
  return samples;
}

function compare(part, { what, unit, goal }, at, family, samples, goals) {
  const medians = new Map(
    [...samples].map(([name, values]) => [name, median(values.map((each) => each[at]))]),
  );
  const [[, ours], ...others] = medians;
  return others.map(([other, theirs]) =>
    line({ part, what: `${what}, IPv${family}`, unit, ours, other, theirs, goal: goals[goal]?.[other] }),
  );
}

/** Starts what answers in a namespace; `tool` is traffic.c. */
export async function serve(cleanup, server, tool) {
  const programs = [
    ['iperf3', ['-s', '-p', PORTS.throughput, '--forceflush'], /listening/],
    ['sockperf', ['server', '--tcp', '-i', '0.0.0.0', '-p', PORTS.latency], /listen/],
    [tool, ['serve', PORTS.traffic], /ready/],
  ];
  for (const [command, args, ready] of programs) {
    const child = server.spawn(command, args.map(String), { stdio: ['ignore', 'pipe', 'inherit'] });
    cleanup.add(() => end(child, 'SIGKILL'));
    await lineOf(child, ready);
    if (command === tool) servers.set(server, child.pid);
  }
}

async function throughput({ client, address }, streams, { family, seconds }) {
  const args = ['-c', address[family], '-p', PORTS.throughput, '-t', seconds, '-P', streams, '-J'];
  const { stdout } = await client.exec('iperf3', args.map(String));
  return [JSON.parse(stdout).end.sum_received.bits_per_second / 1e9];
}

/** Half the time between question and answer. sockperf of Debian 12 knows IPv4 alone. */
async function latency(site, options) {
  const { family, seconds } = options;
  if (family === 6) return traffic(site, 'latency', options);
  const args = [
    'ping-pong',
    '--tcp',
    '-i',
    site.address[family],
    '-p',
    PORTS.latency,
    '-t',
    seconds,
    '-m',
    QUESTION,
  ];
  const { stdout } = await site.client.exec('sockperf', args.map(String));
  return ['50.000', '99.000'].map((share) =>
    Number(new RegExp(`percentile ${share} = *([0-9.]+)`).exec(stdout)[1]),
  );
}

/**
 * How many a second, which other load changes, and what each costs, which it changes less: most of what the kernel does
 * for a packet is on the account of the process that it interrupts or that sent it, and that is one of the two.
 */
async function connections(site, options) {
  const pid = servers.get(site.server);
  const before = cpuUs(pid);
  const [rate, client, count] = await traffic(site, 'connections', options);
  return [rate, client + (cpuUs(pid) - before) / count];
}

/** CPU time that a process of one thread has used; that of /proc/<pid>/stat is counted in ticks. */
function cpuUs(pid) {
  return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1000;
}

async function traffic({ client, address }, what, { family, seconds, tool }) {
  const { stdout } = await client.exec(tool, [what, address[family], String(PORTS.traffic), String(seconds)]);
  return stdout.trim().split(' ').map(Number);
}
