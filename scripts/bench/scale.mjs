/** Many containers on one node: what a daemon then needs, and whether the last one takes longer than the first. */
import { setTimeout as delay } from 'node:timers/promises';
import { Cleanup } from './cleanup.mjs';
import { Node, namedNamespaces } from './node.mjs';
import { line } from './report.mjs';
import { median } from './statistics.mjs';

const POLICIES = 100;
/** Connected and disconnected before anything is measured: else the first containers pay for code that is cold. */
const WARM_UP = 100;
const IDLE_MS = 10_000;
const MIB = 2 ** 20;
/** Of the endpoints around the 10th and up to the last: enough for a median, close enough for one number. */
const WINDOW = 10;

const KINDS = [
  { what: 'equal labels', labels: () => ({ app: 'web' }), policies: 0 },
  { what: 'distinct labels', labels: distinct, policies: 0 },
  { what: `distinct labels, ${POLICIES} policies`, labels: distinct, policies: POLICIES },
];

function distinct(at) {
  return { app: `app-${at}`, tier: `t${at % POLICIES}` };
}

export async function scale(options) {
  const lines = [];
  for (const kind of KINDS) lines.push(...(await measure(kind, options)));
  return lines;
}

function measure({ what, labels, policies }, { endpoints: count }) {
  return Cleanup.during(async (cleanup) => {
    const node = new Node(cleanup);
    await node.start();
    const { rest } = node;
    await rest.call('POST', '/networks', { name: 'bench', cidr: '198.18.0.0/16', cidr6: 'fd00:be:1::/64' });
    for (let at = 0; at < policies; at++) await rest.call('POST', '/policies', policy(at));
    const namespaces = namedNamespaces(cleanup, count, 's');
    await warmUp(node, namespaces[0]);

    const times = [];
    for (const [at, path] of namespaces.entries())
      times.push(await connect(rest, `c-${at}`, path, labels(at)));
    const early = median(times.slice(4, 4 + WINDOW));
    const late = median(times.slice(-WINDOW));

    const about = (rest) => ({ part: 'scale', ...rest, what: `${rest.what}, ${what}` });
    const resident = node.residentBytes() / MIB;
    const idle = await idlePercent(node);
    await node.stop();
    const restart = await node.start();
    return [
      line(
        about({
          what: `connect the ${count}th`,
          unit: 'ms',
          ours: late,
          other: 'the 10th',
          theirs: early,
          goal: '<= 1.2',
        }),
      ),
      line(about({ what: `memory of ${count} endpoints`, unit: 'MiB', ours: resident, goal: '<= 150' })),
      line(about({ what: `idle with ${count} endpoints`, unit: '% CPU', ours: idle })),
      line(about({ what: `restart with ${count} endpoints`, unit: 's', ours: restart / 1000 })),
    ];
  });
}

/** Milliseconds. */
async function connect(rest, id, path, labels) {
  const begin = performance.now();
  await rest.call('POST', '/networks/bench/containers', { container_id: id, netns_path: path, labels });
  return performance.now() - begin;
}

async function warmUp({ rest }, path) {
  for (let at = 0; at < WARM_UP; at++) {
    await connect(rest, 'warm', path, { warm: `w-${at}` });
    await rest.call('DELETE', '/networks/bench/containers/warm');
  }
}

/** Of one CPU. */
async function idlePercent(node) {
  const begin = performance.now();
  const before = node.cpuMs();
  await delay(IDLE_MS);
  return ((node.cpuMs() - before) / (performance.now() - begin)) * 100;
}

/** One tier may talk to the next. */
function policy(at) {
  const select = (tier) => ({ podSelector: { matchLabels: { tier: `t${tier % POLICIES}` } } });
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: `tier-${at}` },
    spec: {
      ...select(at),
      policyTypes: ['Ingress', 'Egress'],
      ingress: [{ from: [select(at + 1)], ports: [{ port: 80 }] }],
      egress: [{ to: [select(at + POLICIES - 1)], ports: [{ port: 80 }] }],
    },
  };
}
