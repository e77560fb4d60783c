/** The socket that Docker calls, with everything that can be wrong with a call. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DockerPlugin } from '../../src/docker/plugin.js';
import { AppError } from '../../src/model/errors.js';
import { FakeDockerNode, silent } from '../support/fake-docker-node.js';

const ID = '1'.repeat(64);
const OTHER = '2'.repeat(64);
const SANDBOX = '/var/run/docker/netns/0123456789ab';

let directory: string;
let fake: FakeDockerNode;
let plugin: DockerPlugin | undefined;
let warnings: string[];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'quantum-docker-'));
  fake = new FakeDockerNode();
  warnings = [];
  await start();
});
afterEach(async () => {
  await plugin?.close();
  rmSync(directory, { recursive: true, force: true });
});

const plugins = () => join(directory, 'plugins');
const socketPath = () => join(plugins(), 'quantum.sock');

async function start(docker_plugin_dir = plugins()): Promise<void> {
  await plugin?.close();
  const log = { ...silent, warn: (_: object, message: string) => void warnings.push(message) };
  const settings = { docker_plugin_dir, docker_socket: 'none' };
  plugin = await DockerPlugin.start({ ...fake, settings, log });
}

interface Answer {
  status: number;
  type: string | undefined;
  body: Record<string, unknown> & { Err?: string; Error?: string };
}

function send(path: string, text: string, method = 'POST'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: socketPath(), method, path, agent: false }, async (response) => {
      let answer = '';
      for await (const chunk of response.setEncoding('utf8')) answer += chunk;
      const type = response.headers['content-type'];
      resolve({ status: response.statusCode ?? 0, type, body: JSON.parse(answer) });
    });
    sent.on('error', reject);
    sent.end(text);
  });
}

const call = (path: string, body: object = {}) => send(path, JSON.stringify(body));

const NETWORK = {
  NetworkID: ID,
  Options: {
    'com.docker.network.generic': { 'quantum.name': 'web' },
    'com.docker.network.enable_ipv6': false,
  },
  IPv4Data: [{ AddressSpace: 'quantum', Pool: '10.61.0.0/24', Gateway: '10.61.0.1/24' }],
  IPv6Data: [],
};
const ENDPOINT = {
  NetworkID: ID,
  EndpointID: OTHER,
  Interface: { Address: '10.61.0.2/24', AddressIPv6: '', MacAddress: '' },
  Options: { 'com.docker.network.endpoint.exposedports': [], 'com.docker.network.portmap': [] },
};
const REFERENCE = { NetworkID: ID, EndpointID: OTHER };

describe('the handshake', () => {
  it('names both drivers, whatever the body is', async () => {
    const { status, type, body } = await send('/Plugin.Activate', '');
    expect([status, body]).toEqual([200, { Implements: ['NetworkDriver', 'IpamDriver'] }]);
    expect(type).toMatch(/^application\/vnd\.docker\.plugins\.v1/);
  });

  it('tells that networks are this node’s', async () => {
    expect((await call('/NetworkDriver.GetCapabilities')).body).toEqual({
      Scope: 'local',
      ConnectivityScope: 'local',
    });
    expect((await call('/IpamDriver.GetDefaultAddressSpaces')).body).toEqual({
      LocalDefaultAddressSpace: 'quantum',
      GlobalDefaultAddressSpace: 'quantum',
    });
  });
});

describe('a call that is no call', () => {
  it.each([
    ['an unknown method', '/NetworkDriver.Fly', '{}', 'POST', 404],
    ['a method of objects', '/constructor', '{}', 'POST', 404],
    ['GET', '/NetworkDriver.Join', '', 'GET', 405],
    ['no JSON', '/NetworkDriver.CreateNetwork', '{"NetworkID":', 'POST', 400],
    ['nothing', '/NetworkDriver.CreateNetwork', '', 'POST', 400],
    ['a list', '/NetworkDriver.CreateNetwork', '[]', 'POST', 400],
    ['no id', '/NetworkDriver.CreateNetwork', '{}', 'POST', 400],
    ['an id with a slash', '/NetworkDriver.DeleteNetwork', '{"NetworkID":"../x"}', 'POST', 400],
    [
      'a relative sandbox',
      '/NetworkDriver.Join',
      JSON.stringify({ ...REFERENCE, SandboxKey: 'x' }),
      'POST',
      400,
    ],
    [
      'an address that is none',
      '/NetworkDriver.CreateEndpoint',
      JSON.stringify({ ...ENDPOINT, Interface: { Address: '10.61.0.256/24' } }),
      'POST',
      400,
    ],
    [
      'a MAC address of a group',
      '/NetworkDriver.CreateEndpoint',
      JSON.stringify({ ...ENDPOINT, Interface: { MacAddress: '01:00:00:00:00:01' } }),
      'POST',
      400,
    ],
    ['a pool without an id', '/IpamDriver.RequestAddress', '{"PoolID":""}', 'POST', 400],
    [
      'options that are numbers',
      '/IpamDriver.RequestPool',
      '{"AddressSpace":"quantum","Options":{"a":1}}',
      'POST',
      400,
    ],
  ])('with %s is answered with the status for that, and a reason', async (_, path, text, method, status) => {
    const answer = await send(path, text, method);
    expect(answer.status).toBe(status);
    expect(answer.body.Err).toMatch(/.{5}/);
    expect(fake.networks.list()).toEqual([]);
  });

  it('with a body of more than 1 MiB is answered 413', async () => {
    const text = JSON.stringify({ ...NETWORK, Padding: 'x'.repeat(2 ** 20) });
    expect((await send('/NetworkDriver.CreateNetwork', text)).status).toBe(413);
    expect(fake.networks.list()).toEqual([]);
  });
});

describe('a network', () => {
  it('is made as Docker says, with fields that nobody knows yet, and once if it is asked for twice', async () => {
    for (let time = 0; time < 2; time++) {
      const answer = await call('/NetworkDriver.CreateNetwork', { ...NETWORK, FutureField: { a: 1 } });
      expect([answer.status, answer.body]).toEqual([200, {}]);
    }
    expect(fake.networks.list()).toMatchObject([{ name: 'web', cidr: '10.61.0.0/24', gateway: '10.61.0.1' }]);
  });

  it('is found again when a daemon ended between making it and noting it', async () => {
    await call('/NetworkDriver.CreateNetwork', NETWORK);
    await fake.runtimeNetworks.forget(ID);
    expect((await call('/NetworkDriver.CreateNetwork', NETWORK)).body).toEqual({});
    expect(fake.runtimeNetworks.find(ID)?.owned).toBe(true);
  });

  it('of another’s name is refused', async () => {
    await call('/NetworkDriver.CreateNetwork', NETWORK);
    const again = { ...NETWORK, NetworkID: OTHER };
    expect((await call('/NetworkDriver.CreateNetwork', again)).body.Err).toContain('web');
    expect(fake.runtimeNetworks.find(OTHER)).toBeUndefined();
  });

  it('can be deleted twice, and one that nobody knows too', async () => {
    await call('/NetworkDriver.CreateNetwork', NETWORK);
    for (let time = 0; time < 2; time++) {
      expect((await call('/NetworkDriver.DeleteNetwork', { NetworkID: ID })).body).toEqual({});
    }
    expect(fake.networks.list()).toEqual([]);
  });

  it('is known to be Docker’s for as long as it is there: whoever asks again removes it', async () => {
    await call('/NetworkDriver.CreateNetwork', NETWORK);
    const { delete: remove } = fake.networks;
    fake.networks.delete = async (name) => {
      expect(fake.runtimeNetworks.find(ID)?.owned).toBe(true);
      await remove(name);
    };
    expect((await call('/NetworkDriver.DeleteNetwork', { NetworkID: ID })).body).toEqual({});
    expect(fake.networks.list()).toEqual([]);
  });

  it('that cannot be removed stays, and Docker forgets it all the same', async () => {
    await call('/NetworkDriver.CreateNetwork', NETWORK);
    fake.networks.delete = () => Promise.reject(new AppError('NETWORK_IN_USE', 'somebody is on it'));
    const { body } = await call('/NetworkDriver.DeleteNetwork', { NetworkID: ID });
    expect(body.Err).toContain('somebody is on it');
    expect(fake.networks.list()).toHaveLength(1);
    expect(fake.runtimeNetworks.find(ID)).toBeUndefined();
  });

  it('without an IPv4 range, or with one that Docker does not have it by, is refused', async () => {
    await call('/NetworkDriver.CreateNetwork', NETWORK);
    const options = { 'com.docker.network.generic': { 'quantum.network': 'web' } };
    const other = [{ AddressSpace: 'quantum', Pool: '10.62.0.0/24', Gateway: '10.62.0.1/24' }];
    const wrong = { NetworkID: OTHER, Options: options, IPv4Data: other, IPv6Data: null };
    expect((await call('/NetworkDriver.CreateNetwork', wrong)).body.Err).toContain('10.61.0.0/24');
    const none = { ...NETWORK, NetworkID: OTHER, IPv4Data: [], Options: {} };
    expect((await call('/NetworkDriver.CreateNetwork', none)).body.Err).toContain('cidr');
  });
});

describe('an endpoint', () => {
  beforeEach(() => call('/NetworkDriver.CreateNetwork', NETWORK));

  it('is made, joins, leaves and goes; what is asked for twice is there once', async () => {
    const made = await call('/NetworkDriver.CreateEndpoint', ENDPOINT);
    expect(made.body).toEqual({ Interface: { MacAddress: '06:00:00:00:00:01' } });
    for (let time = 0; time < 2; time++) {
      expect((await call('/NetworkDriver.Join', { ...REFERENCE, SandboxKey: SANDBOX })).body).toEqual({
        InterfaceName: { SrcName: 'qp00000001', DstPrefix: 'eth' },
        Gateway: '10.61.0.1',
        GatewayIPv6: '',
      });
    }
    expect((await call('/NetworkDriver.ProgramExternalConnectivity', REFERENCE)).body).toEqual({});
    // There is nobody to ask: it is who its options say.
    expect(fake.staged.find(OTHER)?.endpoint.state).toBe('ready');
    expect((await call('/NetworkDriver.EndpointOperInfo', REFERENCE)).body).toEqual({ Value: {} });
    for (const method of ['Leave', 'Leave', 'DeleteEndpoint', 'DeleteEndpoint', 'Leave']) {
      expect((await call(`/NetworkDriver.${method}`, REFERENCE)).body).toEqual({});
    }
    expect(fake.staged.list()).toEqual([]);
  });

  it('whose MAC address Docker has chosen is not told that again', async () => {
    const Interface = { ...ENDPOINT.Interface, MacAddress: '02:00:00:00:00:09' };
    const made = await call('/NetworkDriver.CreateEndpoint', { ...ENDPOINT, Interface });
    expect(made.body).toEqual({ Interface: { MacAddress: '' } });
    expect(fake.staged.find(OTHER)?.endpoint.mac_address).toBe('02:00:00:00:00:09');
  });

  it.each(['Join', 'EndpointOperInfo', 'ProgramExternalConnectivity'])(
    'that nobody knows: %s says so, and what to do',
    async (method) => {
      const { status, body } = await call(`/NetworkDriver.${method}`, { ...REFERENCE, SandboxKey: SANDBOX });
      expect(status).toBe(200);
      expect(body.Err).toContain('start the container again');
    },
  );

  it('on a network that nobody knows is refused, with what to do', async () => {
    const { body } = await call('/NetworkDriver.CreateEndpoint', { ...ENDPOINT, NetworkID: OTHER });
    expect(body.Err).toContain('docker network rm');
  });

  it('with ports of the node has them', async () => {
    const Options = {
      'com.docker.network.portmap': [{ Proto: 6, Port: 80, HostPort: 8080, HostPortEnd: 8080 }],
    };
    await call('/NetworkDriver.CreateEndpoint', { ...ENDPOINT, Options });
    expect(fake.staged.list()).toMatchObject([
      { endpoint: { ports: [{ container_port: 80, protocol: 'TCP', host_port: 8080 }] } },
    ]);
  });
});

describe('addresses', () => {
  const gateway = { RequestAddressType: 'com.docker.network.gateway' };

  it('of a pool: the gateway is not reserved, others are, and are released', async () => {
    const pool = await call('/IpamDriver.RequestPool', { AddressSpace: 'quantum', Pool: '10.61.0.0/24' });
    expect(pool.body).toEqual({ PoolID: '10.61.0.0/24', Pool: '10.61.0.0/24', Data: {} });
    const PoolID = '10.61.0.0/24';
    const asked = await call('/IpamDriver.RequestAddress', { PoolID, Address: '', Options: gateway });
    expect(asked.body.Address).toBe('10.61.0.1/24');
    await call('/NetworkDriver.CreateNetwork', NETWORK);
    const one = await call('/IpamDriver.RequestAddress', { PoolID, Address: '10.61.0.7', Options: null });
    expect(one.body.Address).toBe('10.61.0.7/24');
    expect((await call('/IpamDriver.RequestAddress', { PoolID, Address: '10.61.0.7' })).body.Error).toMatch(
      /./,
    );
    for (let time = 0; time < 2; time++) {
      expect((await call('/IpamDriver.ReleaseAddress', { PoolID, Address: '10.61.0.7' })).body).toEqual({});
    }
    expect(fake.reservations.taken.size).toBe(0);
  });

  it.each([
    ['another address space', { AddressSpace: 'x', Pool: '10.61.0.0/24' }, 'AddressSpace'],
    ['no range', { AddressSpace: 'quantum' }, '--subnet'],
    ['a range with host bits', { AddressSpace: 'quantum', Pool: '10.61.0.1/24' }, 'Pool'],
    [
      'a part of a range',
      { AddressSpace: 'quantum', Pool: '10.61.0.0/24', SubPool: '10.61.0.0/28' },
      'ip-range',
    ],
    ['an unknown option', { AddressSpace: 'quantum', Pool: '10.61.0.0/24', Options: { a: 'b' } }, 'a: is'],
    ['an unknown network', { AddressSpace: 'quantum', Options: { 'quantum.network': 'x' } }, 'no network'],
  ])('of %s are refused', async (_, body, reason) => {
    expect((await call('/IpamDriver.RequestPool', body)).body.Error).toContain(reason);
  });

  it('of a pool that is none, or of nobody’s, are refused; releasing them is fine', async () => {
    for (const PoolID of ['x', '10.63.0.0/24']) {
      expect((await call('/IpamDriver.RequestAddress', { PoolID })).body.Error).toMatch(/./);
    }
    const gone = { PoolID: '10.63.0.0/24', Address: '10.63.0.2' };
    expect((await call('/IpamDriver.ReleaseAddress', gone)).body).toEqual({});
    expect((await call('/IpamDriver.ReleasePool', { PoolID: 'x' })).body).toEqual({});
  });
});

describe('the socket', () => {
  it('is for root alone, and gone when the plugin ends', async () => {
    expect(statSync(socketPath()).mode & 0o777).toBe(0o600);
    await plugin?.close();
    plugin = undefined;
    expect(statSync(socketPath(), { throwIfNoEntry: false })).toBeUndefined();
  });

  it('is not there when the setting says none', async () => {
    await start('none');
    expect(statSync(socketPath(), { throwIfNoEntry: false })).toBeUndefined();
    expect(warnings).toEqual([]);
  });

  it.each([
    ['is a file', (path: string) => writeFileSync(path, '')],
    [
      'can be written by others',
      (path: string) => {
        mkdirSync(path);
        chmodSync(path, 0o777);
      },
    ],
  ])('in a directory that %s cannot be had: that is logged, and no error', async (_, prepare) => {
    const path = join(directory, 'odd');
    prepare(path);
    await start(path);
    expect(warnings).toEqual(['Docker cannot use the fabric']);
  });

  it('of another program stays its own', async () => {
    const path = join(directory, 'taken');
    mkdirSync(path);
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(join(path, 'quantum.sock'), resolve));
    await start(path);
    expect(warnings).toEqual(['Docker cannot use the fabric']);
    expect(statSync(join(path, 'quantum.sock')).isSocket()).toBe(true);
    await new Promise((resolve) => other.close(resolve));
  });
});
