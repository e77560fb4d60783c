/** Debian's Podman with the network backend `cni`, with directories of its own. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecResult } from '../../src/netns/index.js';
import { type RuntimeNode, RuntimePlace } from './node.js';

/** Podman asks for more files and processes than a container of ours may let it have, and runc takes it at its word. */
const LIMITS = ['nofile=1024:1024', 'nproc=1024:1024'];

export class Podman implements AsyncDisposable {
  readonly #env: NodeJS.ProcessEnv;
  readonly #options: string[];

  private constructor(
    readonly node: RuntimeNode,
    readonly place: RuntimePlace,
  ) {
    const { daemon } = node.site;
    const file = place.path('containers.conf');
    writeFileSync(
      file,
      `[containers]
apparmor_profile = ""
seccomp_profile = "unconfined"
default_ulimits = ${JSON.stringify(LIMITS)}
cgroupns = "host"
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
no_pivot_root = false
[engine.runtimes]
runc = ["/usr/sbin/runc", "/usr/bin/runc"]
[network]
network_backend = "cni"
cni_plugin_dirs = ["${daemon.path('bin')}"]
network_config_dir = "${daemon.path('conf')}"
`,
    );
    this.#env = {
      PATH: process.env.PATH,
      HOME: place.path('home', '.').replace(/\/\.$/, ''),
      CONTAINERS_CONF: file,
    };
    this.#options = [
      ...['--root', place.path('root')],
      ...['--runroot', place.path('runroot')],
      ...['--tmpdir', place.path('tmp')],
      ...['--storage-driver', 'vfs'],
    ];
  }

  static async start(node: RuntimeNode): Promise<Podman> {
    const podman = new Podman(node, new RuntimePlace(node));
    try {
      await podman.run('load', '--input', node.image.archive);
      return podman;
    } catch (error) {
      await podman[Symbol.asyncDispose]();
      throw error;
    }
  }

  run(...args: string[]): Promise<ExecResult> {
    return this.node.exec('podman', [...this.#options, ...args], { env: this.#env });
  }

  /** `podman run` in the control group of the test. */
  container(...args: string[]): Promise<ExecResult> {
    return this.run('run', '--cgroup-parent', `/${this.place.name}`, ...args);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.run('rm', '--all', '--force', '--time', '0');
    } finally {
      await this.place[Symbol.asyncDispose]();
      // Podman's own, in the directory of the configurations.
      rmSync(join(this.node.site.daemon.path('conf'), 'cni.lock'), { force: true });
    }
  }
}
