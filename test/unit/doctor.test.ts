import { describe, expect, it } from 'vitest';
import { diagnose } from '../../src/doctor/diagnose.js';
import type { Facts } from '../../src/doctor/facts.js';

const ours = (name: string) => ({ name, types: ['quantum-cni'], isOurs: true });
const theirs = (name: string) => ({ name, types: ['bridge'], isOurs: false });

/** A node with which all is well. */
const FIT: Facts = {
  isRoot: true,
  capabilities: (1n << 41n) - 1n,
  kernel: '6.12.3-amd64',
  arch: 'x64',
  isRealtime: false,
  hasTcx: true,
  hasBtf: true,
  hasTokenBuckets: true,
  hasDepartureQueues: true,
  jit: '1',
  fileSystems: ['bpf', 'ext4'],
  bpffs: { path: '/sys/fs/bpf/quantum', isMounted: true },
  cgroup2: '/sys/fs/cgroup',
  forwarding: { ip4: '1', ip6: '1' },
  uplinks: { setting: 'auto', found: ['eth0'], problems: [], others: [] },
  directories: [{ setting: 'run_dir', path: '/run/quantum' }],
  daemonRuns: true,
  listeners: [{ setting: 'listen', address: '127.0.0.1:9443', isTaken: true }],
  plugins: [{ path: '/opt/cni/bin/quantum-cni', state: 'current' }],
  hasLoopbackPlugin: true,
  confDir: '/etc/cni/net.d',
  confPrefix: '',
  configurations: [{ file: 'blue.conflist', network: ours('blue') }],
  hooks: [
    { interface: 'qn00000001', isOwn: true, hook: 'ingress', programs: [{ id: 7, name: 'from_container' }] },
  ],
};

const uplinksLike = (change: Partial<Facts['uplinks']>) => ({ ...FIT.uplinks, found: [], ...change });

const bad = (change: Partial<Facts>) =>
  diagnose({ ...FIT, ...change }).filter(({ status }) => status !== 'ok');

