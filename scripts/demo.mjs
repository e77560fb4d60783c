import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Netns } from '../dist/netns/index.js';

const DAEMON = fileURLToPath(new URL('../dist/bin/quantum-api.js', import.meta.url));
const READY_MS = 20_000;
const CONNECT_S = 1;

const POLICY = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web-from-client }
spec:
  podSelector: { matchLabels: { app: web } }
  ingress:
    - from: [{ podSelector: { matchLabels: { app: client } } }]
      ports: [{ port: 80 }]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: client-to-web }
spec:
  podSelector: { matchLabels: { app: client } }
  policyTypes: [Egress]
  egress:
    - to: [{ podSelector: { matchLabels: { app: web } } }]
`;

const SERVER = `for (const port of [80, 22]) require('net').createServer(s => s.on('error', () => {}).end('hello')).listen(port, '::', () => console.log(port))`;

const isTerminal = process.stdout.isTTY;
const colour = (code, text) => (isTerminal ? `\x1b[${code}m${text}\x1b[0m` : text);
const title = (text) => console.log(`\n${colour('1', text)}`);

const cleanup = [];
const undo = (step) => cleanup.push(step);

async function main() {
  const directory = mkdtempSync(join(tmpdir(), 'quantum-demo-'));
  undo(() => rmSync(directory, { recursive: true }));
  const bpffs = `/sys/fs/bpf/quantum-demo-${process.pid}`;
  undo(() => rmSync(bpffs, { recursive: true, force: true }));
  const node = Netns.create();
  undo(() => node.close());

  title('A node: a daemon in a network namespace of its own');
  const socketPath = join(directory, 'run', 'api.sock');
  const call = (method, path, body, type = 'application/json') =>
    callApi(socketPath, method, path, body, type);
  await startDaemon(node, directory, bpffs);
  console.log(`  listens on ${socketPath}`);

  title('A network, dual stack, where nothing may talk (isolation_mode full)');
  const network = await call('POST', '/networks', {
    name: 'demo',
    cidr: '198.18.0.0/24',
    cidr6: 'fd00:de30::/64',
  });
  undo(() => call('DELETE', '/networks/demo'));
  console.log(`  ${network.name}  ${network.cidr}  ${network.cidr6}  on ${network.bridge_interface}`);

  title('Three containers');
  const containers = {};
  for (const app of ['web', 'client', 'stranger']) containers[app] = await connectContainer(call, app);
  for (const { app, endpoint } of Object.values(containers)) {
    console.log(
      `  ${app.padEnd(9)} ${endpoint.ip_address}  ${endpoint.ip6_address}  identity ${endpoint.identity}`,
    );
  }
  await startServer(containers.web.netns);
  const watching = await watchFlows(socketPath, containers);

  const attempts = [
    ['client', 'web', 80],
    ['client', 'web', 22],
    ['stranger', 'web', 80],
    ['web', 'client', 80],
  ];
  title('Without a policy');
  await attemptAll(attempts, containers);

  watching.forget();
  title('With a policy: web takes port 80 from client, client may send to web');
  for (const text of POLICY.split('---\n')) await call('POST', '/policies', text, 'application/yaml');
  await attemptAll(attempts, containers);
  await watching.stop();

  title('What the programs counted');
  const metrics = await call('GET', '/metrics');
  for (const line of metrics.split('\n')) {
    if (/^quantum_\w*packets_total\{.*reason="(NONE|POLICY_)/.test(line)) console.log(`  ${line}`);
  }
  title('Everything is removed again');
}

async function startDaemon(node, directory, bpffs) {
  const settings = {
    'state-dir': join(directory, 'state'),
    'run-dir': join(directory, 'run'),
    'cni-bin-dir': join(directory, 'bin'),
    'docker-plugin-dir': 'none',
    'cni-conf-dir': join(directory, 'conf'),
    'bpffs-dir': bpffs,
    listen: 'none',
    'grpc-listen': 'none',
    uplink: 'none',
    'log-level': 'warn',
  };
  const flags = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
  const daemon = node.spawn(process.execPath, [DAEMON, ...flags], { stdio: ['ignore', 'pipe', 'inherit'] });
  undo(async () => {
    if (daemon.exitCode !== null || daemon.signalCode !== null) return;
    daemon.kill('SIGTERM');
    await once(daemon, 'exit');
  });
  await lineOf(daemon, /is ready/);
}

/** Resolves at the first line of output that matches. */
async function lineOf(child, pattern) {
  const timeout = AbortSignal.timeout(READY_MS);
  const exit = once(child, 'exit', { signal: timeout }).then(([code]) => {
    throw new Error(`${child.spawnfile} ended with code ${code}`);
  });
  const found = (async () => {
    for await (const line of createInterface({ input: child.stdout })) if (pattern.test(line)) return;
  })();
  await Promise.race([found, exit]);
  exit.catch(() => undefined);
  child.stdout.resume();
}

async function connectContainer(call, app) {
  const name = `quantum-demo-${process.pid}-${app}`;
  const netns = Netns.create({ name });
  undo(() => {
    netns.close();
    Netns.delete(name);
  });
  const endpoint = await call('POST', '/networks/demo/containers', {
    container_id: app,
    netns_path: `/run/netns/${name}`,
    labels: { app },
  });
  undo(() => call('DELETE', `/networks/demo/containers/${app}`));
  return { app, netns, endpoint };
}

async function startServer(netns) {
  const server = netns.spawn(process.execPath, ['-e', SERVER], { stdio: ['ignore', 'pipe', 'inherit'] });
  undo(async () => {
    server.kill('SIGKILL');
    await once(server, 'exit');
  });
  await lineOf(server, /22/);
}

/** Tries every connection over both families at once, and says what came of it. */
async function attemptAll(attempts, containers) {
  const families = [
    ['IPv4', 'ip_address'],
    ['IPv6', 'ip6_address'],
  ];
  const results = await Promise.all(
    attempts.flatMap(([from, to, port]) =>
      families.map(async ([family, field]) => {
        const script = `exec 3<>/dev/tcp/${containers[to].endpoint[field]}/${port}`;
        const child = containers[from].netns.spawn('timeout', [String(CONNECT_S), 'bash', '-c', script], {
          stdio: 'ignore',
        });
        const [code] = await once(child, 'exit');
        return { text: `${from.padEnd(9)}-> ${to}:${port}`.padEnd(24) + family, connected: code === 0 };
      }),
    ),
  );
  await delay(300); // the last events are on their way: they are for show, nothing depends on them
  for (const { text, connected } of results) {
    console.log(`  ${text}  ${connected ? colour('32', 'connected') : colour('31', 'blocked')}`);
  }
}

/** Prints each new verdict on a connection as the programs report it. */
async function watchFlows(socketPath, containers) {
  const seen = new Set();
  const names = new Map(
    Object.values(containers).flatMap(({ app, endpoint }) => [
      [endpoint.ip_address, app],
      [endpoint.ip6_address, app],
    ]),
  );
  const print = (line) => {
    const { verdict, reason, source, destination, protocol, egress_rule, ingress_rule } = JSON.parse(line);
    if (protocol !== 'TCP' || destination.port === undefined) return;
    const rules = [egress_rule, ingress_rule].filter(Boolean).join('  and  ');
    const why = verdict === 'allowed' ? `by ${rules}` : reason;
    const family = source.ip.includes(':') ? 'IPv6' : 'IPv4';
    const text = `${names.get(source.ip)} -> ${names.get(destination.ip)}:${destination.port} ${family}  ${verdict}: ${why}`;
    if (seen.has(text)) return;
    seen.add(text);
    console.log(`    ${colour('2', text)}`);
  };
  const follow = request({ socketPath, path: '/flows?follow=true' });
  follow.end();
  const [response] = await once(follow, 'response');
  const ended = once(response, 'close');
  response.on('error', () => undefined); // we end it ourselves, in the middle
  const lines = createInterface({ input: response })
    .on('line', print)
    .on('error', () => undefined);
  return {
    forget: () => seen.clear(),
    stop: async () => {
      lines.close();
      response.destroy();
      await ended;
    },
  };
}

function callApi(socketPath, method, path, body, type) {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method, path, headers: body ? { 'content-type': type } : {} });
    outgoing.on('error', reject);
    outgoing.on('response', async (response) => {
      let text = '';
      for await (const chunk of response.setEncoding('utf8')) text += chunk;
      if (response.statusCode >= 400) reject(new Error(`${method} ${path}: ${text}`));
      else if (response.headers['content-type']?.startsWith('application/json')) resolve(JSON.parse(text));
      else resolve(text);
    });
    outgoing.end(typeof body === 'object' ? JSON.stringify(body) : body);
  });
}

let failed = false;
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.emit('demo-stop'));
try {
  const stopped = once(process, 'demo-stop').then(() => {
    throw new Error('interrupted');
  });
  stopped.catch(() => undefined);
  await Promise.race([main(), stopped]);
} catch (error) {
  failed = true;
  console.error(`\n${error.message}`);
}
for (const step of cleanup.reverse()) {
  try {
    await step();
  } catch (error) {
    failed = true;
    console.error(`clean up: ${error.message}`);
  }
}
process.exit(failed ? 1 : 0);
