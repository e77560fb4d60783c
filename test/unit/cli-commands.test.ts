import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { runCtl } from '../support/ctl.js';
import { type ServedApi, servedApi, VERSION } from '../support/fake-api.js';

let api: ServedApi;
beforeEach(async () => {
  api = await servedApi();
});
afterEach(() => api.close());

const ctl = (...args: string[]) => runCtl(['--socket', api.socketPath, ...args]);
const json = async (...args: string[]) => JSON.parse((await ctl(...args, '-o', 'json')).out);
const makeNetwork = () => ctl('network', 'create', 'front', '--cidr', '10.1.0.0/16');
const connect = (...more: string[]) =>
  ctl('container', 'connect', 'front', 'web1', '--netns-path', '/proc/7/ns/net', ...more);

describe('network', () => {
  it('create makes it of flags with the names of the fields', async () => {
    const flags = [
      '--cidr',
      '10.1.0.0/16',
      '--gateway',
      '10.1.0.9',
      '--isolation-mode',
      'mesh',
      '--mtu',
      '1400',
    ];
    await ctl('network', 'create', 'other', '--cidr', '10.2.0.0/16');
    const more = [
      '--peer',
      'other',
      '--multicast',
      '--label',
      'a=b',
      '--label',
      'c=d',
      '--dns-nameserver',
      '10.1.0.9',
    ];
    const { exit, out, err } = await ctl('network', 'create', 'front', ...flags, ...more);
    expect({ exit, out, err }).toEqual({ exit: 0, out: 'network front made\n', err: '' });
    expect(api.node.networks.get('front')).toMatchObject({
      gateway: '10.1.0.9',
      isolation_mode: 'mesh',
      peers: ['other'],
      options: { mtu: 1400, multicast: true, broadcast: false },
      labels: { a: 'b', c: 'd' },
      dns: { nameservers: ['10.1.0.9'] },
    });
  });

  it('create turns off what is on unless it is said otherwise', async () => {
    await ctl('network', 'create', 'front', '--cidr', '10.1.0.0/16');
    await ctl('network', 'create', 'back', '--cidr', '10.2.0.0/16', '--no-masquerade');
    const masquerades = ['front', 'back'].map((name) => api.node.networks.get(name).options.masquerade);
    expect(masquerades).toEqual([true, false]);
  });

  it('list is a table with aligned columns', async () => {
    await makeNetwork();
    const { out } = await ctl('network', 'list');
    expect(out).toBe(
      'NAME   CIDR         CIDR6  ISOLATION  BRIDGE\nfront  10.1.0.0/16  -      full       qnbr1\n',
    );
  });

  it('list is what the API answers with -o json and -o yaml', async () => {
    await makeNetwork();
    const answer = { networks: api.node.networks.list() };
    expect(await json('network', 'list')).toEqual(answer);
    expect(parseYaml((await ctl('network', 'list', '-o', 'yaml')).out)).toEqual(answer);
  });

  it('show and delete take the name', async () => {
    await makeNetwork();
    expect((await json('network', 'show', 'front')).name).toBe('front');
    expect(parseYaml((await ctl('network', 'show', 'front')).out).name).toBe('front');
    expect(await ctl('network', 'delete', 'front')).toEqual({
      exit: 0,
      out: 'network front removed\n',
      err: '',
    });
    expect(api.node.networks.list()).toEqual([]);
  });
});

