/** From what a node is like to what is wrong with it and what to do. Pure. */
import { kindsBy } from '../bridge/queue-kinds.js';
import type { Facts, HookFact } from './facts.js';

export interface Finding {
  name: string;
  /** `problem`: the daemon does not start, or something does not work; `warning`: look at it. */
  status: 'ok' | 'warning' | 'problem';
  message: string;
  /** What to do about it. */
  advice?: string;
}

/** Since 6.1, which programs and the addon are tested with. */
const KERNEL_MIN: [number, number] = [6, 1];
const CAPABILITIES = [
  ['CAP_NET_ADMIN', 12n],
  ['CAP_SYS_ADMIN', 21n],
] as const;
const OWN_PROGRAMS = new Set(['from_container', 'to_container', 'leave_container', 'from_uplink']);

/** What a check found; the check gives it its name. */
type Unnamed = Omit<Finding, 'name'>;
type Check = (facts: Facts) => Unnamed[];

const ok = (message: string): Unnamed[] => [{ status: 'ok', message }];
const problem = (message: string, advice: string): Unnamed[] => [{ status: 'problem', message, advice }];
const warning = (message: string, advice: string): Unnamed[] => [{ status: 'warning', message, advice }];

const CHECKS: Record<string, Check> = {
  rights({ isRoot, capabilities }) {
    if (!isRoot) return problem('not run as root: the rest is seen in part only', 'run it as root');
    const missing = CAPABILITIES.filter(([, bit]) => ((capabilities >> bit) & 1n) === 0n).map(
      ([name]) => name,
    );
    if (missing.length === 0) return ok('root');
    return problem(`root without ${missing.join(' and ')}`, 'give the service these capabilities');
  },

  kernel({ kernel, arch, isRealtime, hasTcx, isRoot }) {
    const [major = 0, minor = 0] = kernel.split('.').map(Number.parseFloat);
    if (major < KERNEL_MIN[0] || (major === KERNEL_MIN[0] && minor < KERNEL_MIN[1])) {
      return problem(`Linux ${kernel}`, `Linux ${KERNEL_MIN.join('.')} or newer is needed`);
    }
    if (isRealtime) {
      return problem(
        `Linux ${kernel} is a realtime kernel (PREEMPT_RT)`,
        'start a kernel without PREEMPT_RT',
      );
    }
    if (arch !== 'x64') return warning(`Linux ${kernel} on ${arch}`, 'only x86-64 is tested');
    if (!isRoot || hasTcx) return ok(`Linux ${kernel}`);
    return warning(
      `Linux ${kernel} has no TCX links: programs are attached by clsact filters`,
      'Linux 6.6 or newer keeps them when somebody removes filters',
    );
  },

  bpf({ jit, hasBtf }) {
    if (jit === '0') return problem('the BPF JIT compiler is off', 'sysctl net.core.bpf_jit_enable=1');
    if (hasBtf) return ok('BPF with JIT compiler and BTF');
    return warning(
      'the kernel has no BTF',
      'use a kernel with CONFIG_DEBUG_INFO_BTF; only bpftool misses it',
    );
  },

  bandwidth({ hasTokenBuckets, hasDepartureQueues, hasTcx }) {
    if (hasTokenBuckets === undefined) return [];
    const { host, container } = kindsBy(hasDepartureQueues === true, () => hasTcx);
    // What only one side has is not enough for a limit.
    if (!hasTokenBuckets && container === 'tbf') {
      return warning(
        'the kernel has no token buckets: limits of bandwidth are refused',
        'modprobe sch_tbf, or use a kernel with CONFIG_NET_SCH_TBF',
      );
    }
    const by = { fq: 'departure times', tbf: 'token buckets' };
    if (host === container) return ok(`limits of bandwidth can be kept, by ${by[host]}`);
    return ok(
      `limits of bandwidth can be kept: by ${by[host]} of what containers are sent, by ${by[container]} of what they send`,
    );
  },

  bpffs({ bpffs, fileSystems }) {
    if (bpffs.isMounted) return ok(`${bpffs.path} is in a BPF file system`);
    if (fileSystems.includes('bpf')) return ok(`a BPF file system will be mounted for ${bpffs.path}`);
    return problem('the kernel has no BPF file system', 'use a kernel with CONFIG_BPF_SYSCALL');
  },

  cgroup2({ cgroup2 }) {
    if (cgroup2 !== undefined) return ok(`cgroup2 is mounted at ${cgroup2}`);
    return warning(
      'no cgroup2 hierarchy is mounted',
      'boot with systemd.unified_cgroup_hierarchy=1; container runtimes need it for their limits',
    );
  },

  uplink({ uplinks: { setting, found, problems, others }, isRoot }) {
    if (setting === 'none') return ok('no uplink is wanted');
    if (!isRoot) return [];
    const missing = problems.flatMap((message) =>
      setting === 'auto'
        ? warning(`${message}: containers do not reach the outside by it`, 'set `uplink`')
        : problem(message, 'correct the setting `uplink`'),
    );
    if (found.length === 0) return missing;
    const beside =
      others.length === 0 ? '' : `; not by ${others.join(', ')}, unless \`uplink\` names them too`;
    return [...missing, ...ok(`containers leave by ${found.join(', ')}${beside}`)];
  },

  forwarding({ forwarding }) {
    const off = [
      ...(forwarding.ip4 === '0' ? ['net.ipv4.ip_forward'] : []),
      ...(forwarding.ip6 === '0' ? ['net.ipv6.conf.all.forwarding'] : []),
    ];
    if (off.length === 0) return ok('the node forwards');
    // Masquerade and delivery do without.
    return ok(`${off.join(' and ')} off: needed by networks with masquerade=false alone`);
  },

  directories({ directories }) {
    const bad = directories.filter((directory) => directory.problem !== undefined);
    if (bad.length === 0) return ok('can be written');
    return bad.flatMap(({ setting, path, problem: why }) =>
      problem(`${setting} ${path} cannot be written: ${why}`, `correct the rights, or set \`${setting}\``),
    );
  },

  daemon({ daemonRuns }) {
    if (daemonRuns) return ok('quantum-api runs');
    return warning('quantum-api does not run', 'systemctl start quantum-api');
  },

  ports({ listeners, daemonRuns }) {
    if (daemonRuns) return [];
    const taken = listeners.filter(({ isTaken }) => isTaken);
    if (taken.length === 0) return ok('free');
    return taken.flatMap(({ setting, address }) =>
      problem(`somebody listens at ${address}`, `end that program (ss -ltnp), or set \`${setting}\``),
    );
  },

  plugin({ plugins, hasLoopbackPlugin }) {
    if (plugins === undefined) return problem('the CNI plugin is not built', 'npm run build');
    const found = plugins.flatMap(({ path, state }) => {
      if (state === 'current') return [];
      if (state === 'foreign')
        return problem(`${path} is somebody else's`, 'remove it, or set `cni_bin_dir`');
      const what = state === 'missing' ? 'is missing' : 'is of another version';
      return warning(`${path} ${what}`, 'quantumctl cni install; the daemon does it when it starts, too');
    });
    if (found.length > 0) return found;
    if (hasLoopbackPlugin) return ok('installed');
    return warning(
      'the plugin `loopback` is not beside it, and containerd needs it',
      'install containernetworking-plugins, and copy or link loopback into cni_bin_dir',
    );
  },

  configurations({ configurations, confDir, confPrefix }) {
    const findings: Unnamed[] = [];
    const broken = configurations.filter(({ network }) => network === undefined);
    for (const { file } of broken) {
      findings.push(
        ...warning(`${confDir}/${file} cannot be read`, 'remove it: some runtimes then read none'),
      );
    }
    const byName = new Map<string, string[]>();
    for (const { file, network } of configurations) {
      if (network !== undefined) byName.set(network.name, [...(byName.get(network.name) ?? []), file]);
    }
    for (const [name, files] of byName) {
      if (files.length < 2) continue;
      findings.push(
        ...problem(`network ${name} is in ${files.join(' and ')}`, `remove one of them in ${confDir}`),
      );
    }
    const [first] = configurations.filter(({ network }) => network !== undefined);
    const hasOurs = configurations.some(({ network }) => network?.isOurs);
    if (hasOurs && first?.network?.isOurs === false) {
      findings.push(
        ...warning(
          `${first.file} comes before ours: Kubernetes' runtimes take the first network alone`,
          `set \`cni_conf_prefix\` to something before it${confPrefix === '' ? ', such as 10-' : ''}, or remove the file`,
        ),
      );
    }
    return findings.length > 0 ? findings : ok(`${configurations.length} in ${confDir}`);
  },

  hooks({ hooks }) {
    if (hooks === undefined) return [];
    const strangers = hooks.flatMap((hook) => foreignProgram(hook));
    return strangers.length > 0 ? strangers : ok('no programs of others on our hooks');
  },
};

/** On the interface of an endpoint nobody else has business; on the uplink others may be, behind ours. */
function foreignProgram({ interface: name, isOwn, hook, programs }: HookFact): Unnamed[] {
  const own = programs.findIndex((program) => OWN_PROGRAMS.has(program.name));
  return programs.flatMap(({ id, name: program }, at) => {
    if (OWN_PROGRAMS.has(program)) return [];
    const isBehind = own >= 0 && own < at;
    const message = `BPF program ${program} (id ${id}) is at ${hook} of ${name}${isBehind ? ', behind ours' : ''}`;
    const advice = `see bpftool prog show id ${id}`;
    if (!isBehind && isOwn) return problem(message, `${advice}; detach it: it may pass what policies deny`);
    if (!isBehind) return warning(message, `${advice}; whichever runs first may take packets from the other`);
    return isOwn
      ? warning(message, `${advice}; it sees what policies let the node and the container have`)
      : [];
  });
}

/** Every finding, in the order of the checks. */
export function diagnose(facts: Facts): Finding[] {
  return Object.entries(CHECKS).flatMap(([name, check]) =>
    check(facts).map((finding) => ({ name, ...finding })),
  );
}
