/** From container to container on one node, beside the bridge plugin and a bare pair of interfaces. */
import { Cleanup } from './cleanup.mjs';
import { Node } from './node.mjs';
import { compile, end, lineOf } from './processes.mjs';
import { line } from './report.mjs';
import { bareSite, bridgeSite, ourSite, PORTS } from './sites.mjs';
import { median } from './statistics.mjs';

/** The client opens more connections than an endpoint may have by default. */
const SETTINGS = { 'flows-per-endpoint': 0 };
/** Bytes of a question and of an answer; what sockperf sends by itself. */
const QUESTION = 14;
const FASTER = { bridge: '>= 1', 'bare veth': '>= 0.9' };
const QUICKER = { bridge: '<= 1', 'bare veth': '<= 1.1' };

/** Each run gives the values that are listed behind it, in that order. */
const MEASURES = [
  {
    run: (site, options) => throughput(site, 1, options),
    values: [{ what: 'TCP throughput, 1 stream', unit: 'Gbit/s', goals: FASTER }],
  },
  {
    run: (site, options) => throughput(site, 4, options),
    values: [{ what: 'TCP throughput, 4 streams', unit: 'Gbit/s', goals: FASTER }],
  },
  {
    run: latency,
    values: [
      { what: 'TCP request latency, median', unit: 'us', goals: QUICKER },
      { what: 'TCP request latency, 99th percentile', unit: 'us', goals: {} },
    ],
  },
  {
    run: (site, options) => traffic(site, 'connections', options),
    values: [{ what: 'TCP connections, one after another', unit: '/s', goals: {} }],
  },
];

export function datapath({ rounds, seconds }) {
  return Cleanup.during(async (cleanup) => {
    const node = new Node(cleanup, SETTINGS);
    await node.start();
    const tool = compile('traffic', node.directory);
    const sites = [await ourSite(cleanup, node), bridgeSite(cleanup, node), bareSite(cleanup)];
    await requireEqualOffloads(sites);
    for (const site of sites) await serve(cleanup, site, tool);
    const lines = [];
    for (const family of [4, 6]) {
      for (const measure of MEASURES) {
        const samples = await sample(measure, sites, rounds, { family, seconds, tool });
        lines.push(...measure.values.flatMap((value, at) => compare(value, at, family, samples)));
      }
    }
    return lines;
  });
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

function compare({ what, unit, goals }, at, family, samples) {
  const medians = new Map(
    [...samples].map(([name, values]) => [name, median(values.map((each) => each[at]))]),
  );
  const [[, ours], ...others] = medians;
  return others.map(([other, theirs]) =>
    line({ part: 'datapath', what: `${what}, IPv${family}`, unit, ours, other, theirs, goal: goals[other] }),
  );
}

async function serve(cleanup, { server }, tool) {
  const programs = [
    ['iperf3', ['-s', '-p', PORTS.throughput, '--forceflush'], /listening/],
    ['sockperf', ['server', '--tcp', '-i', '0.0.0.0', '-p', PORTS.latency], /listen/],
    [tool, ['serve', PORTS.traffic], /ready/],
  ];
  for (const [command, args, ready] of programs) {
    const child = server.spawn(command, args.map(String), { stdio: ['ignore', 'pipe', 'inherit'] });
    cleanup.add(() => end(child, 'SIGKILL'));
    await lineOf(child, ready);
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

async function traffic({ client, address }, what, { family, seconds, tool }) {
  const { stdout } = await client.exec(tool, [what, address[family], String(PORTS.traffic), String(seconds)]);
  return stdout.trim().split(' ').map(Number);
}

/** Segmentation and checksums left to the interface, or not, would decide everything. */
async function requireEqualOffloads(sites) {
  const features = async ({ client }) => {
    const { stdout } = await client.exec('ethtool', ['-k', 'eth0']);
    return stdout.slice(stdout.indexOf('\n'));
  };
  const [first, ...others] = await Promise.all(sites.map(features));
  if (others.some((other) => other !== first)) throw new Error('the interfaces differ in what they offload');
}
