/** Every command but ADD through the real executable, as the CNI specification has it. The section is in the name. */
import { beforeAll, describe, expect, it } from 'vitest';
import { CNI_VERSIONS } from '../../src/model/cni.js';
import { AppError } from '../../src/model/errors.js';
import { answerOf, buildPlugin, callEnv, Daemon, runPlugin } from './plugin.js';
import { answerOnce } from './raw-daemon.js';

beforeAll(buildPlugin);

const HOST = { name: 'qn00000001', mac: '02:00:00:00:ff:01' };
const CONTAINER = { name: 'eth0', mac: '02:00:00:00:00:01', sandbox: '/run/netns/c1' };

describe('§2 VERSION', () => {
  it('lists the versions that the daemon serves, without a daemon', async () => {
    const outcome = await runPlugin({ env: { CNI_COMMAND: 'VERSION' }, stdin: { cniVersion: '1.0.0' } });
    expect(outcome.code).toBe(0);
    expect(answerOf(outcome)).toEqual({ cniVersion: '1.0.0', supportedVersions: [...CNI_VERSIONS] });
  });

  it('needs nothing of the environment but the command, as Podman probes it', async () => {
    const env = {
      CNI_COMMAND: 'VERSION',
      CNI_CONTAINERID: '',
      CNI_IFNAME: 'dummy',
      CNI_NETNS: 'dummy',
      CNI_PATH: 'dummy',
    };
    const outcome = await runPlugin({ env: { ...env, CNI_ARGS: '' }, stdin: { cniVersion: '1.1.0' } });
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    expect(answerOf(outcome).supportedVersions).toEqual([...CNI_VERSIONS]);
  });

  it.each(['', 'no JSON', '{}', '{"cniVersion":{"a":1}}', '{"cniVersion":"\\u0000"}'])(
    'answers with the newest version to %j',
    async (stdin) => {
      const outcome = await runPlugin({ env: { CNI_COMMAND: 'VERSION' }, stdin });
      expect(outcome.code).toBe(0);
      expect(answerOf(outcome).cniVersion).toBe('1.1.0');
    },
  );
});

