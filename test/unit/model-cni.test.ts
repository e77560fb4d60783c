import { describe, expect, it } from 'vitest';
import {
  answerVersion,
  CNI_VERSIONS,
  cniCall,
  configurationLabels,
  parseCniArguments,
  parseCniConfiguration,
} from '../../src/model/cni.js';
import { cniError, resultText, versionText } from '../../src/model/cni-result.js';
import { AppError } from '../../src/model/errors.js';

const CONFIGURATION = {
  cniVersion: '1.0.0',
  name: 'blue',
  type: 'quantum-cni',
  driver: 'bridge',
  subnet: '10.0.0.0/16',
  gateway: '10.0.0.1',
  routes: [{ dst: '0.0.0.0/0' }],
  dns: { nameservers: ['10.0.0.1'] },
  isolation_mode: 'peer-only',
};

function errorOf(action: () => unknown): AppError {
  try {
    action();
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

const configure = (changes: object) =>
  parseCniConfiguration(JSON.stringify({ ...CONFIGURATION, ...changes }));

describe('a CNI network configuration', () => {
  it('is taken in every version, under both names, and with what runtimes add', () => {
    for (const cniVersion of CNI_VERSIONS) {
      const parsed = configure({
        cniVersion,
        type: 'quantum',
        args: { cni: { labels: [{ key: 'app', value: 'web' }], other: 1 }, org: {} },
        capabilities: { portMappings: true },
        runtimeConfig: { portMappings: [] },
        prevResult: { cniVersion, interfaces: [{ name: 'eth0', sandbox: '/x' }], ips: [], dns: {} },
        'cni.dev/valid-attachments': [{ containerID: 'a', ifname: 'eth0' }],
      });
      expect(parsed).toMatchObject({
        isolation_mode: 'peer',
        subnet: '10.0.0.0/16',
        capabilities: { portMappings: true },
      });
      expect(configurationLabels(parsed)).toEqual({ app: 'web' });
    }
  });

  const refusals: [string, object, string, string | undefined][] = [
    ['an unknown version', { cniVersion: '2.0.0' }, 'INCOMPATIBLE_CNI_VERSION', undefined],
    ['no version', { cniVersion: undefined }, 'INCOMPATIBLE_CNI_VERSION', undefined],
    ['an ipam plugin without a name', { ipam: { type: 1 } }, 'INVALID_CNI_CONFIG', 'ipam.type'],
    ['a bad subnet', { subnet: '10.0.0.1/16' }, 'INVALID_CNI_CONFIG', 'subnet'],
    ['a bad route', { routes: [{ dst: 'x' }] }, 'INVALID_CNI_CONFIG', 'routes[0].dst'],
    ['another type', { type: 'bridge' }, 'INVALID_CNI_CONFIG', 'type'],
    [
      'a bad label',
      { args: { cni: { labels: [{ key: '-', value: '' }] } } },
      'INVALID_CNI_CONFIG',
      'args.cni.labels[0].key',
    ],
  ];
  it.each(refusals)('with %s is refused', (_, changes, code, path) => {
    const error = errorOf(() => configure(changes));
    expect([error.code, error.details?.[0]?.path]).toEqual([code, path]);
  });

  it('that is no JSON is refused as such', () => {
    expect(errorOf(() => parseCniConfiguration('{')).cniCode).toBe(6);
    expect(errorOf(() => parseCniConfiguration('[]')).code).toBe('INCOMPATIBLE_CNI_VERSION');
  });

  it('is answered in its own version, or the newest when it has none of ours', () => {
    expect(['{"cniVersion":"0.3.1"}', '{"cniVersion":"9"}', '{', 'null'].map(answerVersion)).toEqual([
      '0.3.1',
      '1.1.0',
      '1.1.0',
      '1.1.0',
    ]);
  });
});

describe('CNI_ARGS', () => {
  it('give namespace, labels, pod and wanted addresses', () => {
    expect(
      parseCniArguments(
        'IgnoreUnknown=1;QUANTUM_NAMESPACE=ci;QUANTUM_LABELS=app=web,tier=,x.io/a=b;K8S_POD_NAMESPACE=kube;K8S_POD_NAME=p-0;IP=10.0.0.5;MAC=02:AA:00:00:00:01;K8S_POD_UID=1;Foo=bar',
      ),
    ).toEqual({
      namespace: 'ci',
      labels: { app: 'web', tier: '', 'x.io/a': 'b' },
      pod_namespace: 'kube',
      pod_name: 'p-0',
      ip: '10.0.0.5',
      mac: '02:aa:00:00:00:01',
    });
    expect(parseCniArguments('')).toEqual({ labels: {} });
    expect(parseCniArguments('K8S_POD_NAME=;')).toEqual({ labels: {} });
  });

  it.each([
    ['Foo=bar', 'Foo is unknown'],
    ['IgnoreUnknown=0;Foo=bar', 'Foo is unknown'],
    ['constructor=1', 'constructor is unknown'],
    ['QUANTUM_NAMESPACE=Bad', 'QUANTUM_NAMESPACE must be'],
    ['QUANTUM_LABELS=a', 'QUANTUM_LABELS must have the form'],
    ['QUANTUM_LABELS=a=b=c', 'QUANTUM_LABELS must be a label value'],
    ['MAC=01:00:00:00:00:01', 'MAC must be a unicast'],
    ['IP=10.0.0.5;IP=10.0.0.6', 'IP is given twice'],
    ['nonsense', 'KEY=value'],
  ])('%s are refused as an invalid environment', (text, message) => {
    const error = errorOf(() => parseCniArguments(text));
    expect(error.cniCode).toBe(4);
    expect(error.message).toContain(message);
  });
});

describe('what the plugin prints', () => {
  const result = {
    interfaces: [{ name: 'eth0', mac: '02:00:00:00:00:01', mtu: 1500, sandbox: '/proc/1/ns/net' }],
    ips: [
      { address: '10.0.0.5/16', gateway: '10.0.0.1', interface: 0 },
      { address: 'fd00::5/64', interface: 0 },
    ],
    routes: [{ dst: '0.0.0.0/0', gw: '10.0.0.1', mtu: 1400 }],
  };

  it.each(['0.3.0', '0.3.1', '0.4.0'] as const)('tells the IP version of each address in %s', (version) => {
    const printed = JSON.parse(resultText(version, result));
    expect(printed.cniVersion).toBe(version);
    expect(printed.ips.map((ip: { version: string }) => ip.version)).toEqual(['4', '6']);
    expect(printed.interfaces).toEqual([
      { name: 'eth0', mac: '02:00:00:00:00:01', sandbox: '/proc/1/ns/net' },
    ]);
  });

  it('has no field that its version does not know', () => {
    const old = JSON.parse(resultText('1.0.0', result));
    expect(old.ips).toEqual(result.ips);
    expect(old.routes).toEqual([{ dst: '0.0.0.0/0', gw: '10.0.0.1' }]);
    expect(JSON.parse(resultText('1.1.0', result))).toEqual({ cniVersion: '1.1.0', ...result, dns: {} });
  });

  it('is an error object with the code of the catalogue, and nothing of an unknown error', () => {
    expect(cniError('1.0.0', new AppError('POOL_EXHAUSTED', 'full', { hint: 'use a larger range' }))).toEqual(
      {
        cniVersion: '1.0.0',
        code: 113,
        msg: 'full',
        details: 'POOL_EXHAUSTED; use a larger range',
      },
    );
    expect(JSON.stringify(cniError('1.0.0', new Error('secret')))).not.toContain('secret');
  });

  it('lists every supported version', () => {
    expect(JSON.parse(versionText('1.1.0'))).toEqual({
      cniVersion: '1.1.0',
      supportedVersions: [...CNI_VERSIONS],
    });
  });
});

describe('a call of the CNI socket', () => {
  it('carries only variables of CNI', () => {
    expect(cniCall.safeParse({ env: { CNI_COMMAND: 'ADD', CNI_ARGS: '' }, stdin: '{}' }).success).toBe(true);
    expect(cniCall.safeParse({ env: { LD_PRELOAD: 'x' }, stdin: '{}' }).success).toBe(false);
    expect(cniCall.safeParse({ env: {}, stdin: 'x'.repeat(1024 * 1024 + 1) }).success).toBe(false);
  });
});
