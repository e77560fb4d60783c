/**
 * What is asked of the Docker Engine API. Never while Docker waits for an answer of ours that it holds a lock for:
 * only lists and networks are asked for, which wait for no container, and each question has its time.
 */
import { get } from 'node:http';
import { z } from 'zod';
import { AppError, parseWith } from '../model/errors.js';
import { containerId } from '../model/names.js';
import type { DockerContainer } from './container-labels.js';

const TIMEOUT_MS = 2_000;
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;

const labelMap = z.record(z.string(), z.string()).nullish();
const networkAnswer = z.looseObject({
  Containers: z.record(z.string(), z.looseObject({ EndpointID: z.string() })).nullish(),
});
const containersAnswer = z.array(z.looseObject({ Id: containerId, ImageID: z.string(), Labels: labelMap }));
const imageAnswer = z.looseObject({ Config: z.looseObject({ Labels: labelMap }).nullish() });

/** Before a container has an endpoint, Docker lists it under its own id. */
const WITHOUT_CONTAINER = /^ep-/;

export interface DockerEngine {
  /** The container that has the endpoint, `none` while it has no container, `absent` when there is no such endpoint. */
  containerOf(networkId: string, endpointId: string): Promise<{ id: string } | 'none' | 'absent'>;
  /** Undefined: there is no such container. */
  container(id: string): Promise<DockerContainer | undefined>;
}

/** Throws NOT_READY when Docker does not answer, or not as it should. */
export class EngineApi implements DockerEngine {
  constructor(private readonly socketPath: string) {}

  async containerOf(networkId: string, endpointId: string): Promise<{ id: string } | 'none' | 'absent'> {
    const answer = await this.ask(`/networks/${encodeURIComponent(networkId)}`, networkAnswer);
    const holder = Object.entries(answer?.Containers ?? {}).find(
      ([, { EndpointID }]) => EndpointID === endpointId,
    )?.[0];
    if (holder === undefined) return 'absent';
    if (WITHOUT_CONTAINER.test(holder)) return 'none';
    return { id: parseWith(containerId, holder, 'NOT_READY', 'answer of Docker') };
  }

  async container(id: string): Promise<DockerContainer | undefined> {
    const filters = encodeURIComponent(JSON.stringify({ id: [id] }));
    const found = await this.ask(`/containers/json?all=1&filters=${filters}`, containersAnswer);
    const container = found?.find(({ Id }) => Id === id);
    if (container === undefined) return undefined;
    const image = await this.ask(`/images/${encodeURIComponent(container.ImageID)}/json`, imageAnswer);
    if (image === undefined) {
      throw new AppError('NOT_READY', `Docker does not have the image of container ${id} any more`, {
        hint: 'which labels are the image’s cannot be told: make the container anew',
      });
    }
    return { id, labels: container.Labels ?? {}, imageLabels: image.Config?.Labels ?? {} };
  }

  /** Undefined: 404. */
  private async ask<Schema extends z.ZodType>(
    path: string,
    schema: Schema,
  ): Promise<z.output<Schema> | undefined> {
    const { status, text } = await this.call(path);
    if (status === 404) return undefined;
    if (status !== 200) throw new AppError('NOT_READY', `Docker answers ${status}`);
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw new AppError('NOT_READY', 'the answer of Docker is not JSON', { cause });
    }
    return parseWith(schema, value, 'NOT_READY', 'answer of Docker');
  }

  private call(path: string): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const fail = (cause: unknown) =>
        reject(new AppError('NOT_READY', `Docker does not answer at ${this.socketPath}`, { cause }));
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      const options = { socketPath: this.socketPath, path, agent: false, signal };
      const request = get({ ...options, headers: { host: 'docker' } }, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
          if (text.length > ANSWER_BYTES_MAX) request.destroy(new Error('the answer is too large'));
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
        response.on('error', fail);
      });
      request.on('error', fail);
    });
  }
}