describe('the doctor', () => {
  it('finds nothing on a node that is fit', () => {
    expect(bad({})).toEqual([]);
    expect(new Set(diagnose(FIT).map(({ name }) => name)).size).toBe(13);
  });

  it('names the cards that containers do not leave by', () => {
    const uplinks = uplinksLike({ found: ['eth0'], others: ['eth1'] });
    const [finding] = diagnose({ ...FIT, uplinks }).filter(({ name }) => name === 'uplink');
    expect(finding).toMatchObject({ status: 'ok', message: expect.stringContaining('not by eth1') });
  });

  it.each([
    [{}, 'by departure times'],
    [{ hasDepartureQueues: false }, 'by token buckets'],
    [{ hasTcx: false }, 'by departure times of what containers are sent, by token buckets of what they send'],
  ])('tells by what limits of bandwidth are kept: %o', (change, by) => {
    const [finding] = diagnose({ ...FIT, ...change }).filter(({ name }) => name === 'bandwidth');
    expect(finding).toEqual({ name: 'bandwidth', status: 'ok', message: expect.stringMatching(`${by}$`) });
  });

  it('says that limits are refused where only what containers are sent can have its queue', () => {
    const findings = bad({ hasTokenBuckets: false, hasTcx: false });
    expect(findings.filter(({ name }) => name === 'bandwidth')).toHaveLength(1);
    expect(bad({ hasTokenBuckets: false })).toEqual([]);
  });

  const rows: [string, Partial<Facts>, 'problem' | 'warning', string, string][] = [
    ['another user', { isRoot: false, hooks: undefined }, 'problem', 'root', 'root'],
    ['a root without rights', { capabilities: 0n }, 'problem', 'CAP_NET_ADMIN', 'capabilities'],
    ['an old kernel', { kernel: '5.15.0-91' }, 'problem', '5.15', '6.1'],
    ['a kernel without TCX', { kernel: '6.1.0-44', hasTcx: false }, 'warning', 'clsact', '6.6'],
    ['a realtime kernel', { isRealtime: true }, 'problem', 'PREEMPT_RT', 'without PREEMPT_RT'],
    ['another architecture', { arch: 'arm64' }, 'warning', 'arm64', 'x86-64'],
    ['no JIT compiler', { jit: '0' }, 'problem', 'JIT', 'bpf_jit_enable=1'],
    ['no BTF', { hasBtf: false }, 'warning', 'BTF', 'CONFIG_DEBUG_INFO_BTF'],
    [
      'no queues for limits',
      { hasTokenBuckets: false, hasDepartureQueues: false },
      'warning',
      'limits of bandwidth',
      'sch_tbf',
    ],
    ['no bpffs', { bpffs: { path: '/x', isMounted: false }, fileSystems: [] }, 'problem', 'BPF', 'CONFIG'],
    ['no cgroup2', { cgroup2: undefined }, 'warning', 'cgroup2', 'unified_cgroup_hierarchy'],
    [
      'no way out',
      { uplinks: uplinksLike({ setting: 'auto', problems: ['the node has no default route'] }) },
      'warning',
      'default route',
      'uplink',
    ],
    [
      'a wrong uplink among others',
      {
        uplinks: uplinksLike({
          setting: 'eth0,eth7',
          found: ['eth0'],
          problems: ['there is no interface eth7'],
        }),
      },
      'problem',
      'eth7',
      'uplink',
    ],
    [
      'a tunnel as uplink',
      { uplinks: uplinksLike({ setting: 'auto', problems: ['wg0 is no Ethernet interface'] }) },
      'warning',
      'wg0',
      'uplink',
    ],
    [
      'a directory that cannot be written',
      { directories: [{ setting: 'cni_conf_dir', path: '/etc/cni/net.d', problem: '/etc: EROFS' }] },
      'problem',
      'EROFS',
      'cni_conf_dir',
    ],
    [
      'no plugin',
      { plugins: [{ path: '/opt/cni/bin/quantum', state: 'missing' }] },
      'warning',
      'missing',
      'cni install',
    ],
    [
      'an old plugin',
      { plugins: [{ path: '/opt/cni/bin/quantum', state: 'other' }] },
      'warning',
      'version',
      'cni install',
    ],
    [
      'a stranger of its name',
      { plugins: [{ path: '/x/quantum', state: 'foreign' }] },
      'problem',
      '/x/quantum',
      'cni_bin_dir',
    ],
    ['a plugin that is not built', { plugins: undefined }, 'problem', 'not built', 'npm run build'],
    [
      'no loopback plugin',
      { hasLoopbackPlugin: false },
      'warning',
      'loopback',
      'containernetworking-plugins',
    ],
    ['a file that is none', { configurations: [{ file: 'a.conf' }] }, 'warning', 'a.conf', 'remove'],
    [
      'a network twice',
      {
        configurations: [
          { file: 'a.conflist', network: ours('blue') },
          { file: 'b.conf', network: ours('blue') },
        ],
      },
      'problem',
      'a.conflist and b.conf',
      'remove one',
    ],
    [
      'another network first',
      {
        configurations: [
          { file: '10-x.conf', network: theirs('x') },
          { file: 'b.conflist', network: ours('blue') },
        ],
      },
      'warning',
      '10-x.conf',
      'cni_conf_prefix',
    ],
    [
      "a stranger's program on a container",
      {
        hooks: [
          { interface: 'qn00000001', isOwn: true, hook: 'egress', programs: [{ id: 9, name: 'cil_to_x' }] },
        ],
      },
      'problem',
      'cil_to_x',
      'detach',
    ],
    [
      "a stranger's program on a container before ours",
      {
        hooks: [
          {
            interface: 'qn00000001',
            isOwn: true,
            hook: 'egress',
            programs: [
              { id: 9, name: 'cil_to_x' },
              { id: 7, name: 'to_container' },
            ],
          },
        ],
      },
      'problem',
      'cil_to_x',
      'detach',
    ],
    [
      "a stranger's program on a container behind ours",
      {
        hooks: [
          {
            interface: 'qn00000001',
            isOwn: true,
            hook: 'egress',
            programs: [
              { id: 7, name: 'to_container' },
              { id: 9, name: 'cil_to_x' },
            ],
          },
        ],
      },
      'warning',
      'behind ours',
      'sees',
    ],
    [
      "a stranger's program on the uplink",
      {
        hooks: [
          { interface: 'eth0', isOwn: false, hook: 'ingress', programs: [{ id: 9, name: 'cil_from' }] },
        ],
      },
      'warning',
      'cil_from',
      'bpftool',
    ],
  ];
  it('has nothing against who stands behind ours on the uplink', () => {
    const programs = [
      { id: 7, name: 'from_uplink' },
      { id: 9, name: 'cil_from' },
    ];
    expect(bad({ hooks: [{ interface: 'eth0', isOwn: false, hook: 'ingress', programs }] })).toEqual([]);
  });

  it.each(rows)('says what to do about %s', (_what, change, status, told, advice) => {
    const findings = bad(change);
    expect(findings).toHaveLength(1);
    expect(findings[0]).toMatchObject({
      status,
      message: expect.stringContaining(told),
      advice: expect.stringContaining(advice),
    });
  });

  it('asks for the ports only while the daemon does not run', () => {
    const [away, taken] = bad({ daemonRuns: false });
    expect(away).toMatchObject({ name: 'daemon', status: 'warning' });
    expect(taken).toMatchObject({
      name: 'ports',
      status: 'problem',
      message: expect.stringContaining('9443'),
    });
  });
});
