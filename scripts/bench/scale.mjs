/** Many containers on one node: what the daemon then needs, and whether one more takes longer than at first. */
import { setTimeout as delay } from 'node:timers/promises';
import { Cleanup } from './cleanup.mjs';
import { Node, namedNamespaces } from './node.mjs';
import { line } from './report.mjs';
import { median } from './statistics.mjs';

const POLICIES = 100;
/** The endpoints around the 10th, 5 to 14, beside as many that come last on the node that is full. */
const WINDOW = 10;
const BEFORE_WINDOW = 4;
/** Connected and disconnected before anything is measured: else the first containers pay for code that is cold. */
const WARM_UP = 100;
/** So long V8 collects what the last containers have left, which is not to count as idle. */
const SETTLE_MS = 10_000;
const IDLE_MS = 10_000;
const MB = 1e6;
const MEMORY_GOAL = '<= 150';
const RESTART_GOAL = '<= 3';

const KINDS = [
  { what: 'equal labels', labelsOf: () => ({ app: 'web' }), policies: 0 },
  { what: 'distinct labels', labelsOf: distinct, policies: 0 },
  { what: `distinct labels, ${POLICIES} policies`, labelsOf: distinct, policies: POLICIES },
];

function distinct(at) {
  return { app: `app-${at}`, tier: `t${at % POLICIES}` };
}

export async function scale(options) {
  const lines = [];
  for (const kind of KINDS) {
    // A minute each where nothing else runs: somebody may be waiting.
    console.error(`bench: scale: ${options.endpoints} endpoints, ${kind.what}`);
    lines.push(...(await measure(kind, options)));
  }
  return lines;
}

function measure({ what, labelsOf, policies }, { endpoints: count, rounds }) {
  return Cleanup.during(async (cleanup) => {
    const paths = namedNamespaces(cleanup, count + BEFORE_WINDOW + WINDOW, 's');
    const full = await startSite(cleanup, policies, labelsOf, paths.splice(0, count));
    const fresh = await startSite(cleanup, policies, labelsOf, paths);
    await full.connect(count - WINDOW);
    await fresh.connect(BEFORE_WINDOW);
    const [late, early] = await takeTurns([full, fresh], rounds);
    await fresh.node.stop();

    const { node } = full;
    const busy = node.residentBytes() / MB;
    await delay(SETTLE_MS);
    const idle = await idlePercent(node);
    const rested = node.residentBytes() / MB;
    await node.stop();
    const restart = await node.start();
    const restarted = node.residentBytes() / MB;
    const about = (text) => ({ part: 'scale', what: `${text}, ${what}` });
    const nth = { ...about(`connect the ${count}th`), other: 'the 10th', unit: 'ms', goal: '<= 1.2' };
    const memory = { unit: 'MB', goal: MEMORY_GOAL };
    return [
      line({ ...nth, ours: median(late), theirs: median(early) }),
      line({ ...about(`memory right after the ${count}th`), ...memory, ours: busy }),
      line({ ...about(`memory ${(SETTLE_MS + IDLE_MS) / 1000} s later`), ...memory, ours: rested }),
      line({ ...about(`idle with ${count}`), unit: '% of a CPU', ours: idle }),
      line({
        ...about(`restart with ${count} until ready`),
        unit: 's',
        ours: restart / 1000,
        goal: RESTART_GOAL,
      }),
      line({ ...about('memory right after the restart'), ...memory, ours: restarted }),
    ];
  });
}

/** A daemon, and the containers that can be connected to it, in their order. */
async function startSite(cleanup, policies, labelsOf, paths) {
  const node = new Node(cleanup);
  await node.start();
  const { rest } = node;
  await rest.call('POST', '/networks', { name: 'bench', cidr: '198.18.0.0/16', cidr6: 'fd00:be:1::/64' });
  for (let at = 0; at < policies; at++) await rest.call('POST', '/policies', policy(at));
  let connected = 0;
  const post = (id, path, labels) =>
    rest.call('POST', '/networks/bench/containers', { container_id: id, netns_path: path, labels });
  const site = {
    node,
    /** Milliseconds of each. */
    async connect(count) {
      const times = [];
      for (const end = connected + count; connected < end; connected++) {
        const begin = performance.now();
        await post(`c-${connected}`, paths[connected], labelsOf(connected));
        times.push(performance.now() - begin);
      }
      return times;
    },
    async disconnect(count) {
      for (const end = connected - count; connected > end; connected--) {
        await rest.call('DELETE', `/networks/bench/containers/c-${connected - 1}`);
      }
    },
  };
  for (let at = 0; at < WARM_UP; at++) {
    await post('warm', paths[0], { warm: `w-${at}` });
    await rest.call('DELETE', '/networks/bench/containers/warm');
  }
  return site;
}

/** Connects the containers of the window, again and again, on one node and then on the other. */
async function takeTurns(sites, rounds) {
  const times = sites.map(() => []);
  for (let round = 0; round < rounds; round++) {
    if (round > 0) for (const site of sites) await site.disconnect(WINDOW);
    for (let at = 0; at < WINDOW; at++) {
      for (let turn = 0; turn < sites.length; turn++) {
        const which = (at + turn) % sites.length;
        times[which].push(...(await sites[which].connect(1)));
      }
    }
  }
  return times;
}

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
