/** What a node is like, read and not changed. */
import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';
import { createConnection, createServer } from 'node:net';
import { arch, release } from 'node:os';
import { dirname, join } from 'node:path';
import { findUplinks } from '../bridge/find-uplinks.js';
import { hasQueue } from '../bridge/queue-kinds.js';
import {
  type ConfigurationFile,
  type InstalledPlugin,
  inspectPlugin,
  listConfigurations,
} from '../install/plugin.js';
import { type ListenAddress, listenAddress, type Settings } from '../model/settings.js';
import { isBpffs, tcxPrograms, tcxSupported } from '../native/bpf.js';
import { type LinkInfo, Rtnl } from '../native/net.js';
import { isRealtimeKernel } from '../native/realtime.js';

/** Interfaces of endpoints, and the bridges of networks. */
const OWN_INTERFACE = /^qn(br[0-9]+|[0-9a-f]{8})$/;
const DIRECTORIES = ['run_dir', 'state_dir', 'cni_bin_dir', 'cni_conf_dir'] as const;

export interface DirectoryFact {
  setting: (typeof DIRECTORIES)[number];
  path: string;
  /** Why nothing can be written there. */
  problem?: string;
}

export interface ListenerFact {
  setting: 'listen';
  address: string;
  isTaken: boolean;
}

export interface UplinkFact {
  setting: string;
  /** Interfaces that containers leave by. */
  found: string[];
  /** Why others of the setting, or all, are none. */
  problems: string[];
  /** Other cards of the node that have addresses. */
  others: string[];
}

export interface HookFact {
  interface: string;
  isOwn: boolean;
  hook: 'ingress' | 'egress';
  programs: { id: number; name: string }[];
}

export interface Facts {
  isRoot: boolean;
  /** Capabilities in effect, one bit each. */
  capabilities: bigint;
  kernel: string;
  arch: string;
  isRealtime: boolean;
  hasTcx: boolean;
  hasBtf: boolean;
  /** Whether the kernel has, or loads, the queues that keep limits of bandwidth; undefined: it could not be asked. */
  hasTokenBuckets: boolean | undefined;
  hasDepartureQueues: boolean | undefined;
  /** Value of net.core.bpf_jit_enable; undefined: there is no JIT compiler to turn off. */
  jit: string | undefined;
  fileSystems: string[];
  /** Whether bpffs_dir, or what is above it, lies in a BPF file system. */
  bpffs: { path: string; isMounted: boolean };
  cgroup2: string | undefined;
  forwarding: { ip4: string | undefined; ip6: string | undefined };
  uplinks: UplinkFact;
  directories: DirectoryFact[];
  daemonRuns: boolean;
  listeners: ListenerFact[];
  plugins: InstalledPlugin[] | undefined;
  hasLoopbackPlugin: boolean;
  confDir: string;
  confPrefix: string;
  configurations: ConfigurationFile[];
  /** Undefined: they could not be asked for. */
  hooks: HookFact[] | undefined;
}

