/** A client of the Container Runtime Interface, as kubelet is one. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  type Client,
  credentials,
  loadPackageDefinition,
  type ServiceClientConstructor,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { Containerd } from './containerd.js';
import { IMAGE } from './image.js';
import type { RuntimeNode } from './node.js';

const definition = loadSync(join(import.meta.dirname, 'cri.proto'), { keepCase: true, defaults: true });
const { runtime } = loadPackageDefinition(definition) as unknown as {
  runtime: { v1: { RuntimeService: ServiceClientConstructor } };
};

const CALL_MS = 60_000;

export interface PodOptions {
  namespace?: string;
  annotations?: Record<string, string>;
  port_mappings?: { container_port: number; host_port: number; protocol?: 'TCP' | 'UDP'; host_ip?: string }[];
}

type Method = (request: object, options: object, done: (error: Error | null, answer: never) => void) => void;

export class Cri implements AsyncDisposable {
  readonly #client: Client & Record<string, Method>;

  private constructor(readonly containerd: Containerd) {
    const client = new runtime.v1.RuntimeService(`unix:${containerd.socket}`, credentials.createInsecure());
    this.#client = client as unknown as Client & Record<string, Method>;
  }

  static async start(node: RuntimeNode): Promise<Cri> {
    // Containerd brings the loopback interface of each pod up by a plugin.
    node.addPlugin('loopback');
    const containerd = await Containerd.start(node);
    const cri = new Cri(containerd);
    try {
      const { archive } = node.image;
      await cri.#ready();
      await containerd.ctr('--namespace', 'k8s.io', 'images', 'import', '--snapshotter', 'native', archive);
      return cri;
    } catch (error) {
      await cri[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Starts containerd again; resolves when it serves pods, which it does later than it answers. */
  async restart(): Promise<void> {
    await this.containerd.start();
    await this.#ready();
  }

  async #ready(): Promise<void> {
    const deadline = performance.now() + CALL_MS;
    for (;;) {
      try {
        await this.call('Status');
        return;
      } catch (error) {
        if (performance.now() > deadline) throw error;
        await delay(50);
      }
    }
  }

  call<Answer>(method: string, request: object = {}): Promise<Answer> {
    const call = promisify((this.#client[method] as Method).bind(this.#client)) as never as (
      request: object,
      options: object,
    ) => Promise<Answer>;
    return call(request, { deadline: Date.now() + CALL_MS });
  }

  /** Whether containerd thinks that pods can be given a network, and why not. */
  async networkReady(): Promise<{ status: boolean; message: string }> {
    type Answer = { status: { conditions: { type: string; status: boolean; message: string }[] } };
    const { status } = await this.call<Answer>('Status');
    const found = status.conditions.find(({ type }) => type === 'NetworkReady');
    if (found === undefined) throw new Error('containerd says nothing of its network');
    return { status: found.status, message: found.message };
  }

  async pod(name: string, { namespace = 'default', ...options }: PodOptions = {}): Promise<Pod> {
    const config = {
      metadata: { name, uid: randomUUID(), namespace },
      log_directory: this.containerd.place.path('logs', name),
      linux: { cgroup_parent: `/${this.containerd.place.name}` },
      ...options,
    };
    const { pod_sandbox_id } = await this.call<{ pod_sandbox_id: string }>('RunPodSandbox', { config });
    return new Pod(this, pod_sandbox_id, config);
  }

  /** As kubelet ends a pod. */
  async remove(pod_sandbox_id: string): Promise<void> {
    await this.call('StopPodSandbox', { pod_sandbox_id });
    await this.call('RemovePodSandbox', { pod_sandbox_id });
  }

  /** Ends every pod that containerd knows of. */
  async removeAll(): Promise<void> {
    const { items } = await this.call<{ items: { id: string }[] }>('ListPodSandbox');
    for (const { id } of items) await this.remove(id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.removeAll().catch(() => undefined);
      this.#client.close();
    } finally {
      await this.containerd[Symbol.asyncDispose]();
    }
  }
}

export class Pod {
  constructor(
    private readonly cri: Cri,
    readonly id: string,
    private readonly sandbox_config: object,
  ) {}

  async addresses(): Promise<string[]> {
    type Answer = { status: { network: { ip: string; additional_ips: { ip: string }[] } } };
    const { status } = await this.cri.call<Answer>('PodSandboxStatus', { pod_sandbox_id: this.id });
    return [status.network.ip, ...status.network.additional_ips.map(({ ip }) => ip)];
  }

  /** Starts a container of the pod; its id. */
  async container(name: string, ...command: string[]): Promise<string> {
    const config = { metadata: { name }, image: { image: IMAGE }, command };
    const { container_id } = await this.cri.call<{ container_id: string }>('CreateContainer', {
      pod_sandbox_id: this.id,
      config,
      sandbox_config: this.sandbox_config,
    });
    await this.cri.call('StartContainer', { container_id });
    return container_id;
  }

  /** Standard output of a command in a container, whatever its exit code is. */
  async exec(container_id: string, ...cmd: string[]): Promise<string> {
    const answer = await this.cri.call<{ stdout: Buffer }>('ExecSync', { container_id, cmd, timeout: 20 });
    return answer.stdout.toString();
  }

  remove(): Promise<void> {
    return this.cri.remove(this.id);
  }
}
