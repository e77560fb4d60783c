/** Debian's containerd, with directories and a socket of its own. */
import { writeFileSync } from 'node:fs';
import type { ExecResult } from '../../src/netns/index.js';
import type { Lines } from '../support/lines.js';
import { IMAGE } from './image.js';
import { type RuntimeNode, RuntimePlace } from './node.js';

const READY_MS = 30_000;

/** Native snapshots are copies: overlays need a file system below that takes them, which /tmp may not be. */
const configuration = (place: RuntimePlace, conf: string, bin: string) => `version = 2
root = "${place.path('root')}"
state = "${place.path('state')}"
[grpc]
  address = "${place.path('containerd.sock')}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      pod_annotations = ["*"]
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${bin}"
    conf_dir = "${conf}"
`;

export class Containerd implements AsyncDisposable {
  readonly socket: string;
  #process: Lines | undefined;
  log = '';

  private constructor(
    readonly node: RuntimeNode,
    readonly place: RuntimePlace,
  ) {
    this.socket = place.path('containerd.sock');
  }

  static async start(node: RuntimeNode): Promise<Containerd> {
    const place = new RuntimePlace(node);
    const containerd = new Containerd(node, place);
    try {
      const { daemon } = node.site;
      writeFileSync(place.path('config.toml'), configuration(place, daemon.path('conf'), daemon.path('bin')));
      await containerd.start();
      return containerd;
    } catch (error) {
      await place[Symbol.asyncDispose]();
      throw error;
    }
  }

  async start(): Promise<void> {
    const program = this.node.spawn('containerd', ['--config', this.place.path('config.toml')]);
    this.#process = program;
    program.child.stderr?.on('data', (text) => {
      this.log += text;
    });
    const deadline = performance.now() + READY_MS;
    while (!(await this.#answers())) {
      if (program.child.exitCode !== null || performance.now() > deadline) {
        throw new Error(`containerd did not get ready:\n${this.log}`);
      }
    }
  }

  /** It gets no chance to clean up; its shims and containers live on. */
  async kill(): Promise<void> {
    this.#process?.child.kill('SIGKILL');
    await this.#process?.ended;
  }

  /** The client that comes with it. */
  ctr(...args: string[]): Promise<ExecResult> {
    return this.node.exec('ctr', ['--address', this.socket, ...args]);
  }

  async #answers(): Promise<boolean> {
    try {
      await this.ctr('version');
      return true;
    } catch {
      return false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.place[Symbol.asyncDispose]();
  }
}
