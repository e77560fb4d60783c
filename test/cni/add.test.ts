/** ADD through the real executable, as the CNI specification has it. The section is in the name. */
import { beforeAll, describe, expect, it } from 'vitest';
import { CNI_VERSIONS } from '../../src/model/cni.js';
import { AppError } from '../../src/model/errors.js';
import { answerOf, buildPlugin, Daemon } from './plugin.js';

beforeAll(buildPlugin);

const HOST = { name: 'qn00000001', mac: '02:00:00:00:ff:01' };
const CONTAINER = { name: 'eth0', mac: '02:00:00:00:00:01', sandbox: '/run/netns/c1' };

describe('§5 ADD Success', () => {
  it.each(CNI_VERSIONS)(
    'a result of version %s has exactly the fields of that version',
    async (cniVersion) => {
      await using daemon = await Daemon.start();
      const outcome = await daemon.call('ADD', { cniVersion });
      expect(outcome).toMatchObject({ code: 0, stderr: '' });
      const mtu = cniVersion === '1.1.0' ? { mtu: 1500 } : {};
      const version = cniVersion.startsWith('0.') ? { version: '4' } : {};
      expect(answerOf(outcome)).toEqual({
        cniVersion,
        interfaces: [
          { ...HOST, ...mtu },
          { ...CONTAINER, ...mtu },
        ],
        ips: [{ ...version, interface: 1, address: '198.18.0.2/24', gateway: '198.18.0.1' }],
        routes: [{ dst: '0.0.0.0/0', gw: '198.18.0.1' }],
        dns: {},
      });
    },
  );

  it('both families of a dual-stack network are in the result', async () => {
    await using daemon = await Daemon.start();
    daemon.ports.addNetwork({ name: 'dual', cidr: '198.18.1.0/24', cidr6: 'fd00:1::/64' });
    const { ips, routes } = answerOf(await daemon.call('ADD', { name: 'dual', cniVersion: '0.4.0' }));
    expect(ips).toMatchObject([
      { version: '4', address: '198.18.1.2/24', gateway: '198.18.1.1', interface: 1 },
      { version: '6', address: 'fd00:1::2/64', gateway: 'fd00:1::1', interface: 1 },
    ]);
    expect(routes).toEqual([
      { dst: '0.0.0.0/0', gw: '198.18.1.1' },
      { dst: '::/0', gw: 'fd00:1::1' },
    ]);
  });

  it.each(['0.3.1', '1.0.0'])(
    'prevResult of a chain (%s) is passed on, indexes included',
    async (cniVersion) => {
      await using daemon = await Daemon.start();
      const version = cniVersion.startsWith('0.') ? { version: '4' } : {};
      const prevResult = {
        cniVersion,
        interfaces: [{ name: 'net1', mac: '0a:00:00:00:00:01', sandbox: '/run/netns/c1' }],
        ips: [{ ...version, address: '172.16.0.9/16', interface: 0 }],
        routes: [{ dst: '172.16.0.0/12' }],
        dns: { nameservers: ['172.16.0.1'] },
      };
      const result = answerOf(await daemon.call('ADD', { cniVersion, prevResult }));
      expect(result.interfaces).toEqual([...prevResult.interfaces, HOST, CONTAINER]);
      expect(result.ips).toEqual([
        ...prevResult.ips,
        { ...version, interface: 2, address: '198.18.0.2/24', gateway: '198.18.0.1' },
      ]);
      expect(result.routes).toEqual([...prevResult.routes, { dst: '0.0.0.0/0', gw: '198.18.0.1' }]);
      expect(result.dns).toEqual(prevResult.dns);
    },
  );

  it('an ADD whose result cannot be told leaves nothing behind', async () => {
    await using daemon = await Daemon.start();
    const prevResult = { ips: [{ address: 'not an address' }] };
    const outcome = await daemon.call('ADD', { cniVersion: '0.4.0', prevResult });
    expect(answerOf(outcome)).toMatchObject({ code: 7, cniVersion: '0.4.0' });
    expect(daemon.ports.attached.size).toBe(0);
  });

  it('dns of the configuration comes before that of the network, the capability before both', async () => {
    await using daemon = await Daemon.start();
    daemon.ports.addNetwork({ name: 'named', cidr: '198.18.2.0/24', dns: { nameservers: ['198.18.2.1'] } });
    const dnsOf = async (fields: object) => {
      const { dns } = answerOf(await daemon.call('ADD', { name: 'named', ...fields }));
      await daemon.call('DEL', { name: 'named' });
      return dns;
    };
    expect(await dnsOf({})).toEqual({ nameservers: ['198.18.2.1'] });
    expect(await dnsOf({ dns: { domain: 'a.test' } })).toEqual({ domain: 'a.test' });
    const runtimeConfig = { dns: { servers: ['198.18.9.9'], searches: ['b.test'], options: ['ndots:5'] } };
    expect(await dnsOf({ dns: { domain: 'a.test' }, runtimeConfig })).toEqual({
      nameservers: ['198.18.9.9'],
      search: ['b.test'],
      options: ['ndots:5'],
    });
  });
});

