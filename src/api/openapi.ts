/** GET /openapi.json: the schemas of the routes, for machines. */
import { STATUS_CODES } from 'node:http';
import swagger from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';
import { createJsonSchemaTransform, createJsonSchemaTransformObject } from 'fastify-type-provider-zod';

const INFO = {
  title: 'Quantum Network',
  description: 'Networks, containers, policies and flows of one node.',
};

/** To be registered before the routes that it describes. The document itself is made when it is first asked for. */
export function describeRoutes(app: FastifyInstance, version: string): void {
  app.register(swagger, {
    openapi: { openapi: '3.1.0', info: { ...INFO, version } },
    transform: createJsonSchemaTransform({}),
    transformObject: (document) => tidied(createJsonSchemaTransformObject({})(document)),
  });
}

export function openapiRoute(app: FastifyInstance): void {
  let text: string | undefined;
  app.get('/openapi.json', { schema: { hide: true } }, async (_request, reply) => {
    text ??= JSON.stringify(app.swagger());
    return reply.type('application/json; charset=utf-8').send(text);
  });
}

interface Document {
  components?: { schemas?: Record<string, unknown> };
  paths?: Record<string, Record<string, { responses?: Record<string, { description: string }> }>>;
}

/** What the generator says where nobody has said anything. */
const NO_DESCRIPTION = 'Default Response';
const DESCRIPTIONS: Readonly<Record<string, string>> = {
  '4XX': 'The request is refused',
  '5XX': 'The daemon could not do it',
};

/**
 * Made for readers: answers have a description, and of each schema, which is there as `Name` for answers and as
 * `NameInput` for requests, what is used stays, and `Input` is said only where both are.
 */
function tidied<Given extends object>(given: Given): Given {
  const { components, ...rest } = given as Given & Document;
  for (const operations of Object.values(rest.paths ?? {})) {
    for (const { responses = {} } of Object.values(operations)) {
      for (const [status, response] of Object.entries(responses)) {
        if (response.description !== NO_DESCRIPTION) continue;
        response.description = DESCRIPTIONS[status] ?? STATUS_CODES[status] ?? status;
      }
    }
  }
  const schemas = usedSchemas(rest, components?.schemas ?? {});
  const nameOf = (name: string) => {
    const short = name.replace(/Input$/, '');
    return short in schemas ? name : short;
  };
  const renamed = Object.entries(schemas).map(([name, schema]) => [nameOf(name), schema] as const);
  const sorted = Object.fromEntries(renamed.sort(([left], [right]) => (left < right ? -1 : 1)));
  const text = JSON.stringify({ ...rest, components: { ...components, schemas: sorted } });
  return JSON.parse(text.replace(REFERENCES, (_, name: string) => `"${PREFIX}${nameOf(name)}"`)) as Given;
}

const PREFIX = '#/components/schemas/';
const REFERENCES = /"#\/components\/schemas\/([^"]+)"/g;

/** Those that are referred to, by the document or by one of them. */
function usedSchemas(document: object, schemas: Record<string, unknown>): Record<string, unknown> {
  const used: Record<string, unknown> = {};
  const pending: unknown[] = [document];
  for (let part = pending.pop(); part !== undefined; part = pending.pop()) {
    for (const [, name = ''] of JSON.stringify(part).matchAll(REFERENCES)) {
      if (name in used) continue;
      used[name] = schemas[name];
      pending.push(schemas[name]);
    }
  }
  return used;
}
