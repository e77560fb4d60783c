/**
 * GET /docs: the description of the API as a page. What makes it is an app of its own, which is loaded when somebody
 * asks first: most nodes are never asked, and it is more code than the routes of the API are.
 */
import type { StaticDocumentSpec } from '@fastify/swagger';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { AppError } from '../model/errors.js';
import { answerFailure } from './failures.js';

const PREFIX = '/docs';

/** No scripts but those of the page itself, and nobody may show it in a frame. */
const CSP =
  "default-src 'self'; base-uri 'self'; img-src 'self' data:; object-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'";

export interface DocsPageOptions {
  /** The OpenAPI document. */
  document: () => object;
  /** What is set on every answer of the API. */
  headers: Readonly<Record<string, string>>;
}

export function docsPageRoutes(app: FastifyInstance, options: DocsPageOptions): void {
  let loading: Promise<FastifyInstance> | undefined;
  const answer = async (request: FastifyRequest, reply: FastifyReply) => {
    loading ??= loadPage(options);
    const page = await loading.catch((error: unknown) => {
      loading = undefined;
      throw error;
    });
    reply.hijack();
    page.routing(request.raw, reply.raw);
  };
  for (const path of [PREFIX, `${PREFIX}/*`]) app.get(path, { schema: { hide: true } }, answer);
  app.addHook('onClose', async () => (await loading?.catch(() => undefined))?.close());
}

async function loadPage({ document, headers }: DocsPageOptions): Promise<FastifyInstance> {
  const [swagger, swaggerUi] = await Promise.all([import('@fastify/swagger'), import('@fastify/swagger-ui')]);
  const page = Fastify({ frameworkErrors: answerFailure });
  page.setErrorHandler(answerFailure);
  page.setNotFoundHandler((request, reply) => answerFailure(new AppError('NOT_FOUND'), request, reply));
  page.addHook('onSend', async (_request, reply) => {
    reply.headers(headers);
  });
  // Its types do not know the documents of 3.1 that it takes.
  const specification = { document: document() as StaticDocumentSpec['document'] };
  page.register(swagger.default, { mode: 'static', specification });
  page.register(swaggerUi.default, { routePrefix: PREFIX, staticCSP: CSP });
  await page.ready();
  return page;
}
