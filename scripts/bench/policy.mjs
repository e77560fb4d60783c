/** The policy compiler alone: what a change of policies costs before anything is written into a map. */
import { line } from './report.mjs';
import { median } from './statistics.mjs';

const NAMESPACES = 100;
const OUTSIDE = { cidr: '0.0.0.0/0', except: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'] };

export async function policy({ rounds }) {
  const { PolicyEngine } = await import('../../dist/firewall/engine.js');
  const { parsePolicy } = await import('../../dist/model/policy.js');
  const bench = { PolicyEngine, parsePolicy, rounds };
  return [...compileAll(bench), ...changeRule(bench), ...outside(bench)];
}

/** A thousand policies, ten in each namespace, in every form that they have. */
function compileAll({ PolicyEngine, parsePolicy, rounds }) {
  const policies = Array.from({ length: 1000 }, (_, index) => parsePolicy(mixedPolicy(index)));
  return [2000, 10_000].map((count) => {
    const identities = Array.from({ length: count }, (_, index) => identity(index, 10));
    const times = [];
    let size = 0;
    for (let round = 0; round <= rounds; round++) {
      const engine = newEngine(PolicyEngine);
      times.push(
        timed(() => {
          for (const each of identities) engine.upsertIdentity(each);
          for (const each of policies) engine.upsertPolicy(each);
          size = engine.takeDelta().set.length;
        }),
      );
    }
    const what = `1,000 policies compiled for ${count} identities (${size} entries)`;
    return line({ part: 'policy', what, unit: 's', ours: median(times.slice(1)) / 1000, goal: '<= 2' });
  });
}

/** Ten thousand identities with a policy of ten rules each; one rule of one policy changes. */
function changeRule({ PolicyEngine, parsePolicy, rounds }) {
  const engine = newEngine(PolicyEngine);
  for (let index = 0; index < 10_000; index++) {
    engine.upsertIdentity(identity(index, 100));
    engine.upsertPolicy(parsePolicy(tenRules(index, 80)));
  }
  engine.takeDelta();
  const times = [];
  for (let round = 0; round <= 10 * rounds; round++) {
    const changed = parsePolicy(tenRules(round, 81));
    times.push(
      timed(() => {
        engine.upsertPolicy(changed);
        engine.takeDelta();
      }),
    );
  }
  const what = 'one of 100,000 rules changed, 10,000 identities';
  return [line({ part: 'policy', what, unit: 'ms', ours: median(times.slice(1)), goal: '<= 20' })];
}

/** Ten thousand identities that one policy lets out, to the public addresses only. */
function outside({ PolicyEngine, parsePolicy, rounds }) {
  const engine = newEngine(PolicyEngine);
  for (let index = 0; index < 10_000; index++) engine.upsertIdentity(identity(index, 100));
  engine.takeDelta();
  const opening = parsePolicy(
    clusterPolicy('outside', {
      egress: [
        { action: 'Deny', to: OUTSIDE.except.map((cidr) => ({ networks: [cidr] })) },
        { action: 'Accept', to: [{ networks: [OUTSIDE.cidr] }] },
      ],
    }),
  );
  const times = [];
  for (let round = 0; round <= rounds; round++) {
    times.push(
      timed(() => {
        engine.upsertPolicy(opening);
        engine.takeDelta();
      }),
    );
    engine.removePolicy({ namespace: '-', name: 'outside' });
    engine.takeDelta();
  }
  const what = 'ranges of one policy given to 10,000 identities';
  return [line({ part: 'policy', what, unit: 's', ours: median(times.slice(1)) / 1000 })];
}

export function newEngine(PolicyEngine) {
  const engine = new PolicyEngine();
  engine.upsertNetwork({ id: 1, name: 'n1', isolation_mode: 'full', peers: [] });
  for (let index = 0; index < NAMESPACES; index++) {
    engine.setNamespace({ name: `ns${index}`, labels: { place: `p${index}` } });
  }
  return engine;
}

export function identity(index, apps) {
  const namespace = `ns${index % NAMESPACES}`;
  const app = Math.floor(index / NAMESPACES);
  const labels = { app: `a${app % apps}`, instance: `i${index}`, tier: app % 2 === 0 ? 'front' : 'back' };
  return { id: 256 + index, network_id: 1, namespace, labels };
}

function mixedPolicy(index) {
  const app = Math.floor(index / NAMESPACES);
  const pods = (label) => ({ podSelector: { matchLabels: { app: `a${label % 10}` } } });
  return networkPolicy(`p${index}`, `ns${index % NAMESPACES}`, {
    ...pods(app),
    ingress: [
      { from: [pods(app + 1)], ports: [{ port: 8080 }, { port: 'metrics' }] },
      {
        from: [
          { namespaceSelector: { matchLabels: { place: `p${(index * 7) % NAMESPACES}` } }, ...pods(app) },
        ],
        ports: [{ port: 8000, endPort: 8007 }],
      },
    ],
    egress: [{ to: [pods(app + 2)] }, { to: [{ ipBlock: OUTSIDE }], ports: [{ port: 443 }] }],
  });
}

export function tenRules(index, port) {
  const instance = (number) => ({ podSelector: { matchLabels: { instance: `i${number}` } } });
  return networkPolicy(`p${index}`, `ns${index % NAMESPACES}`, {
    ...instance(index),
    ingress: Array.from({ length: 10 }, (_, rule) => ({
      from: [instance(index + rule * NAMESPACES)],
      ports: [{ port: rule === 5 ? port : 80 }],
    })),
  });
}

function networkPolicy(name, namespace, spec) {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name, namespace },
    spec,
  };
}

function clusterPolicy(name, spec) {
  return {
    apiVersion: 'policy.networking.k8s.io/v1alpha2',
    kind: 'ClusterNetworkPolicy',
    metadata: { name },
    spec: { tier: 'Admin', priority: 10, subject: { namespaces: {} }, ...spec },
  };
}

/** Milliseconds. */
function timed(work) {
  const start = performance.now();
  work();
  return performance.now() - start;
}
