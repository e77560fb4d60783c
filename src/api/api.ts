/**
 * The REST API: every route, hook and error answer, without a listener (see server.ts), so that it can also be used
 * with inject().
 */
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { AppError } from '../model/errors.js';
import type { Node } from '../vnet/contract.js';
import { acceptJson, BODY_BYTES_MAX } from './body.js';
import { type Callers, requireLocalPage, requireRoot } from './caller.js';
import { requireUnconditional } from './conditions.js';
import { docsPageRoutes } from './docs-page.js';
import { answerFailure, pathOf } from './failures.js';
import { describeRoutes, openapiRoute } from './openapi.js';
import { KnownPaths } from './paths.js';
import { type CniService, cniRoutes } from './routes/cni.js';
import { connectionRoutes } from './routes/connections.js';
import { containerRoutes } from './routes/containers.js';
import { denyListRoutes } from './routes/deny-list.js';
import { explainRoutes } from './routes/explain.js';
import { flowRoutes } from './routes/flows.js';
import { healthRoutes, type MetricsText, metricsRoutes } from './routes/health.js';
import { inventoryRoutes } from './routes/inventory.js';
import { namespaceRoutes } from './routes/namespaces.js';
import { networkRoutes } from './routes/networks.js';
import { policyRoutes } from './routes/policies.js';
import { portMappingRoutes } from './routes/port-mappings.js';
import { serviceRoutes } from './routes/services.js';
import { type Api, encodeAnswers, validateRequest } from './schemas.js';

/** What the API tells about itself. */
export interface ApiObserver {
  /** A request has been answered; `route` is the path with its parameters unfilled, or `unknown`. */
  requestDone(request: { method: string; route: string; status: number; seconds: number }): void;
  /** Flow events were not sent, because their reader did not keep up. */
  flowsLost(count: number): void;
}

export interface ApiOptions {
  node: Node;
  /** Version of the daemon. */
  version: string;
  logger: FastifyBaseLogger;
  callers: Callers;
  metrics: MetricsText & ApiObserver;
  /** Without it there is no POST /cni. */
  cni?: CniService;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Every local user may use the route. */
    isPublic?: boolean;
  }
}

/** Longest part of a path: names of policies have up to 253 characters. */
const PATH_PART_MAX = 256;

/** Of every answer. */
const HEADERS = { 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' } as const;

/** The API, ready for `serveApi` or `inject`. */
export async function buildApi(options: ApiOptions): Promise<FastifyInstance> {
  const { node, metrics, callers, version } = options;
  const app: FastifyInstance = Fastify({
    loggerInstance: options.logger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_BYTES_MAX,
    // While it closes, requests that came in before are still answered.
    return503OnClosing: false,
    routerOptions: { maxParamLength: PATH_PART_MAX },
    frameworkErrors: answerFailure,
    // Unless it is told of others, fastify loads the ones that it has by default.
    schemaController: { compilersFactory: { buildValidator: unasked, buildSerializer: unasked } },
  });
  const paths = new KnownPaths();

  app.setErrorHandler(answerFailure);
  app.setValidatorCompiler(validateRequest);
  app.setSerializerCompiler(encodeAnswers);
  acceptJson(app);

  app.addHook('onRoute', ({ method, url }) => paths.add(url, [method].flat()));
  app.addHook('onRequest', async (request, reply) => {
    const caller = callers.callerOf(request.raw.socket);
    requireLocalPage(caller, request.headers);
    if (request.routeOptions.config.isPublic !== true) requireRoot(caller);
    if (request.is404) refuse(request, reply, paths);
    requireUnconditional(request.method, request.headers);
  });
  app.addHook('onSend', async (_request, reply) => {
    reply.headers(HEADERS);
  });
  app.addHook('onResponse', async (request, reply) => {
    const seconds = reply.elapsedTime / 1000;
    metrics.requestDone({
      method: request.method,
      route: routeOf(request),
      status: reply.statusCode,
      seconds,
    });
    const { method, url } = request;
    request.log.debug({ method, path: pathOf(url), status: reply.statusCode, seconds }, 'request');
  });

  describeRoutes(app, version);
  app.register(async (scope) => {
    const api: Api = scope.withTypeProvider<ZodTypeProvider>();
    networkRoutes(api, node);
    containerRoutes(api, node);
    inventoryRoutes(api, node);
    namespaceRoutes(api, node);
    denyListRoutes(api, node);
    portMappingRoutes(api, node);
    serviceRoutes(api, node);
    connectionRoutes(api, node);
    explainRoutes(api, node);
    flowRoutes(api, node, (count) => metrics.flowsLost(count));
    healthRoutes(api, node, version);
    metricsRoutes(api, metrics);
    if (options.cni !== undefined) cniRoutes(api, options.cni);
    openapiRoute(scope);
    docsPageRoutes(scope, { document: () => app.swagger(), headers: HEADERS });
  });
  // A scope of its own: YAML is for policies alone.
  app.register(async (scope) => policyRoutes(scope.withTypeProvider<ZodTypeProvider>(), node));
  await app.ready();
  return app;
}

/** Never called: the compilers are set. */
function unasked(): never {
  throw new TypeError('the API has compilers of its own');
}

/** Throws NOT_FOUND or METHOD_NOT_ALLOWED, before a body is looked at. */
function refuse(request: FastifyRequest, reply: FastifyReply, paths: KnownPaths): never {
  const allowed = paths.allowed(pathOf(request.url));
  if (allowed === undefined) throw new AppError('NOT_FOUND');
  reply.header('allow', allowed);
  throw new AppError('METHOD_NOT_ALLOWED', `${request.method} is not possible here`, {
    hint: `use ${allowed}`,
  });
}

/** The path as it was declared; anything else would let callers make up values without end. */
function routeOf(request: FastifyRequest): string {
  return request.is404 ? 'unknown' : (request.routeOptions.url ?? 'unknown');
}
