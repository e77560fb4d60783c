import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { AppError } from '../../src/model/errors.js';
import { nodeLabels } from '../../src/model/node-labels.js';
import { listenAddress, renderSettingsHelp, SETTINGS, type Settings } from '../../src/model/settings.js';
import { renderSettingsDocs } from '../../src/model/settings-docs.js';
import { asksForHelp, loadSettings } from '../../src/model/settings-load.js';

const root = join(import.meta.dirname, '../..');

interface Given {
  argv?: string[];
  env?: Record<string, string>;
  files?: Record<string, string>;
}

function load({ argv = [], env = {}, files = {} }: Given): Settings {
  const readFile = (path: string): string => {
    const text = files[path];
    if (text === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
    return text;
  };
  return loadSettings({ argv, env: { PATH: '/bin', ...env }, readFile });
}

function refusalOf(given: Given): AppError {
  try {
    load(given);
  } catch (error) {
    if (error instanceof AppError && error.code === 'INVALID_SETTINGS') return error;
    throw error;
  }
  throw new Error('the settings were accepted');
}

const FILE = '/etc/quantum/config.yaml';

describe('labels of the node', () => {
  it('are those of the setting, and the host name', () => {
    expect(load({ argv: ['--node-labels=zone=a,rack='] }).node_labels).toBe('zone=a,rack=');
    expect(nodeLabels('zone=a,rack=', 'host-1.example')).toEqual({
      'kubernetes.io/hostname': 'host-1.example',
      zone: 'a',
      rack: '',
    });
    expect(nodeLabels('', 'host-1')).toEqual({ 'kubernetes.io/hostname': 'host-1' });
  });

  it('say the host name that the setting gives, and none where it cannot be a label', () => {
    expect(nodeLabels('kubernetes.io/hostname=other', 'host-1')).toEqual({
      'kubernetes.io/hostname': 'other',
    });
    expect(nodeLabels('', '-host_')).toEqual({});
    expect(nodeLabels('', 'h'.repeat(64))).toEqual({});
  });
});

describe('settings', () => {
  it('have the documented defaults when nothing is given', () => {
    expect(load({})).toMatchObject({
      config: FILE,
      listen: '127.0.0.1:9443',
      grpc_listen: '127.0.0.1:9444',
      run_dir: '/run/quantum',
      state_dir: '/var/lib/quantum',
      bpffs_dir: '/sys/fs/bpf/quantum',
      cni_bin_dir: '/opt/cni/bin',
      cni_conf_dir: '/etc/cni/net.d',
      docker_plugin_dir: '/run/docker/plugins',
      docker_socket: '/var/run/docker.sock',
      cni_conf_prefix: '',
      cni_version: '1.0.0',
      uplink: 'auto',
      cgroup_root: 'auto',
      store: 'embedded',
      log_level: 'info',
      host_access: 'policy',
      node_labels: '',
    });
  });

  it('of the programs have the name and the default of their CONFIG', () => {
    const header = readFileSync(join(root, 'bpf/lib/config.h'), 'utf8');
    const configs = [...header.matchAll(/^CONFIG\(\w+, (\w+), (\d+),/gm)].map(([, name, value]) => [
      name,
      Number(value),
    ]);
    expect(configs.length).toBeGreaterThan(5);
    const defaults: [string, unknown][] = SETTINGS.map(({ key, fallback }) => [key, fallback]);
    // No settings: the daemon itself loads programs that explain, or stand in.
    const settings = configs.filter(([name]) => name !== 'explain' && name !== 'stands_in');
    expect(settings.length).toBe(configs.length - 2);
    for (const config of settings) expect(defaults).toContainEqual(config);
  });

  it('come from the flag before the environment before the file', () => {
    const files = { [FILE]: 'log_level: warn\nudp_s: 1\nicmp_s: 11\n' };
    const env = { QUANTUM_UDP_S: '2', QUANTUM_LOG_LEVEL: 'error' };
    const settings = load({ argv: ['--log-level', 'debug', '--run-dir=/tmp/a=b'], env, files });
    expect(settings).toMatchObject({ log_level: 'debug', udp_s: 2, icmp_s: 11, run_dir: '/tmp/a=b' });
  });

  it('cannot be changed', () => {
    expect(Object.isFrozen(load({}))).toBe(true);
  });

  it('come from the file that flag or environment name', () => {
    const files = { '/a.yaml': 'udp_s: 5', '/b.yaml': 'udp_s: 6' };
    expect(load({ env: { QUANTUM_CONFIG: '/a.yaml' }, files }).udp_s).toBe(5);
    expect(load({ argv: ['--config', '/b.yaml'], env: { QUANTUM_CONFIG: '/a.yaml' }, files })).toMatchObject({
      udp_s: 6,
      config: '/b.yaml',
    });
    expect(load({ files: { [FILE]: '# nothing yet\n' } }).udp_s).toBe(60);
  });

  const refusals: [string, Given, string[]][] = [
    [
      'an unknown flag',
      { argv: ['--lisen', 'x'] },
      ['flag --lisen', 'unknown flag', 'did you mean --listen?'],
    ],
    ['a stray argument', { argv: ['start'] }, ['start', 'unexpected argument']],
    ['a flag without its value', { argv: ['--uplink'] }, ['flag --uplink', 'needs a value']],
    ['a flag given twice', { argv: ['--udp-s=1', '--udp-s=2'] }, ['flag --udp-s', 'given twice']],
    [
      'an unknown variable',
      { env: { QUANTUM_LISTN: 'x' } },
      ['QUANTUM_LISTN', 'did you mean QUANTUM_LISTEN?'],
    ],
    [
      'a bad variable',
      { env: { QUANTUM_UDP_S: '1.5' } },
      ['environment variable QUANTUM_UDP_S', 'whole number from 1'],
    ],
    ['an empty variable', { env: { QUANTUM_UDP_S: '' } }, ['environment variable QUANTUM_UDP_S']],
    [
      'an unknown key',
      { files: { [FILE]: 'udp-s: 1' } },
      [`file ${FILE}`, 'udp-s: unknown key', 'did you mean udp_s?'],
    ],
    ['a bad key', { files: { [FILE]: 'udp_s: many' } }, [`file ${FILE}: udp_s`, 'whole number']],
    ['a number in quotes', { files: { [FILE]: 'udp_s: "5"' } }, [`file ${FILE}: udp_s`]],
    ['config in the file', { files: { [FILE]: 'config: /x' } }, ['config: cannot be set in the file itself']],
    ['a file that is no mapping', { files: { [FILE]: '- a' } }, [`file ${FILE}`, 'a key for each setting']],
    ['a prefix that is a path', { argv: ['--cni-conf-prefix', '../'] }, ['flag --cni-conf-prefix']],
    ['a prefix that hides', { argv: ['--cni-conf-prefix', '.'] }, ['flag --cni-conf-prefix']],
    ['a CNI version of nobody', { argv: ['--cni-version', '0.2.0'] }, ['flag --cni-version', '1.1.0']],
    ['a file that is no YAML', { files: { [FILE]: 'a: [' } }, [`file ${FILE}`, 'invalid YAML']],
    ['a key given twice', { files: { [FILE]: 'udp_s: 1\nudp_s: 2' } }, [`file ${FILE}`]],
    ['an endless file', { files: { [FILE]: '#'.repeat(70_000) } }, [`file ${FILE}`, 'larger than']],
    [
      'a missing file that was asked for',
      { argv: ['--config', '/no.yaml'] },
      ['flag --config', 'no file /no.yaml'],
    ],
    ['a relative path', { argv: ['--state-dir', 'x'] }, ['flag --state-dir', 'absolute path']],
    [
      'a run_dir too long for a socket',
      { argv: ['--run-dir', `/${'x'.repeat(98)}`] },
      ['flag --run-dir', '98'],
    ],
    ['a store that is not there yet', { argv: ['--store', 'etcd://a:2379'] }, ['flag --store', 'embedded']],
    [
      'a range of services with host bits',
      { argv: ['--service-cidr=10.96.0.1/16'] },
      ['flag --service-cidr', 'beyond its prefix length'],
    ],
    ['an unknown access of the host', { argv: ['--host-access=none'] }, ['flag --host-access', 'policy']],
    ['a cgroup by its name', { argv: ['--cgroup-root=system.slice'] }, ['--cgroup-root', 'absolute path']],
    ['a cgroup above', { argv: ['--cgroup-root=/sys/fs/cgroup/..'] }, ['--cgroup-root', 'without ".."']],
    ['labels that are no pairs', { argv: ['--node-labels=a'] }, ['flag --node-labels', 'form key=value']],
    ['a label without a key', { env: { QUANTUM_NODE_LABELS: 'a=b,=c' } }, ['QUANTUM_NODE_LABELS', 'form']],
    ['a label that is none', { argv: ['--node-labels=a=b c'] }, ['flag --node-labels', 'a: must be a label']],
    [
      'a label given twice',
      { argv: ['--node-labels=a=b,a=b'] },
      ['flag --node-labels', '"a" is given twice'],
    ],
    ['a buffer that is no power of two', { argv: ['--events-buffer-bytes=5000'] }, ['power of two']],
    [
      'two listeners on one address',
      { argv: ['--grpc-listen=127.0.0.1:9443'] },
      ['--grpc-listen', 'differ from listen'],
    ],
  ];
  it.each(refusals)('refuse %s, naming source and key', (_, given, words) => {
    const { message, exitCode } = refusalOf(given);
    for (const word of words) expect(message).toContain(word);
    expect(exitCode).toBe(78);
  });

  it('report every bad value at once', () => {
    const error = refusalOf({
      argv: ['--udp-s=0'],
      env: { QUANTUM_ICMP_S: 'x' },
      files: { [FILE]: 'log_level: loud' },
    });
    expect(error.details?.map(({ path }) => path).sort()).toEqual(['icmp_s', 'log_level', 'udp_s']);
  });

  it('report a file that cannot be read even when nobody asked for it', () => {
    const readFile = () => {
      throw Object.assign(new Error('denied'), { code: 'EACCES' });
    };
    expect(() => loadSettings({ argv: [], env: {}, readFile })).toThrow(`${FILE} cannot be read`);
  });

  it.each(['0.0.0.0:9443', '192.168.1.1:80', '[::]:9443', '[fd00::1]:1', '10.0.0.1:9443'])(
    'do not let the API listen on %s, and say why',
    (text) =>
      expect(refusalOf({ argv: ['--listen', text] }).message).toContain(
        'no authentication of remote callers',
      ),
  );

  it.each([
    'localhost:9443',
    '127.0.0.1',
    ':9443',
    '127.0.0.1:65536',
    '::1:9443',
    '127.1:80',
    '127.0.0.1:080',
    '',
  ])('do not take %j for an address to listen on', (text) =>
    expect(refusalOf({ argv: ['--listen', text] }).message).toMatch(/^flag --listen: .*must be an/),
  );

  it('take loopback addresses and none', () => {
    expect(listenAddress('127.0.0.2:0')).toEqual({ host: '127.0.0.2', port: 0 });
    expect(listenAddress('[::1]:9443')).toEqual({ host: '::1', port: 9443 });
    expect(listenAddress('none')).toBeUndefined();
    expect(load({ argv: ['--listen=none', '--grpc-listen=none'] })).toMatchObject({
      listen: 'none',
      grpc_listen: 'none',
    });
  });

  it('refuse a range of ports that ends before it begins', () => {
    const ports = (min: number, max: number) => ['--nat-port-min', `${min}`, '--nat-port-max', `${max}`];
    expect(load({ argv: ports(62000, 62000) })).toMatchObject({ nat_port_min: 62000, nat_port_max: 62000 });
    expect(() => load({ argv: ports(62001, 62000) })).toThrow(/nat_port_min/);
    expect(() => load({ argv: ports(32000, 33000) })).toThrow(/port_mapping_max/);
  });

  it('are all in the help text, with flag, meaning and default', () => {
    const help = renderSettingsHelp();
    for (const { flag, text, fallback } of SETTINGS) {
      expect(text.length).toBeGreaterThan(10);
      expect(help).toMatch(new RegExp(`${flag} <`));
      expect(help).toContain(`${text} (default: ${fallback === '' ? 'empty' : fallback})`);
    }
    expect([['--help'], ['-h'], ['--listen', 'x']].map(asksForHelp)).toEqual([true, true, false]);
  });

  it('are documented in docs/settings.md as they are (vitest -u writes it)', async () => {
    const file = join(root, 'docs/settings.md');
    expect(existsSync(file)).toBe(true);
    await expect(renderSettingsDocs()).toMatchFileSnapshot(file);
  });

  it.each(['/proc/x', '/sys/kernel', '//proc/self', '/var/../proc/x', '/proc'])(
    'refuse %s as a directory: making it would never end',
    (directory) => {
      expect(() => load({ argv: ['--state-dir', directory] })).toThrow(/must have no/);
    },
  );
});