describe('§2 ADD', () => {
  it('hands namespace, labels, static addresses and routes to the endpoint service', async () => {
    await using daemon = await Daemon.start();
    const fields = {
      args: { cni: { labels: [{ key: 'app', value: 'web' }] } },
      routes: [{ dst: '10.0.0.0/8' }],
    };
    const CNI_ARGS =
      'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u;' +
      'QUANTUM_LABELS=app=other,tier=front;IP=198.18.0.77;MAC=02:00:00:00:00:77';
    expect(await daemon.call('ADD', fields, { CNI_ARGS })).toMatchObject({ code: 0 });
    expect(daemon.ports.requests).toMatchObject([
      {
        network: 'web',
        container_id: 'c1',
        interface_name: 'eth0',
        netns_path: '/run/netns/c1',
        namespace: 'shop',
        labels: { app: 'web', tier: 'front', 'io.kubernetes.pod.name': 'web-0' },
        ip_address: '198.18.0.77',
        mac_address: '02:00:00:00:00:77',
        routes: [{ dst: '10.0.0.0/8' }],
      },
    ]);
  });

  it('an interface that exists already is an error', async () => {
    await using daemon = await Daemon.start();
    daemon.ports.attachError = new AppError('INTERFACE_EXISTS');
    expect(answerOf(await daemon.call('ADD'))).toMatchObject({ code: 112 });
  });

  it('a second ADD of one attachment is an error, and leaves the first', async () => {
    await using daemon = await Daemon.start();
    await daemon.call('ADD');
    expect(answerOf(await daemon.call('ADD'))).toMatchObject({ code: 110 });
    expect(daemon.ports.attached.size).toBe(1);
  });

  it('of two for one attachment at the same time one succeeds', async () => {
    await using daemon = await Daemon.start();
    const outcomes = await Promise.all([daemon.call('ADD'), daemon.call('ADD')]);
    expect(outcomes.map(({ code }) => code).sort()).toEqual([0, 1]);
    const refused = outcomes.find(({ code }) => code === 1);
    expect(refused && answerOf(refused)).toMatchObject({ code: 110 });
    expect(daemon.ports.attached.size).toBe(1);
  });

  it('one container has several interfaces, by name', async () => {
    await using daemon = await Daemon.start();
    expect(await daemon.call('ADD')).toMatchObject({ code: 0 });
    expect(await daemon.call('ADD', {}, { CNI_IFNAME: 'net1' })).toMatchObject({ code: 0 });
    expect([...daemon.ports.attached.keys()]).toEqual(['web/c1/eth0', 'web/c1/net1']);
  });

  it('nothing of an unknown error is shown', async () => {
    await using daemon = await Daemon.start();
    daemon.ports.attachError = new Error('secret');
    const outcome = await daemon.call('ADD');
    expect(outcome).toMatchObject({ code: 1 });
    expect(answerOf(outcome)).toMatchObject({ code: 999 });
    expect(outcome.stdout).not.toContain('secret');
  });

  it('both names of the type are served', async () => {
    await using daemon = await Daemon.start();
    expect(await daemon.call('ADD', { type: 'quantum' })).toMatchObject({ code: 0 });
  });
});

describe('§1 Network configuration: a network that the configuration describes', () => {
  const described = { name: 'made', driver: 'bridge', subnet: '198.18.5.0/24', gateway: '198.18.5.254' };

  it('is made by the first ADD and found by the next', async () => {
    await using daemon = await Daemon.start();
    const fields = { ...described, routes: [{ dst: '0.0.0.0/0' }], dns: { nameservers: ['198.18.5.1'] } };
    const first = answerOf(await daemon.call('ADD', fields));
    expect(first.ips).toMatchObject([{ address: '198.18.5.2/24', gateway: '198.18.5.254' }]);
    expect(first.dns).toEqual({ nameservers: ['198.18.5.1'] });
    expect(await daemon.call('ADD', fields, { CNI_CONTAINERID: 'c2' })).toMatchObject({ code: 0 });
    expect(daemon.ports.createCalls).toBe(1);
    expect(daemon.ports.networks.get('made')).toMatchObject({
      cidr: '198.18.5.0/24',
      isolation_mode: 'full',
    });
  });

  it('is made once when many ADDs race for it', async () => {
    await using daemon = await Daemon.start();
    const calls = Array.from({ length: 12 }, (_, index) =>
      daemon.call('ADD', described, { CNI_CONTAINERID: `r${index}` }),
    );
    for (const outcome of await Promise.all(calls)) expect(outcome).toMatchObject({ code: 0 });
    expect(daemon.ports.attached.size).toBe(12);
    expect(daemon.ports.networks.size).toBe(2);
  });

  it.each([
    ['subnet', { subnet: '198.18.6.0/24', gateway: undefined }],
    ['gateway', { gateway: '198.18.5.1' }],
    ['subnet6', { subnet6: 'fd00:5::/64' }],
  ])('is an error (7) when the network exists with another %s', async (field, change) => {
    await using daemon = await Daemon.start();
    await daemon.call('ADD', described);
    const answer = answerOf(await daemon.call('ADD', { ...described, ...change }, { CNI_CONTAINERID: 'c2' }));
    expect(answer).toMatchObject({ code: 7, msg: expect.stringContaining(field) });
    expect(daemon.ports.attached.size).toBe(1);
  });

  it('a name that is no network and describes none says what to do', async () => {
    await using daemon = await Daemon.start();
    const answer = answerOf(await daemon.call('ADD', { name: 'nowhere' }));
    expect(answer).toMatchObject({ code: 103, details: expect.stringContaining('subnet') });
  });
});
