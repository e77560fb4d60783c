import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { AppError } from '../../model/errors.js';
import { health, readiness } from '../../model/health.js';
import type { Node } from '../../vnet/contract.js';
import { type Api, answers } from '../schemas.js';

const tags = ['health'];
/** Every local user may read these: monitoring does not run as root. */
const config = { isPublic: true };

/** Scrapes at once: every local user may scrape, and one that does not read on keeps its look at the counters. */
const SCRAPES_MAX = 16;

/** What GET /metrics answers with. */
export interface MetricsText {
  readonly contentType: string;
  /** The text in pieces, so that it is written as fast as it is read and never held as a whole. */
  render(): Promise<Iterable<string>>;
}

export function healthRoutes(app: Api, { observation }: Node, version: string): void {
  app.get(
    '/healthz',
    {
      config,
      schema: { tags, operationId: 'getHealth', summary: 'Alive', response: answers({ 200: health }) },
    },
    async () => ({ status: 'ok' as const, version }),
  );

  app.get(
    '/readyz',
    {
      config,
      schema: {
        tags,
        operationId: 'getReadiness',
        summary: 'Programs loaded, store open, first synchronisation done; 503 until all of it holds',
        response: { 200: readiness, 503: readiness },
      },
    },
    async (_request, reply) => {
      const state = observation.readiness();
      return reply.code(state.ready ? 200 : 503).send(state);
    },
  );
}

export function metricsRoutes(app: Api, metrics: MetricsText): void {
  let scrapes = 0;
  app.get(
    '/metrics',
    {
      config,
      schema: {
        tags,
        operationId: 'getMetrics',
        summary: 'Metrics, in the text format of Prometheus',
        response: answers({
          200: { description: 'Metrics', content: { 'text/plain': { schema: z.string() } } },
        }),
      },
    },
    async (_request, typed) => {
      if (scrapes >= SCRAPES_MAX) throw new AppError('INSUFFICIENT_CAPACITY', 'too many scrapes at once');
      scrapes += 1;
      const reply: FastifyReply = typed.type(metrics.contentType);
      reply.raw.once('close', () => {
        scrapes -= 1;
      });
      return reply.send(Readable.from(await metrics.render(), { objectMode: false }));
    },
  );
}