describe('§2 DEL', () => {
  it('removes the attachment, and again and again without error or output', async () => {
    await using daemon = await Daemon.start();
    await daemon.call('ADD');
    for (let round = 0; round < 3; round++) {
      expect(await daemon.call('DEL')).toMatchObject({ code: 0, stdout: '' });
      expect(daemon.ports.attached.size).toBe(0);
    }
  });

  it('is the same with an empty CNI_NETNS, as containerd sends it', async () => {
    await using daemon = await Daemon.start();
    await daemon.call('ADD');
    expect(await daemon.call('DEL', {}, { CNI_NETNS: '' })).toMatchObject({ code: 0, stdout: '' });
    expect(daemon.ports.attached.size).toBe(0);
  });

  it('needs no CNI_NETNS, no prevResult and no network', async () => {
    await using daemon = await Daemon.start();
    await daemon.call('ADD');
    const env = { CNI_COMMAND: 'DEL', CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0' };
    expect(await runPlugin({ env, stdin: daemon.config() })).toMatchObject({ code: 0, stdout: '' });
    expect(daemon.ports.attached.size).toBe(0);
    daemon.ports.networks.clear();
    expect(await runPlugin({ env, stdin: daemon.config() })).toMatchObject({ code: 0, stdout: '' });
  });

  it.each([
    ['a network that can be none of ours', { name: 'Not_A.DNS-label' }, {}],
    ['a container id that is longer than ours', {}, { CNI_CONTAINERID: 'c'.repeat(200) }],
    ['an interface that is never ours', {}, { CNI_IFNAME: 'lo' }],
    ['fields that only ADD minds', { subnet: 'rubbish', runtimeConfig: { bandwidth: {} } }, {}],
    ['arguments that only ADD minds', {}, { CNI_ARGS: 'rubbish' }],
  ])('succeeds for %s', async (_what, fields, env) => {
    await using daemon = await Daemon.start();
    expect(await daemon.call('DEL', fields, env)).toMatchObject({ code: 0, stdout: '' });
  });

  it('tells the runtime when something is left', async () => {
    await using daemon = await Daemon.start();
    daemon.ports.detachError = new AppError('NOT_READY');
    expect(answerOf(await daemon.call('DEL'))).toMatchObject({ code: 11 });
  });

  it('comes after an ADD that is under way', async () => {
    await using daemon = await Daemon.start();
    let open: () => void = () => undefined;
    daemon.ports.gate = new Promise((resolve) => {
      open = resolve;
    });
    const add = daemon.call('ADD', { timeout: 0.3 });
    expect(answerOf(await add)).toMatchObject({ code: 11 });
    const del = daemon.call('DEL');
    open();
    expect(await del).toMatchObject({ code: 0 });
    expect(daemon.ports.attached.size).toBe(0);
  });
});

describe('§2 CHECK', () => {
  it.each(['0.4.0', '1.0.0', '1.1.0'])('has no output after an ADD of version %s', async (cniVersion) => {
    await using daemon = await Daemon.start();
    const prevResult = answerOf(await daemon.call('ADD', { cniVersion }));
    expect(await daemon.call('CHECK', { cniVersion, prevResult })).toMatchObject({ code: 0, stdout: '' });
  });

  it('lets later plugins of a chain add to the result', async () => {
    await using daemon = await Daemon.start();
    const result = answerOf(await daemon.call('ADD'));
    const prevResult = {
      ...result,
      interfaces: [...(result.interfaces as object[]), { name: 'ifb0' }],
      routes: [],
      dns: {},
    };
    expect(await daemon.call('CHECK', { prevResult })).toMatchObject({ code: 0 });
  });

  it('reports what the kernel does not have', async () => {
    await using daemon = await Daemon.start();
    const prevResult = answerOf(await daemon.call('ADD'));
    daemon.ports.problems = ['eth0 is down'];
    const answer = answerOf(await daemon.call('CHECK', { prevResult }));
    expect(answer).toMatchObject({ code: 130, details: 'eth0 is down' });
  });

  it.each([
    ['another address', { ips: [{ address: '198.18.0.9/24', interface: 1 }] }, '198.18.0.9/24'],
    ['no interfaces', { interfaces: [] }, 'qn00000001'],
    ['another MAC address', { interfaces: [HOST, { ...CONTAINER, mac: '02:00:00:00:00:99' }] }, '00:99'],
  ])('reports a result with %s', async (_what, change, told) => {
    await using daemon = await Daemon.start();
    const prevResult = { ...answerOf(await daemon.call('ADD')), ...change };
    const answer = answerOf(await daemon.call('CHECK', { prevResult }));
    expect(answer).toMatchObject({ code: 130, details: expect.stringContaining(told) });
  });

  it('reports another network namespace', async () => {
    await using daemon = await Daemon.start();
    const prevResult = answerOf(await daemon.call('ADD'));
    const answer = answerOf(await daemon.call('CHECK', { prevResult }, { CNI_NETNS: '/run/netns/c2' }));
    expect(answer).toMatchObject({ code: 130, details: expect.stringContaining('/run/netns/c2') });
  });

  it('needs prevResult (7), a container that was added (3) and version 0.4.0 (1)', async () => {
    await using daemon = await Daemon.start();
    expect(answerOf(await daemon.call('CHECK'))).toMatchObject({ code: 7 });
    expect(answerOf(await daemon.call('CHECK', { prevResult: {} }))).toMatchObject({ code: 3 });
    const old = { cniVersion: '0.3.1', prevResult: {} };
    expect(answerOf(await daemon.call('CHECK', old))).toMatchObject({ code: 1 });
  });
});

describe('§2 STATUS', () => {
  const env = { CNI_COMMAND: 'STATUS' };

  it('succeeds without output when ADD can be served', async () => {
    await using daemon = await Daemon.start();
    expect(await runPlugin({ env, stdin: daemon.config() })).toMatchObject({ code: 0, stdout: '' });
  });

  it('says 50 when ADD cannot be served, 51 when containers are affected', async () => {
    await using daemon = await Daemon.start();
    daemon.ports.state = { ready: false, connectivity: true, message: 'pool of web is empty' };
    const unavailable = answerOf(await runPlugin({ env, stdin: daemon.config() }));
    expect(unavailable).toMatchObject({ code: 50, msg: 'pool of web is empty' });
    daemon.ports.state = { ready: false, connectivity: false };
    expect(answerOf(await runPlugin({ env, stdin: daemon.config() }))).toMatchObject({ code: 51 });
  });

  it('is no command of version 1.0.0 (1)', async () => {
    await using daemon = await Daemon.start();
    const stdin = daemon.config({ cniVersion: '1.0.0' });
    expect(answerOf(await runPlugin({ env, stdin }))).toMatchObject({ code: 1, cniVersion: '1.0.0' });
  });
});

describe('§2 GC', () => {
  const env = { CNI_COMMAND: 'GC', CNI_PATH: '/opt/cni/bin' };
  const valid = (...ids: string[]) => ({
    'cni.dev/valid-attachments': ids.map((containerID) => ({ containerID, ifname: 'eth0' })),
  });

  async function withContainers(...ids: string[]): Promise<Daemon> {
    const daemon = await Daemon.start();
    daemon.ports.addNetwork({ name: 'other', cidr: '198.18.3.0/24' });
    for (const id of ids) await daemon.call('ADD', {}, { CNI_CONTAINERID: id });
    return daemon;
  }

  it('removes what is not valid, of this network and of CNI alone', async () => {
    await using daemon = await withContainers('keep', 'stale', 'rest');
    await daemon.call('ADD', { name: 'other' }, { CNI_CONTAINERID: 'elsewhere' });
    daemon.ports.others.add('web/rest/eth0');
    const outcome = await runPlugin({ env, stdin: daemon.config(valid('keep')) });
    expect(outcome).toMatchObject({ code: 0, stdout: '' });
    expect([...daemon.ports.attached.keys()]).toEqual([
      'web/keep/eth0',
      'web/rest/eth0',
      'other/elsewhere/eth0',
    ]);
  });

  it('removes everything when nothing is valid, also as Go writes an empty list', async () => {
    for (const list of [[], null]) {
      await using daemon = await withContainers('a', 'b');
      const stdin = daemon.config({ 'cni.dev/valid-attachments': list });
      expect(await runPlugin({ env, stdin })).toMatchObject({ code: 0 });
      expect(daemon.ports.attached.size).toBe(0);
    }
  });

  it.each([
    ['another name', { 'cni.dev/attachments': [{ containerID: 'keep', ifname: 'eth0' }] }],
    [
      'both names, one of them empty',
      {
        'cni.dev/attachments': [{ containerID: 'keep', ifname: 'eth0' }],
        'cni.dev/valid-attachments': null,
      },
    ],
  ])('takes the list under %s', async (_what, lists) => {
    await using daemon = await withContainers('keep', 'stale');
    expect(await runPlugin({ env, stdin: daemon.config(lists) })).toMatchObject({ code: 0 });
    expect([...daemon.ports.attached.keys()]).toEqual(['web/keep/eth0']);
  });

  it.each([{ 'cni.dev/valid-attachments': 'all' }, { 'cni.dev/attachments': [{ ifname: 'eth0' }] }])(
    'a list that is none is refused (7), and nothing removed: %j',
    async (lists) => {
      await using daemon = await withContainers('a');
      expect(answerOf(await runPlugin({ env, stdin: daemon.config(lists) }))).toMatchObject({ code: 7 });
      expect(daemon.ports.attached.size).toBe(1);
    },
  );

  it('removes nothing when the list is missing or the network is gone', async () => {
    await using daemon = await withContainers('a');
    expect(await runPlugin({ env, stdin: daemon.config() })).toMatchObject({ code: 0, stdout: '' });
    const gone = await runPlugin({ env, stdin: daemon.config({ name: 'gone', ...valid() }) });
    expect(gone).toMatchObject({ code: 0, stdout: '' });
    expect(daemon.ports.attached.size).toBe(1);
  });

  it('goes on after an error and reports it', async () => {
    await using daemon = await withContainers('a', 'b');
    daemon.ports.detachError = new AppError('KERNEL_ERROR', 'delete qn00000001: busy');
    const answer = answerOf(await runPlugin({ env, stdin: daemon.config(valid()) }));
    expect(answer).toMatchObject({ code: 119, msg: expect.stringContaining('2 attachments') });
  });
});

describe('§2 Parameters', () => {
  it('the daemon sees the variables of the specification and no others', async () => {
    await using daemon = await Daemon.prepare();
    const seen = await answerOnce(daemon.socket, { exit_code: 0, stdout: '' }, () =>
      runPlugin({
        env: { ...callEnv('ADD'), SECRET: 'x', CNI_SECRET: 'y', QUANTUM_CNI_SOCKET: '/nowhere' },
        stdin: daemon.config(),
      }),
    );
    const { env, stdin } = JSON.parse(seen.body) as { env: object; stdin: string };
    expect(env).toEqual(callEnv('ADD'));
    expect(JSON.parse(stdin)).toEqual(daemon.config());
  });
});
