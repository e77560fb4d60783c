/** Delegated IPAM, as section 4 of the CNI specification has it: Debian's host-local, and plugins that misbehave. */
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { AppError } from '../../src/model/errors.js';
import { answerOf, buildPlugin, Daemon, type Outcome, runPlugin } from './plugin.js';

beforeAll(buildPlugin);

const DEBIAN = '/usr/lib/cni';
const SUBNET = '198.18.7.0/24';

/** A configuration that lets Debian's host-local give the addresses; its leases are in a directory of the test. */
class Delegation {
  readonly leases: string;

  constructor(readonly daemon: Daemon) {
    this.leases = join(daemon.directory, 'leases');
  }

  config(fields: object = {}, ipam: object = {}) {
    return {
      cniVersion: '1.0.0',
      name: 'leased',
      ipam: { type: 'host-local', subnet: SUBNET, dataDir: this.leases, ...ipam },
      ...fields,
    };
  }

  call(command: string, container = 'c1', fields: object = {}, ipam: object = {}): Promise<Outcome> {
    const env = { CNI_CONTAINERID: container, CNI_PATH: `relative:/nonexistent:${DEBIAN}` };
    return this.daemon.call(command, this.config(fields, ipam), env);
  }

  /** Addresses that host-local has given away. */
  async given(network = 'leased'): Promise<string[]> {
    const names = await readdir(join(this.leases, network)).catch(() => []);
    return names.filter((name) => /^[0-9]/.test(name)).sort();
  }
}

/** A plugin of the test's own: a shell script that notes the commands it gets. */
async function script(daemon: Daemon, text: string): Promise<{ path: string; calls(): Promise<string[]> }> {
  const path = join(daemon.directory, 'plugins');
  await mkdir(path, { recursive: true });
  const log = join(path, 'calls');
  await writeFile(join(path, 'scripted'), `#!/bin/sh\necho "$CNI_COMMAND" >> ${log}\n${text}\n`);
  await chmod(join(path, 'scripted'), 0o755);
  const calls = async () => (await readFile(log, 'utf8').catch(() => '')).split('\n').filter((line) => line);
  return { path, calls };
}

const RESULT = `{"ips":[{"address":"198.18.0.9/24","gateway":"198.18.0.1"}]}`;
const scripted = (path: string, fields: object = {}) =>
  [{ ipam: { type: 'scripted' }, ...fields }, { CNI_PATH: path }] as const;