describe('container', () => {
  beforeEach(makeNetwork);

  it('connect says the interface and the addresses that it got', async () => {
    const { exit, out } = await connect('--label', 'app=web', '--port', 'container_port=80,name=http');
    expect(exit).toBe(0);
    expect(out).toMatch(/^container web1 connected: eth0 10\.1\.\d+\.\d+\n$/);
    expect(api.node.endpoints.get('front', 'web1')).toMatchObject({
      labels: { app: 'web' },
      ports: [{ container_port: 80, name: 'http', protocol: 'TCP' }],
    });
  });

  it('list, endpoint list and identity list show it', async () => {
    await connect('--label', 'app=web');
    for (const command of [
      ['container', 'list', 'front'],
      ['endpoint', 'list'],
    ]) {
      expect((await ctl(...command)).out).toMatch(
        /front +web1 +eth0 +10\.1\.\S+ +default +256 +ready +app=web\n$/,
      );
    }
    expect((await ctl('identity', 'list')).out).toMatch(/256 +front +default +1 +app=web\n$/);
  });

  it('limits are set with connect, and changed and ended by limit', async () => {
    const limits = () => api.node.endpoints.get('front', 'web1').options;
    await connect('--bandwidth-ingress-rate', '20000000', '--bandwidth-ingress-burst', '400000');
    expect(limits()).toEqual({ bandwidth: { ingress_rate: 20_000_000, ingress_burst: 400_000 } });
    expect((await ctl('container', 'show', 'front', 'web1')).out).toContain('ingress_rate: 20000000');
    const limit = (...flags: string[]) => ctl('container', 'limit', 'front', 'web1', ...flags);
    expect(await limit('--egress-rate', '1000000')).toEqual({
      exit: 0,
      out: 'container web1 changed\n',
      err: '',
    });
    expect(limits()).toEqual({ bandwidth: { egress_rate: 1_000_000 } });
    expect((await limit()).exit).not.toBe(0);
    expect((await limit('--none', '--egress-rate', '1000000')).exit).not.toBe(0);
    expect((await limit('--egress-rate', '12')).exit).not.toBe(0);
    expect(limits()).toEqual({ bandwidth: { egress_rate: 1_000_000 } });
    expect((await limit('--none')).exit).toBe(0);
    expect(limits()).toEqual({ bandwidth: {} });
  });

  it('label sets and removes labels and leaves the others', async () => {
    await connect('--label', 'app=web', '--label', 'tier=front');
    expect((await ctl('container', 'label', 'front', 'web1', 'env=test', 'tier-')).exit).toBe(0);
    expect(api.node.endpoints.get('front', 'web1').labels).toEqual({ app: 'web', env: 'test' });
  });

  it('of several that label at once none undoes what another did', async () => {
    await connect('--label', 'app=web', '--label', 'tier=front');
    const words = ['a=1', 'b=2', 'c=3', 'tier-', 'd=4'];
    const done = await Promise.all(words.map((word) => ctl('container', 'label', 'front', 'web1', word)));
    expect(done.map(({ exit }) => exit)).toEqual(words.map(() => 0));
    expect(api.node.endpoints.get('front', 'web1').labels).toEqual({
      app: 'web',
      a: '1',
      b: '2',
      c: '3',
      d: '4',
    });
  });

  it.each([
    ['connect', '--label', 'app=web', '--label', 'app=db'],
    ['connect', '--port', 'container_port=80,container_port=81'],
    ['label', 'app=web', 'app=db'],
    ['label', 'app=web', 'app-'],
  ])('%s with %s twice asks for nothing', async (command, ...words) => {
    const required = command === 'connect' ? ['--netns-path', '/proc/7/ns/net'] : [];
    const { exit, err } = await ctl('container', command, 'front', 'web1', ...required, ...words);
    expect([exit, err]).toEqual([2, expect.stringContaining('is given twice')]);
    expect(api.node.endpoints.list()).toEqual([]);
  });

  it('label --replace leaves nothing else, and --namespace alone leaves the labels', async () => {
    await connect('--label', 'app=web');
    await ctl('container', 'label', 'front', 'web1', '--namespace', 'shop');
    expect(api.node.endpoints.get('front', 'web1')).toMatchObject({
      labels: { app: 'web' },
      namespace: 'shop',
    });
    await ctl('container', 'label', 'front', 'web1', 'a=b', '--replace');
    expect(api.node.endpoints.get('front', 'web1').labels).toEqual({ a: 'b' });
    expect(await ctl('container', 'label', 'front', 'web1', 'a-', '--replace')).toMatchObject({ exit: 2 });
    expect(api.node.endpoints.get('front', 'web1').labels).toEqual({ a: 'b' });
  });

  it('disconnect takes one interface when it is named', async () => {
    await connect();
    await connect('--interface-name', 'eth1');
    await ctl('container', 'disconnect', 'front', 'web1', '--interface-name', 'eth0');
    expect(api.node.endpoints.list()).toMatchObject([{ interface_name: 'eth1' }]);
    await ctl('container', 'disconnect', 'front', 'web1');
    expect(api.node.endpoints.list()).toEqual([]);
  });
});

describe('namespace', () => {
  it('set, list, show and delete', async () => {
    expect((await ctl('namespace', 'set', 'shop', '--label', 'team=a')).exit).toBe(0);
    expect((await ctl('namespace', 'list')).out).toContain(
      'shop     team=a,kubernetes.io/metadata.name=shop\n',
    );
    expect((await json('namespace', 'show', 'shop')).labels.team).toBe('a');
    expect((await ctl('namespace', 'delete', 'shop')).exit).toBe(0);
    expect(api.node.namespaces.list()).toHaveLength(1);
  });
});

describe('status', () => {
  it('is the readiness of the daemon, and so is the exit code', async () => {
    const ready = await ctl('status');
    expect(ready.exit).toBe(0);
    expect(ready.out).toContain(`quantum-api ${VERSION} is ready, uplink none\n`);
    api.node.isReady = false;
    const starting = await ctl('status');
    expect(starting.exit).toBe(4);
    expect(starting.out).toMatch(/sync +no +the kernel is being compared/);
    expect(await json('status')).toMatchObject({ version: VERSION, ready: false });
  });

  it('names those who are cut off, and what leaves no room for them', async () => {
    api.node.cutOff = {
      identities_cut_off: 3,
      cut_off: [
        { identity: 256, network: 'blue', namespace: 'shop', cut_off_by: ['policy_max', 'subjects_max'] },
        { identity: 257, network: 'blue', namespace: 'default', cut_off_by: [] },
      ],
      message: 'why',
    };
    const { out, exit } = await ctl('status');
    expect(exit).toBe(0);
    expect(out.split('\n').slice(1, 5)).toEqual([
      '3 identities are cut off: why',
      '  identity 256 (blue/shop): policy_max, subjects_max',
      '  identity 257 (blue/default)',
      '  and 1 more',
    ]);
    expect(await json('status')).toMatchObject({ policies: api.node.cutOff });
  });
});
