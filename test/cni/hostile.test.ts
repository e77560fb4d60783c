/** What a plugin can be told that is not so, on a real node: paths that lead elsewhere, results that lie, lists without end. */
import { renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { ContainerList } from '../../src/model/endpoint.js';
import type { Container } from '../support/containers.js';
import { whenOrderly } from '../support/order.js';
import { useSite } from '../support/site.js';
import { answerOf, type Outcome, runPlugin } from './plugin.js';

const site = useSite();

function envOf(command: string, id: string, path: string): Record<string, string> {
  return {
    CNI_COMMAND: command,
    CNI_CONTAINERID: id,
    CNI_NETNS: path,
    CNI_IFNAME: 'eth0',
    CNI_PATH: site().daemon.path('bin'),
  };
}

/** A call for a container, with whatever else it is to say. */
function call(
  command: string,
  id: string,
  path: string,
  fields: object = {},
  env: Record<string, string> = {},
): Promise<Outcome> {
  const { daemon } = site();
  return runPlugin({
    env: { ...envOf(command, id, path), ...env },
    stdin: {
      cniVersion: '1.1.0',
      name: 'blue',
      type: 'quantum-cni',
      socket: join(daemon.path('run'), 'cni.sock'),
      ...fields,
    },
  });
}

const attached = async () =>
  (await site().rest.expect<ContainerList>('GET', '/networks/blue/containers')).containers;
const order = (...containers: Container[]) =>
  whenOrderly(
    site().daemon,
    containers.map(({ netns }) => netns),
  );
const linksOf = ({ netns }: Container) => netns.net.rtnl.links().map(({ name }) => name);

it.each(['/proc/self/ns/net', '/proc/thread-self/ns/net', '/proc/self/task/../ns/net'])(
  'the namespace of the daemon itself is no container (%s)',
  async (path) => {
    await site().network('blue');
    expect(answerOf(await call('ADD', 'c1', path))).toMatchObject({ code: 4 });
    expect(await attached()).toEqual([]);
    expect(await order()).toEqual([]);
  },
);

it('a path that leads to one namespace and then to another gives an interface to one of them, whole', async () => {
  await site().network('blue', { isolation_mode: 'peer' });
  const [one, two] = [site().bare('one'), site().bare('two')] as [Container, Container];
  const path = join(site().daemon.directory, 'changing');
  const targets = [one.netns.path, two.netns.path, '/proc/self/ns/net', '/proc/self/ns/uts'];
  const point = (target: string) => {
    symlinkSync(target, `${path}.new`);
    renameSync(`${path}.new`, path);
  };
  point(one.netns.path);
  let turn = 0;
  const changing = setInterval(() => point(targets[turn++ % targets.length] as string), 1);
  try {
    for (let round = 0; round < 20; round++) {
      const { code, stdout } = await call('ADD', 'c1', path);
      const holders = [one, two].filter((container) => linksOf(container).includes('eth0'));
      if (code === 0) expect(holders).toHaveLength(1);
      else expect([holders, JSON.parse(stdout)]).toMatchObject([[], { code: 4 }]);
      expect(await call('DEL', 'c1', path)).toMatchObject({ code: 0 });
      expect([linksOf(one), linksOf(two)]).toEqual([['lo'], ['lo']]);
    }
  } finally {
    clearInterval(changing);
    rmSync(path);
  }
  expect(await order(one, two)).toEqual([]);
});

it('a path that leads elsewhere after ADD is told by CHECK, is no way to another container, and DEL finds its own', async () => {
  await site().network('blue', { isolation_mode: 'peer' });
  const [one, two] = [site().bare('one'), site().bare('two')] as [Container, Container];
  const path = join(site().daemon.directory, 'changing');
  symlinkSync(one.netns.path, path);
  const prevResult = answerOf(await call('ADD', 'one', path));
  expect(await call('ADD', 'two', two.netns.path)).toMatchObject({ code: 0 });
  rmSync(path);
  symlinkSync(two.netns.path, path);
  expect(await call('CHECK', 'one', path, { prevResult })).toMatchObject({ code: 1 });
  await site().daemon.restart();
  expect(linksOf(one)).toEqual(['lo', 'eth0']);
  expect(await call('DEL', 'one', path)).toMatchObject({ code: 0 });
  expect([linksOf(one), linksOf(two)]).toEqual([['lo'], ['lo', 'eth0']]);
  rmSync(path);
});

it('a result of earlier plugins that lies changes nothing but what is passed on', async () => {
  await site().network('blue');
  const container = site().bare('c1');
  const lie = {
    interfaces: Array.from({ length: 60 }, (_, at) => ({
      name: `qn0000000${at % 10}`,
      mac: 'ff:ff:ff:ff:ff:ff',
      sandbox: '/proc/self/ns/net',
    })),
    ips: [{ address: '10.60.1.1/24', gateway: '10.60.1.99', interface: 255 }],
    routes: [{ dst: '0.0.0.0/0', gw: '10.60.1.99' }],
    dns: {},
    padding: 'x'.repeat(500_000),
  };
  const outcome = await call('ADD', 'c1', container.netns.path, { prevResult: lie });
  expect(outcome).toMatchObject({ code: 0 });
  const { interfaces, ips } = answerOf(outcome) as Record<'interfaces' | 'ips', object[]>;
  expect(interfaces.at(-1)).toMatchObject({ name: 'eth0', sandbox: container.netns.path });
  expect(ips).toMatchObject([lie.ips[0], { interface: 61 }, { interface: 61 }]);
  expect(outcome.stdout).not.toContain('xxx');
  expect(await attached()).toHaveLength(1);
  expect(await order(container)).toEqual([]);
});

it('keys that mean something to the language alone are no configuration', async () => {
  await site().network('blue');
  const container = site().bare('c1');
  const { daemon } = site();
  const stdin = `{"cniVersion": "1.1.0", "name": "blue", "type": "quantum-cni", "socket": "${daemon.path('run')}/cni.sock",
    "__proto__": {"prevResult": {"interfaces": 1}, "ipam": {"type": "host-local"}, "subnet": "10.99.0.0/24"},
    "constructor": {"prototype": {"labels": 1}},
    "args": {"__proto__": {"cni": {"labels": [{"key": "app", "value": "db"}]}}},
    "runtimeConfig": {"__proto__": {"bandwidth": {"ingressRate": 1}, "ips": ["10.60.1.99"]}}}`;
  const outcome = await runPlugin({ env: envOf('ADD', 'c1', container.netns.path), stdin });
  expect(outcome).toMatchObject({ code: 0 });
  expect(await attached()).toMatchObject([{ ip_address: '10.60.1.2', labels: {} }]);
  expect(await order(container)).toEqual([]);
});

it.each([
  ['a key twice', 'IP=10.60.1.9;IP=10.60.1.10'],
  ['the gateway, behind names of the language', 'IgnoreUnknown=1;__proto__=x;constructor=y;IP=10.60.1.1'],
  ['a namespace that is a path', 'K8S_POD_NAMESPACE=../../x'],
  ['a label with two values', 'QUANTUM_LABELS=a=b,a=c=d'],
  ['a label that is none', 'QUANTUM_LABELS=quantum.network/__proto__=,='],
  ['a group for a MAC address', 'IgnoreUnknown=1;MAC=ff:ff:ff:ff:ff:ff'],
  ['no address for an address', 'IgnoreUnknown=1;IP=0.0.0.0'],
  ['the broadcast address', 'IgnoreUnknown=1;IP=10.60.1.255'],
  ['an address of the loopback', 'IgnoreUnknown=1;IP=127.0.0.1'],
  ['an address in the form of the other family', 'IgnoreUnknown=1;IP=::ffff:10.60.1.9'],
  ['five thousand keys that nobody knows', Array.from({ length: 5000 }, (_, at) => `K${at}=v`).join(';')],
])('CNI_ARGS with %s are refused', async (_, CNI_ARGS) => {
  await site().network('blue');
  const container = site().bare('c1');
  const outcome = await call('ADD', 'c1', container.netns.path, {}, { CNI_ARGS });
  expect(outcome.code).toBe(1);
  expect(answerOf(outcome).code).not.toBe(999);
  expect(outcome.stdout.length).toBeLessThan(1000);
  expect(await attached()).toEqual([]);
  expect(linksOf(container)).toEqual(['lo']);
});

it('GC with a list as long as the input may be keeps what is on it, and one of 100,000 is refused and removes nothing', async () => {
  await site().network('blue');
  const [one, two] = [site().bare('one'), site().bare('two')] as [Container, Container];
  for (const { id, netns } of [one, two])
    expect(await call('ADD', id, netns.path)).toMatchObject({ code: 0 });
  const list = (count: number) => ({
    'cni.dev/valid-attachments': [
      ...Array.from({ length: count }, (_, at) => ({ containerID: `g${at}`, ifname: 'eth0' })),
      { containerID: 'one', ifname: 'eth0' },
    ],
  });
  expect(answerOf(await call('GC', '', '', list(100_000)))).toMatchObject({ code: 6 });
  expect(await attached()).toHaveLength(2);
  expect(await call('GC', '', '', list(20_000))).toMatchObject({ code: 0 });
  expect(await attached()).toMatchObject([{ container_id: 'one' }]);
});
