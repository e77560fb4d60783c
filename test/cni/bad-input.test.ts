/** What the plugin executable answers to input that is not as the CNI specification has it. */
import { execFile } from 'node:child_process';
import { beforeAll, describe, expect, it } from 'vitest';
import { answerOf, buildPlugin, callEnv, Daemon, type Outcome, PLUGIN, runPlugin } from './plugin.js';
import { RawDaemon } from './raw-daemon.js';

beforeAll(buildPlugin);

/** An error object as section 5 describes it, and exit code 1. */
function expectError(outcome: Outcome, code: number, text = ''): void {
  expect(outcome.code).toBe(1);
  const answer = answerOf(outcome);
  expect(answer).toMatchObject({ cniVersion: expect.any(String), code, msg: expect.any(String) });
  expect(outcome.stdout).toContain(text);
}

describe('§5 Error 4: environment', () => {
  it('CNI_COMMAND is missing', async () => {
    expectError(await runPlugin({ stdin: '{}' }), 4, 'CNI_COMMAND');
  });

  it.each(['', 'add', 'UPDATE', 'ADD ', '\u{1f600}'.repeat(100)])(
    'CNI_COMMAND %j is not known',
    async (command) => {
      expectError(await runPlugin({ env: { CNI_COMMAND: command }, stdin: '{}' }), 4, 'CNI_COMMAND');
    },
  );

  it.each([
    ['ADD', 'CNI_CONTAINERID'],
    ['ADD', 'CNI_IFNAME'],
    ['ADD', 'CNI_NETNS'],
    ['CHECK', 'CNI_CONTAINERID'],
    ['CHECK', 'CNI_IFNAME'],
    ['CHECK', 'CNI_NETNS'],
    ['DEL', 'CNI_CONTAINERID'],
    ['DEL', 'CNI_IFNAME'],
  ])('%s needs %s', async (command, variable) => {
    await using daemon = await Daemon.start();
    const env: Record<string, string> = callEnv(command);
    delete env[variable];
    expectError(await runPlugin({ env, stdin: daemon.config() }), 4, variable);
    expectError(await daemon.call(command, {}, { [variable]: '' }), 4, variable);
  });

  it.each([
    ['CNI_CONTAINERID', '../../etc/passwd'],
    ['CNI_CONTAINERID', '-rf'],
    ['CNI_CONTAINERID', 'a b'],
    ['CNI_CONTAINERID', 'a/b'],
    ['CNI_CONTAINERID', 'ä'],
    ['CNI_CONTAINERID', 'a\nb'],
    ['CNI_CONTAINERID', '__proto__'],
    ['CNI_IFNAME', '.'],
    ['CNI_IFNAME', '..'],
    ['CNI_IFNAME', 'a/b'],
    ['CNI_IFNAME', 'a:b'],
    ['CNI_IFNAME', 'a b'],
    ['CNI_IFNAME', 'sixteencharacter'],
  ])('%s=%j is refused by ADD and by DEL', async (variable, value) => {
    await using daemon = await Daemon.start();
    expectError(await daemon.call('ADD', {}, { [variable]: value }), 4, variable);
    expectError(await daemon.call('DEL', {}, { [variable]: value }), 4, variable);
    expect(daemon.ports.requests).toEqual([]);
    expect(daemon.ports.detached).toEqual([]);
  });

  it.each([
    ['CNI_CONTAINERID', 'c'.repeat(129)],
    ['CNI_IFNAME', 'lo'],
    ['CNI_IFNAME', 'eth%d'],
    ['CNI_IFNAME', 'all'],
    ['CNI_NETNS', 'relative/path'],
    ['CNI_ARGS', 'rubbish'],
    ['CNI_ARGS', 'QUANTUM_NAMESPACE=Not A Label'],
    ['CNI_ARGS', 'QUANTUM_LABELS=a'],
    ['CNI_ARGS', 'IP=10.0.0'],
    ['CNI_ARGS', 'MAC=01:00:00:00:00:01'],
  ])('%s=%.40j is refused by ADD', async (variable, value) => {
    await using daemon = await Daemon.start();
    expectError(await daemon.call('ADD', {}, { [variable]: value }), 4, variable);
    expect(daemon.ports.requests).toEqual([]);
  });

  it('a variable that is too large is refused', async () => {
    await using daemon = await Daemon.start();
    const CNI_ARGS = `IgnoreUnknown=1;A=${'x'.repeat(70_000)}`;
    expectError(await daemon.call('ADD', {}, { CNI_ARGS }), 4, 'CNI_ARGS');
  });

  it('a variable that is not UTF-8 is refused', async () => {
    // Only a shell can make such an environment for us.
    const stdout = await new Promise<string>((resolve) => {
      const script = `CNI_ARGS=$(printf 'A=\\377') CNI_COMMAND=ADD exec ${PLUGIN}`;
      const child = execFile('sh', ['-c', script], (_error, text) => resolve(text));
      child.stdin?.end('{"cniVersion":"1.0.0","name":"web","type":"quantum-cni"}');
    });
    expect(JSON.parse(stdout)).toMatchObject({ code: 4, msg: expect.stringContaining('CNI_ARGS') });
  });
});