describe('§4 Delegated Plugin: host-local', () => {
  it.each(['0.3.0', '0.3.1', '0.4.0', '1.0.0'])(
    'ADD takes its address, DEL gives it back (%s)',
    async (cniVersion) => {
      await using daemon = await Daemon.start();
      const site = new Delegation(daemon);
      const result = answerOf(await site.call('ADD', 'c1', { cniVersion }));
      const version = cniVersion.startsWith('0.') ? { version: '4' } : {};
      expect(result.ips).toEqual([
        { ...version, address: '198.18.7.2/24', gateway: '198.18.7.1', interface: 1 },
      ]);
      expect(await site.given()).toEqual(['198.18.7.2']);
      expect(daemon.ports.networks.get('leased')).toMatchObject({ cidr: SUBNET, gateway: '198.18.7.1' });
      const prevResult = cniVersion === '0.3.0' || cniVersion === '0.3.1' ? undefined : result;
      if (prevResult !== undefined) {
        expect(await site.call('CHECK', 'c1', { cniVersion, prevResult })).toMatchObject({
          code: 0,
          stdout: '',
        });
      }
      for (let round = 0; round < 2; round++) {
        expect(await site.call('DEL', 'c1', { cniVersion })).toMatchObject({ code: 0, stdout: '' });
      }
      expect(await site.given()).toEqual([]);
      expect(daemon.ports.attached.size).toBe(0);
    },
  );

  it('both families, routes and a static address that the runtime asks for', async () => {
    await using daemon = await Daemon.start();
    const site = new Delegation(daemon);
    const ranges = [[{ subnet: SUBNET }], [{ subnet: 'fd00:7::/64' }]];
    const ipam = { subnet: undefined, ranges, routes: [{ dst: '0.0.0.0/0' }, { dst: '10.0.0.0/8' }] };
    const runtimeConfig = { ips: ['198.18.7.77'] };
    const result = answerOf(await site.call('ADD', 'c1', { runtimeConfig }, ipam));
    expect(result.ips).toMatchObject([{ address: '198.18.7.77/24' }, { address: 'fd00:7::2/64' }]);
    expect(daemon.ports.requests).toMatchObject([
      {
        ip_address: '198.18.7.77',
        ip6_address: 'fd00:7::2',
        routes: [{ dst: '0.0.0.0/0' }, { dst: '10.0.0.0/8' }],
      },
    ]);
  });

  it('CHECK passes its error on', async () => {
    await using daemon = await Daemon.start();
    const site = new Delegation(daemon);
    const prevResult = answerOf(await site.call('ADD'));
    await site.call('DEL');
    const answer = answerOf(await site.call('CHECK', 'c1', { prevResult }));
    expect(answer).toMatchObject({ code: 999, msg: expect.stringContaining('host-local') });
  });

  it('an ADD that is refused gives the address back', async () => {
    await using daemon = await Daemon.start();
    const site = new Delegation(daemon);
    daemon.ports.attachError = new AppError('INTERFACE_EXISTS');
    expect(answerOf(await site.call('ADD'))).toMatchObject({ code: 112 });
    expect(await site.given()).toEqual([]);
  });

  it('addresses of another range than the network has are refused (7) and given back', async () => {
    await using daemon = await Daemon.start();
    const site = new Delegation(daemon);
    daemon.ports.addNetwork({ name: 'leased', cidr: '198.18.8.0/24' });
    expect(answerOf(await site.call('ADD'))).toMatchObject({
      code: 7,
      msg: expect.stringContaining('198.18.8.0/24'),
    });
    expect(await site.given()).toEqual([]);
    expect(daemon.ports.requests).toEqual([]);
  });

  it('another gateway than the network has is refused (7)', async () => {
    await using daemon = await Daemon.start();
    const site = new Delegation(daemon);
    daemon.ports.addNetwork({ name: 'leased', cidr: SUBNET });
    const answer = answerOf(await site.call('ADD', 'c1', {}, { gateway: '198.18.7.254' }));
    expect(answer).toMatchObject({ code: 7, msg: expect.stringContaining('198.18.7.254') });
  });

  it('without a daemon no address is asked for, and DEL gives it back all the same', async () => {
    await using daemon = await Daemon.start();
    const site = new Delegation(daemon);
    await site.call('ADD');
    await daemon.stop();
    expect(answerOf(await site.call('ADD', 'c2'))).toMatchObject({ code: 11 });
    expect(await site.given()).toEqual(['198.18.7.2']);
    expect(await site.call('DEL')).toMatchObject({ code: 0 });
    expect(await site.given()).toEqual([]);
    await daemon.start();
    expect(daemon.ports.attached.size).toBe(0);
  });

  it('an address is not given back while the container may still have it', async () => {
    await using daemon = await Daemon.start();
    const site = new Delegation(daemon);
    await site.call('ADD');
    daemon.ports.detachError = new AppError('KERNEL_ERROR');
    expect(answerOf(await site.call('DEL'))).toMatchObject({ code: 119 });
    expect(await site.given()).toEqual(['198.18.7.2']);
  });

  it('what it refuses is passed on as it is, in the version asked for', async () => {
    await using daemon = await Daemon.start();
    const site = new Delegation(daemon);
    const answer = answerOf(await site.call('ADD', 'c1', { cniVersion: '1.1.0' }));
    // Debian's is of the time of 1.0.0.
    expect(answer).toMatchObject({ code: 1, details: expect.stringContaining('1.1.0') });
    expect(daemon.ports.requests).toEqual([]);
  });
});

