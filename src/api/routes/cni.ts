import type { z } from 'zod';
import { type Api, answers, noQuery } from '../schemas.js';

/** A configuration of 1 MiB, each byte of which JSON may write as six, and the environment. */
const BODY_BYTES_MAX = 8 * 1024 * 1024;

/** Who carries out calls of the CNI plugin, with the schemas of a call and its outcome. */
export interface CniService {
  readonly call: z.ZodType;
  readonly outcome: z.ZodType;
  handle(call: unknown): Promise<unknown>;
}

export function cniRoutes(app: Api, cni: CniService): void {
  app.post(
    '/cni',
    {
      bodyLimit: BODY_BYTES_MAX,
      schema: {
        tags: ['cni'],
        operationId: 'callCni',
        summary: 'What the CNI plugin does: its environment and input, its exit code and output',
        querystring: noQuery,
        body: cni.call,
        response: answers({ 200: cni.outcome }),
      },
    },
    async (request) => cni.handle(request.body),
  );
}