describe('§5 Error 5 and 6: standard input', () => {
  it.each([
    ['nothing', ''],
    ['no JSON', 'not json'],
    ['half of it', '{"cniVersion":"1.0.0","name":'],
    ['two values', '{}{}'],
    ['an array', '[]'],
    ['a string', '"x"'],
    ['null', 'null'],
    ['NUL bytes', '{"cniVersion":"1.0.0"}\0\0'],
    ['bytes that are not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d])],
    ['a hundred thousand brackets', '['.repeat(100_000)],
  ])('%s cannot be decoded (6)', async (_what, stdin) => {
    for (const command of ['ADD', 'DEL', 'CHECK', 'STATUS', 'GC']) {
      expectError(await runPlugin({ env: callEnv(command), stdin }), 6);
    }
  });

  it('more than 1 MiB is refused (6), and less is not', async () => {
    await using daemon = await Daemon.start();
    const padded = (length: number) => {
      const text = JSON.stringify(daemon.config({ pad: '' }));
      return text.replace('"pad":""', `"pad":"${'x'.repeat(length - text.length)}"`);
    };
    const limit = 1024 * 1024;
    expectError(await runPlugin({ env: callEnv('ADD'), stdin: padded(limit + 1) }), 6, '1 MiB');
    expectError(await runPlugin({ env: callEnv('ADD'), stdin: padded(20 * limit) }), 6, '1 MiB');
    expect(await runPlugin({ env: callEnv('ADD'), stdin: padded(limit) })).toMatchObject({ code: 0 });
  });

  it('1 MiB of characters that JSON escapes goes through', async () => {
    await using daemon = await Daemon.start();
    const pad = '\u0001'.repeat(100_000) + '"'.repeat(50_000) + '\u{1f600}'.repeat(10_000);
    expect(await daemon.call('ADD', { pad })).toMatchObject({ code: 0 });
  });

  it('standard input that is never closed ends the call in time (5)', async () => {
    await using daemon = await Daemon.start();
    // The limit of the configuration is not known before it has been read: that of the environment counts.
    const env = { ...callEnv('ADD'), QUANTUM_CNI_TIMEOUT: '0.2' };
    const outcome = await runPlugin({ env, stdin: daemon.config({ timeout: 60 }), keepOpen: true });
    expectError(outcome, 5, 'standard input');
    expect(outcome.ms).toBeLessThan(2000);
  });
});

describe('§5 Error 1: version', () => {
  it.each(['0.1.0', '0.2.0', '0.5.0', '9.9', '9.9.9', '', 'latest', 1, null, undefined, ['1.0.0']])(
    'cniVersion %j is not supported',
    async (cniVersion) => {
      await using daemon = await Daemon.start();
      for (const command of ['ADD', 'DEL', 'CHECK', 'STATUS', 'GC']) {
        expectError(await daemon.call(command, { cniVersion }), 1);
      }
    },
  );
});

describe('§5 Error 2: fields that are not supported', () => {
  it.each([
    ['runtimeConfig.infinibandGUID', { runtimeConfig: { infinibandGUID: 'c2:11:22:33:44:55:66:77' } }],
    ['runtimeConfig.deviceID', { runtimeConfig: { deviceID: '0000:04:00.5' } }],
    ['routes[0].gw', { routes: [{ dst: '10.0.0.0/8', gw: '198.18.0.99' }] }],
  ])('%s is named', async (key, fields) => {
    await using daemon = await Daemon.start();
    expectError(await daemon.call('ADD', fields), 2, key);
    expect(daemon.ports.requests).toEqual([]);
  });

  it('an unknown driver is named', async () => {
    await using daemon = await Daemon.start();
    const fields = { name: 'made', subnet: '198.18.5.0/24', driver: 'macvlan' };
    expectError(await daemon.call('ADD', fields), 2, 'macvlan');
    expect(daemon.ports.networks.size).toBe(1);
  });

  it('what other plugins and runtimes put beside our fields is left alone', async () => {
    await using daemon = await Daemon.start();
    const fields = {
      isGateway: true,
      ipMasq: true,
      'cni.dev/something': 1,
      capabilities: { portMappings: true },
      runtimeConfig: { aliases: { web: ['a'] }, cgroupPath: '/x', bandwidth: { ingressRate: 0 } },
    };
    expect(await daemon.call('ADD', fields)).toMatchObject({ code: 0 });
  });
});

describe('§5 Error 7: configuration', () => {
  it.each(['', 'a/b', '..', '.', '../../etc', '-a', 'a b', 'ä', 1, null, undefined])(
    'the name %j is refused by every command',
    async (name) => {
      await using daemon = await Daemon.start();
      for (const command of ['ADD', 'DEL', 'CHECK', 'STATUS', 'GC']) {
        expectError(await daemon.call(command, { name }), 7, 'name');
      }
    },
  );

  it.each([
    ['name', { name: 'Not_A.DNS-label' }],
    ['name', { name: 'x'.repeat(64) }],
    ['type', { type: 'bridge' }],
    ['subnet', { subnet: '198.18.0.0' }],
    ['subnet', { subnet: '198.18.0.1/24' }],
    ['gateway', { name: 'made', gateway: '198.18.5.1' }],
    ['gateway', { name: 'made', subnet: '198.18.5.0/24', gateway: '198.18.6.1' }],
    ['routes', { routes: [{ dst: 'everywhere' }] }],
    ['dns', { dns: { nameservers: ['one'] } }],
    ['args.cni.labels', { args: { cni: { labels: [{ key: 'a b', value: 'c' }] } } }],
    ['runtimeConfig.ips', { runtimeConfig: { ips: ['everywhere'] } }],
    ['address', { runtimeConfig: { ips: ['198.18.0.8', '198.18.0.9'] } }],
    ['runtimeConfig.mac', { runtimeConfig: { mac: 'ff:ff:ff:ff:ff:ff' } }],
    [
      'runtimeConfig.portMappings',
      { runtimeConfig: { portMappings: [{ hostPort: 65536, containerPort: 80 }] } },
    ],
    ['runtimeConfig.portMappings', { runtimeConfig: { portMappings: [{ HostPort: 8080 }] } }],
    ['hostPort', { runtimeConfig: { portMappings: [{ hostPort: 80, HostPort: 81, containerPort: 80 }] } }],
    [
      'protocol',
      { runtimeConfig: { portMappings: [{ hostPort: 80, containerPort: 80, protocol: 'icmp' }] } },
    ],
    ['hostIP', { runtimeConfig: { portMappings: [{ hostPort: 80, containerPort: 80, hostIP: 'here' }] } }],
    ['runtimeConfig.bandwidth', { runtimeConfig: { bandwidth: 'fast' } }],
    ['bandwidth.ingressRate', { runtimeConfig: { bandwidth: { ingressRate: -1, ingressBurst: 80_000 } } }],
    ['bandwidth.ingressRate', { runtimeConfig: { bandwidth: { ingressRate: 999, ingressBurst: 80_000 } } }],
    ['bandwidth.ingressRate', { runtimeConfig: { bandwidth: { ingressRate: 1e6 + 0.5, ingressBurst: 1 } } }],
    ['bandwidth.egressRate', { runtimeConfig: { bandwidth: { egressRate: 2 ** 64, egressBurst: 80_000 } } }],
    ['bandwidth.egressRate', { runtimeConfig: { bandwidth: { egressRate: '1M', egressBurst: 80_000 } } }],
    ['bandwidth.egressBurst', { runtimeConfig: { bandwidth: { EgressRate: 8_000 } } }],
    ['bandwidth.egressBurst', { runtimeConfig: { bandwidth: { egressRate: 8_000, egressBurst: 0 } } }],
    ['bandwidth.egressBurst', { runtimeConfig: { bandwidth: { egressRate: 8_000, egressBurst: -1 } } }],
    ['bandwidth.egressBurst', { runtimeConfig: { bandwidth: { egressRate: 8_000, egressBurst: 2 ** 53 } } }],
    ['bandwidth.ingressRate', { runtimeConfig: { bandwidth: { ingressBurst: 80_000 } } }],
    [
      'egressRate',
      { runtimeConfig: { bandwidth: { egressRate: 8_000, EgressRate: 9_000, egressBurst: 1 } } },
    ],
    ['runtimeConfig.dns', { runtimeConfig: { dns: { Servers: ['one'] } } }],
    ['runtimeConfig.ipRanges', { runtimeConfig: { ipRanges: [[{ subnet: 'everywhere' }]] } }],
    ['rangeStart', { runtimeConfig: { ipRanges: [[{ subnet: '198.18.0.0/24', rangeStart: '10.0.0.1' }]] } }],
    ['runtimeConfig.ipRanges', { runtimeConfig: { ipRanges: [[]] } }],
    ['gateway', { runtimeConfig: { ipRanges: [[{ subnet: '198.18.0.0/24', gateway: '198.18.0.9' }]] } }],
    ['ipRanges', { runtimeConfig: { ips: ['198.18.0.9'], ipRanges: [[{ subnet: '198.18.0.128/25' }]] } }],
    ['ipam.type', { ipam: { type: '../host-local' } }],
    ['ipam.type', { ipam: { type: 1 } }],
    ['prevResult', { prevResult: { ips: 'many' } }],
    ['socket', { socket: 'relative.sock' }],
    ['socket', { socket: `/${'x'.repeat(108)}` }],
    ['socket', { socket: 1 }],
    ['timeout', { timeout: 0 }],
    ['timeout', { timeout: -1 }],
    ['timeout', { timeout: 'long' }],
    ['timeout', { timeout: 1e9 }],
  ])('%s is named: %j', async (field, fields) => {
    await using daemon = await Daemon.start();
    expectError(await daemon.call('ADD', fields), 7, field);
    expect(daemon.ports.requests).toEqual([]);
    expect(daemon.ports.networks.size).toBe(1);
  });
});

describe('§5 Error 5 and 11: an answer that is none', () => {
  it.each([
    ['closes at once', '', 11],
    ['says something else', 'SSH-2.0-OpenSSH_9.2\r\n\r\n', 11],
    ['stops in the head', 'HTTP/1.1 200 OK\r\nContent-Len', 11],
    ['stops in the body', 'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"exit_code"', 11],
    ['announces too much', 'HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n', 11],
    ['announces nonsense', 'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n', 11],
    ['sends chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 11],
    ['is busy', 'HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}', 11],
    ['fails', 'HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}', 5],
    ['answers no JSON', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nxx', 5],
    ['answers another object', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}', 5],
    ['gives no exit code', 'HTTP/1.1 200 OK\r\n\r\n{"exit_code":256,"stdout":""}', 5],
    ['floods the body', `HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(5 * 1024 * 1024)}`, 11],
    ['floods the head', `HTTP/1.1 200 OK\r\n${'x: y\r\n'.repeat(20_000)}`, 11],
  ])('of something that %s', async (_what, text, code) => {
    await using daemon = await Daemon.prepare();
    await using _raw = await RawDaemon.listen(daemon.socket, (socket) => {
      socket.once('data', () => socket.end(text));
    });
    expectError(await daemon.call('ADD', { timeout: 5 }), code);
  });

  it('a plain answer without a length is read to its end', async () => {
    await using daemon = await Daemon.prepare();
    await using _raw = await RawDaemon.listen(daemon.socket, (socket) => {
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\n\r\n{"exit_code":7,"stdout":"a\\u0000b"}'));
    });
    expect(await daemon.call('ADD')).toMatchObject({ code: 7, stdout: 'a\0b' });
  });
});
