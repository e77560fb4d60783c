/** The daemon as a service, and what is done on a node without asking it. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BpfLink } from '../../src/native/bpf.js';
import { CommandError } from '../../src/netns/index.js';
import { loadedSample } from '../native/bpf-fixtures.js';
import { Container } from '../support/containers.js';
import { Daemon } from '../support/daemon.js';
import { useSite } from '../support/site.js';

const ROOT = join(import.meta.dirname, '../..');
const UNIT = join(ROOT, 'packaging/quantum-api.service');
const CTL = join(ROOT, 'dist/bin/quantumctl.js');

interface Report {
  ok: boolean;
  checks: { name: string; status: string; message: string; advice?: string }[];
}

/** The command line on the node of a daemon, told of its directories as the daemon is. */
async function ctl({ netns, bpffs, directory }: Daemon, ...args: string[]): Promise<string> {
  const file = join(directory, 'config.yaml');
  const path = (name: string) => join(directory, name);
  const settings = {
    run_dir: path('run'),
    state_dir: path('state'),
    cni_bin_dir: path('bin'),
    cni_conf_dir: path('conf'),
    bpffs_dir: bpffs,
    uplink: 'none',
  };
  writeFileSync(
    file,
    Object.entries(settings)
      .map(([key, value]) => `${key}: ${value}\n`)
      .join(''),
  );
  const { stdout } = await netns.net.exec(process.execPath, [CTL, ...args, '--config', file]);
  return stdout;
}

/** The exit code is 4 where there is a problem. */
async function reportOf(daemon: Daemon): Promise<Report> {
  const text = await ctl(daemon, 'doctor', '-o', 'json').catch((error: unknown) => {
    if (error instanceof CommandError && error.exitCode === 4) return error.stdout;
    throw error;
  });
  return JSON.parse(text) as Report;
}

describe('the unit of systemd', () => {
  const directives = new Map(
    [...readFileSync(UNIT, 'utf8').matchAll(/^(\w+)=(.*)$/gm)].map(([, key = '', value = '']) => [
      key,
      value,
    ]),
  );

  it('is valid, tells when it is ready, and comes back', () => {
    execFileSync('systemd-analyze', ['verify', UNIT], { stdio: 'pipe' });
    expect(Object.fromEntries(directives)).toMatchObject({
      Type: 'notify',
      Restart: 'always',
      RuntimeDirectory: 'quantum',
      RuntimeDirectoryPreserve: 'yes',
      StateDirectory: 'quantum',
    });
  });

  it('leaves the daemon the capabilities that it needs', { timeout: 120_000 }, async () => {
    const kept = (directives.get('CapabilityBoundingSet') ?? '')
      .split(' ')
      .map((name) => name.slice('CAP_'.length));
    const set = ['-all', ...kept.map((name) => `+${name.toLowerCase()}`)].join(',');
    const wrapper = ['setpriv', '--no-new-privs', '--bounding-set', set];
    await using daemon = await Daemon.start({ wrapper });
    await daemon.rest.createNetwork({ name: 'blue', cidr: '10.60.1.0/24' });
    const status = readFileSync(`/proc/${daemon.pid}/status`, 'utf8');
    const effective = BigInt(`0x${/^CapEff:\s*(\w+)$/m.exec(status)?.[1]}`).toString(2);
    // Fewer where the tests themselves have not all of them.
    expect(effective.replaceAll('0', '').length).toBeLessThanOrEqual(kept.length);
    using container = new Container(daemon, 'a');
    // By a process of somebody else, as runtimes name a namespace.
    const { pid } = container.netns.spawn('sleep', ['infinity']);
    await container.connect('blue', { netns_path: `/proc/${pid}/ns/net` });
    expect(await container.output('ip', 'address', 'show', 'eth0')).toContain(container.address(4));
    await container.disconnect();
    await daemon.restart();
  });
});

describe('quantumctl doctor on a node', () => {
  const site = useSite();

  it('finds a node fit on which the daemon runs, and changes nothing', async () => {
    const { daemon } = site();
    await site().network('blue');
    await site().bare('a').connect('blue');
    const before = await site().state();
    const { ok, checks } = await reportOf(daemon);
    const problems = checks.filter(({ status }) => status === 'problem');
    expect({ ok, problems }).toEqual({ ok: true, problems: [] });
    expect(checks).toContainEqual({ name: 'daemon', status: 'ok', message: 'quantum-api runs' });
    expect(await site().state()).toEqual(before);
  });

  it('sees the program of somebody else on a container, and a network that is described twice', async () => {
    const { daemon } = site();
    await site().network('blue');
    const { host_interface } = await site().bare('a').connect('blue');
    const ifindex = daemon.netns.net.rtnl.link(host_interface)?.index ?? 0;
    using object = await loadedSample();
    using program = object.program('first');
    using _link = daemon.netns.net.run(() => BpfLink.attachTcx({ program, ifindex, direction: 'ingress' }));
    writeFileSync(join(daemon.path('conf'), 'other.conf'), '{"name":"blue","type":"bridge"}');
    try {
      const { ok, checks } = await reportOf(daemon);
      expect(ok).toBe(false);
      expect(checks.filter(({ status }) => status === 'problem')).toMatchObject([
        { name: 'configurations', message: expect.stringContaining('network blue') },
      ]);
      const { id } = program.info();
      expect(checks).toContainEqual({
        name: 'hooks',
        status: 'warning',
        message: `BPF program first (id ${id}) is at ingress of ${host_interface}, behind ours`,
        advice: expect.stringContaining(`bpftool prog show id ${id}`),
      });
    } finally {
      rmSync(join(daemon.path('conf'), 'other.conf'));
    }
  });
});

describe('quantumctl cni', () => {
  const site = useSite();

  it('installs the plugin under both names, again without writing, and takes it away', async () => {
    const { daemon } = site();
    const bin = daemon.path('bin');
    expect(await ctl(daemon, 'cni', 'uninstall')).toContain(`${bin}/quantum-cni removed`);
    expect(readdirSync(bin)).toEqual([]);
    expect(await ctl(daemon, 'cni', 'uninstall')).toContain('no plugin of ours');
    writeFileSync(join(bin, 'quantum'), '#!/bin/sh\n');
    expect(await ctl(daemon, 'cni', 'uninstall')).toContain('no plugin of ours');
    expect(readdirSync(bin)).toEqual(['quantum']);
    expect(await ctl(daemon, 'cni', 'install')).toContain(`${bin}/quantum written`);
    const { ino } = statSync(join(bin, 'quantum-cni'));
    expect(await ctl(daemon, 'cni', 'install')).toContain('up to date');
    expect(statSync(join(bin, 'quantum-cni')).ino).toBe(ino);
  });
});