/** Reads everything. Nothing is changed, and nothing here throws because the node is not as it should be. */
export async function gatherFacts(settings: Settings): Promise<Facts> {
  const isRoot = process.geteuid?.() === 0;
  const status = (await text('/proc/self/status')) ?? '';
  const mounts = (await text('/proc/self/mounts')) ?? '';
  const daemonRuns = await accepts(join(settings.run_dir, 'api.sock'));
  const links = isRoot ? interfaces() : [];
  const uplinks = isRoot
    ? uplinksOf(settings.uplink, links)
    : { setting: settings.uplink, found: [], problems: [], others: [] };
  return {
    isRoot,
    capabilities: BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? 0}`),
    kernel: release(),
    arch: arch(),
    isRealtime: isRealtimeKernel(),
    hasTcx: isRoot && tcxSupported(),
    hasTokenBuckets: isRoot ? hasQueue('tbf') : undefined,
    hasDepartureQueues: isRoot ? hasQueue('fq') : undefined,
    hasBtf: (await text('/sys/kernel/btf/vmlinux', 0)) !== undefined,
    jit: (await text('/proc/sys/net/core/bpf_jit_enable'))?.trim(),
    fileSystems: ((await text('/proc/filesystems')) ?? '')
      .split('\n')
      .map((line) => line.split('\t')[1] ?? ''),
    bpffs: { path: settings.bpffs_dir, isMounted: liesInBpffs(settings.bpffs_dir) },
    cgroup2: /^\S+ (\S+) cgroup2 /m.exec(mounts)?.[1],
    forwarding: {
      ip4: (await text('/proc/sys/net/ipv4/ip_forward'))?.trim(),
      ip6: (await text('/proc/sys/net/ipv6/conf/all/forwarding'))?.trim(),
    },
    uplinks,
    directories: await Promise.all(
      DIRECTORIES.map(async (setting) => {
        const path = settings[setting];
        const problem = await writeProblem(path);
        return { setting, path, ...(problem === undefined ? {} : { problem }) };
      }),
    ),
    daemonRuns,
    listeners: await listenersOf(settings),
    plugins: await inspectPlugin(settings.cni_bin_dir).catch(() => undefined),
    hasLoopbackPlugin:
      (await stat(join(settings.cni_bin_dir, 'loopback')).catch(() => undefined)) !== undefined,
    confDir: settings.cni_conf_dir,
    confPrefix: settings.cni_conf_prefix,
    configurations: await listConfigurations(settings.cni_conf_dir),
    hooks: isRoot ? hooksOf(links, uplinks.found) : undefined,
  };
}

async function text(path: string, most?: number): Promise<string | undefined> {
  try {
    if (most === 0) {
      await access(path, constants.R_OK);
      return '';
    }
    return await readFile(path, 'utf8');
  } catch {
    return undefined;
  }
}

function interfaces(): LinkInfo[] {
  using rtnl = Rtnl.open();
  return rtnl.links();
}

function uplinksOf(setting: string, links: readonly LinkInfo[]): UplinkFact {
  using rtnl = Rtnl.open();
  const { uplinks, problems } = findUplinks(setting, rtnl);
  const found = uplinks.map(({ link }) => link.name);
  const used = new Set(
    rtnl
      .addresses()
      .filter(({ scope }) => scope === 'global')
      .map(({ index }) => index),
  );
  const isCard = ({ name, kind }: LinkInfo) => kind === undefined && name !== 'lo';
  const others = links.filter((link) => isCard(link) && used.has(link.index) && !found.includes(link.name));
  return { setting, found, problems, others: others.map(({ name }) => name) };
}

function hooksOf(links: readonly LinkInfo[], uplinks: readonly string[]): HookFact[] {
  return links
    .filter(({ name }) => uplinks.includes(name) || OWN_INTERFACE.test(name))
    .flatMap(({ name, index }) =>
      (['ingress', 'egress'] as const).flatMap((hook): HookFact[] => {
        try {
          return [
            { interface: name, isOwn: !uplinks.includes(name), hook, programs: tcxPrograms(index, hook) },
          ];
        } catch {
          return []; // The interface has gone meanwhile.
        }
      }),
    );
}

function liesInBpffs(path: string): boolean {
  for (let directory = path; ; directory = dirname(directory)) {
    try {
      if (isBpffs(directory)) return true;
    } catch {
      // It is not there yet.
    }
    if (directory === '/') return false;
  }
}

/** Why the directory, or the nearest one above it that is there, takes no files. */
async function writeProblem(path: string): Promise<string | undefined> {
  for (let directory = path; ; directory = dirname(directory)) {
    try {
      const status = await stat(directory);
      if (!status.isDirectory()) return `${directory} is no directory`;
      await access(directory, constants.W_OK | constants.X_OK);
      return undefined;
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'failed';
      if (code !== 'ENOENT' || directory === '/') return `${directory}: ${code}`;
    }
  }
}

function accepts(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(socketPath);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

async function listenersOf(settings: Settings): Promise<ListenerFact[]> {
  const address = listenAddress(settings.listen);
  if (address === undefined) return [];
  return [{ setting: 'listen', address: settings.listen, isTaken: await isTaken(address) }];
}

/** Whether somebody listens there; tried by listening there for a moment. */
function isTaken({ host, port }: ListenAddress): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EADDRINUSE'));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(false)));
  });
}