describe('§4 Delegated plugin execution procedure', () => {
  it('CHECK, DEL, GC and STATUS go to it too, and its error is ours', async () => {
    await using daemon = await Daemon.start();
    const { path, calls } = await script(daemon, `[ "$CNI_COMMAND" = ADD ] && echo '${RESULT}'; exit 0`);
    const prevResult = answerOf(await daemon.call('ADD', ...scripted(path)));
    const valid = { 'cni.dev/valid-attachments': [] };
    for (const [command, fields] of Object.entries({
      CHECK: { prevResult },
      STATUS: {},
      DEL: {},
      GC: valid,
    })) {
      expect(await daemon.call(command, ...scripted(path, fields))).toMatchObject({ code: 0, stdout: '' });
    }
    expect(await calls()).toEqual(['ADD', 'CHECK', 'STATUS', 'DEL', 'GC']);
    const refusal = '{"cniVersion":"1.1.0","code":111,"msg":"no"}';
    const refusing = await script(daemon, `echo '${refusal}'; exit 1`);
    for (const command of ['DEL', 'STATUS', 'GC']) {
      const outcome = await daemon.call(command, ...scripted(refusing.path, valid));
      expect(outcome).toMatchObject({ code: 1, stdout: `${refusal}\n` });
    }
  });

  it('gets our environment and our input, and its standard error is ours', async () => {
    await using daemon = await Daemon.start();
    const text = `cat > "\${0%/*}/input"; env > "\${0%/*}/environment"; echo heard >&2; echo '${RESULT}'`;
    const { path } = await script(daemon, text);
    const [fields, env] = scripted(path, { extra: 'x'.repeat(200_000) });
    const outcome = await daemon.call('ADD', fields, {
      ...env,
      CNI_ARGS: 'IgnoreUnknown=1;A=b',
      OTHER: 'mine',
    });
    expect(outcome).toMatchObject({ code: 0, stderr: 'heard\n' });
    expect(JSON.parse(await readFile(join(path, 'input'), 'utf8'))).toEqual(daemon.config(fields));
    const environment = (await readFile(join(path, 'environment'), 'utf8')).split('\n');
    for (const entry of [
      'CNI_COMMAND=ADD',
      'CNI_CONTAINERID=c1',
      'CNI_ARGS=IgnoreUnknown=1;A=b',
      'OTHER=mine',
    ]) {
      expect(environment).toContain(entry);
    }
  });

  it('on a failed ADD it is executed again with DEL', async () => {
    await using daemon = await Daemon.start();
    const { path, calls } = await script(daemon, 'exit 3');
    const answer = answerOf(await daemon.call('ADD', ...scripted(path)));
    expect(answer).toMatchObject({ code: 999, msg: expect.stringContaining('scripted') });
    expect(await calls()).toEqual(['ADD', 'DEL']);
    expect(daemon.ports.requests).toEqual([]);
  });

  it.each([
    ['nothing', ''],
    ['no JSON', 'echo rubbish'],
    ['no addresses', `echo '{"ips":[]}'`],
    ['an address without its prefix length', `echo '{"ips":[{"address":"198.18.0.9"}]}'`],
    [
      'two addresses of one family',
      `echo '{"ips":[{"address":"198.18.0.9/24"},{"address":"198.18.0.8/24"}]}'`,
    ],
  ])('a result with %s is refused (7) and given back', async (_what, text) => {
    await using daemon = await Daemon.start();
    const { path, calls } = await script(daemon, `${text}\nexit 0`);
    expect(answerOf(await daemon.call('ADD', ...scripted(path)))).toMatchObject({ code: 7 });
    expect(await calls()).toEqual(['ADD', 'DEL']);
    expect(daemon.ports.requests).toEqual([]);
  });

  it('one that does not end is killed at the timeout (11), one that floods at once', async () => {
    await using daemon = await Daemon.start();
    const { path } = await script(daemon, 'exec sleep 600');
    const [fields, env] = scripted(path, { timeout: 0.5 });
    expect(answerOf(await daemon.call('ADD', fields, env))).toMatchObject({ code: 11 });
    const flood = await script(daemon, 'exec yes');
    expect(answerOf(await daemon.call('ADD', ...scripted(flood.path)))).toMatchObject({ code: 11 });
    expect(daemon.ports.requests).toEqual([]);
  });

  it.each(['', '/usr/lib/cni', 'quantum-cni'])(
    'CNI_PATH and ipam.type lead to a plugin: %j does not',
    async (type) => {
      await using daemon = await Daemon.start();
      const path = type === '' ? '' : DEBIAN;
      const outcome = await daemon.call('ADD', { ipam: { type: type || 'host-local' } }, { CNI_PATH: path });
      expect(answerOf(outcome).code).toBe(type === '' ? 4 : 7);
      expect(daemon.ports.requests).toEqual([]);
    },
  );

  it('an ADD without the result of the plugin is refused (7)', async () => {
    await using daemon = await Daemon.start();
    const env = { CNI_COMMAND: 'ADD', CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0', CNI_NETNS: '/run/netns/c1' };
    const stdin = JSON.stringify(daemon.config({ ipam: { type: 'host-local' } }));
    const answer = await daemon.handle({ env, stdin });
    expect(JSON.parse(answer.stdout)).toMatchObject({ code: 7, msg: expect.stringContaining('IPAM') });
  });

  it('an empty type is none', async () => {
    await using daemon = await Daemon.start();
    expect(await daemon.call('ADD', { ipam: { type: '' } })).toMatchObject({ code: 0 });
    expect(
      await runPlugin({ env: { CNI_COMMAND: 'STATUS' }, stdin: daemon.config({ ipam: {} }) }),
    ).toMatchObject({
      code: 0,
    });
  });
});
