/** How the schemas of model/ act on requests and answers, and the schemas that only the API has. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type {
  FastifyBaseLogger,
  FastifyInstance,
  FastifySerializerCompiler,
  RawServerDefault,
} from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { AppError, ERRORS, type ErrorCode, parseWith } from '../model/errors.js';
import { policyName } from '../model/kubernetes.js';
import { CLUSTER_WIDE, containerId, dnsLabel, interfaceName } from '../model/names.js';
import { parsePolicies } from '../model/policy-request.js';
import { portMappingId } from '../model/port-mapping.js';
import { numberInDigits } from '../model/query.js';
import { Documents } from './body.js';

/** A fastify instance whose routes are typed by their zod schemas. */
export type Api = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>;

type Validator = (data: unknown) => { value: unknown } | { error: Error };

/** Turns requests into typed values, or fails with the path of each bad field. */
export function validateRequest({ schema, httpPart }: { schema: unknown; httpPart?: string }): Validator {
  const what = httpPart === 'body' ? 'request' : httpPart;
  return validator((data) => {
    if (httpPart === 'body') requireBody(data, 'INVALID_REQUEST');
    return parseWith(schema as z.ZodType, data, 'INVALID_REQUEST', what);
  });
}

/** The same where the body is policies: it becomes a PolicyRequest. */
export function validatePolicies(part: { schema: unknown; httpPart?: string }): Validator {
  if (part.httpPart !== 'body') return validateRequest(part);
  return validator((data) => {
    requireBody(data, 'INVALID_POLICY');
    return parsePolicies(data instanceof Documents ? data.values : [data]);
  });
}

function validator(parse: (data: unknown) => unknown): Validator {
  return (data) => {
    try {
      return { value: parse(data) };
    } catch (error) {
      return { error: error as Error };
    }
  };
}

function requireBody(data: unknown, code: ErrorCode): void {
  if (data !== undefined && data !== null) return;
  const message = 'the request has no body';
  throw new AppError(code, message, { details: [{ path: '', message }] });
}

/** Objects that are known to fit their schema. They are replaced, never changed, by who made them. */
const checked = new WeakMap<z.ZodType, WeakSet<object>>();

/** Throws ZodError when the answer is not what the schema promises: a bug of ours. */
function check(schema: z.ZodType, value: unknown): void {
  if (typeof value !== 'object' || value === null) {
    schema.parse(value);
    return;
  }
  const known = checked.get(schema) ?? new WeakSet();
  if (known.has(value)) return;
  schema.parse(value);
  checked.set(schema, known.add(value));
}

/**
 * Writes answers, and fails on those that are not what their schema promises. An entry of a list is looked at once:
 * a check takes a hundred microseconds, and there may be thousands of entries.
 */
export const encodeAnswers: FastifySerializerCompiler<z.ZodType> = ({ schema }) => {
  const list = listOf(schema);
  return (data: unknown) => {
    const entries = list === undefined ? undefined : (data as Record<string, unknown>)[list.key];
    if (list === undefined || !Array.isArray(entries)) schema.parse(data);
    else for (const entry of entries) check(list.entry, entry);
    return JSON.stringify(data);
  };
};

/** Key and entries of a schema of the form `{key: [entry, …]}`. */
function listOf(schema: z.ZodType): { key: string; entry: z.ZodType } | undefined {
  if (!(schema instanceof z.ZodObject)) return undefined;
  const fields = Object.entries(schema.shape as Record<string, z.ZodType>);
  const [key, field] = fields[0] ?? [];
  if (fields.length !== 1 || key === undefined || !(field instanceof z.ZodArray)) return undefined;
  return { key, entry: field.element as z.ZodType };
}

export const errorAnswer = z
  .strictObject({
    error: z.strictObject({
      code: z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]).describe('What went wrong'),
      message: z.string().describe('For a reader'),
      details: z
        .array(z.strictObject({ path: z.string().describe('Path of a bad field'), message: z.string() }))
        .describe('Each bad field'),
    }),
  })
  .meta({ id: 'Error', description: 'Answer of every request that fails' });

/** The answers of a route, with the one form that errors have. */
export function answers<Success extends Record<number, unknown>>(success: Success) {
  return { ...success, '4xx': errorAnswer, '5xx': errorAnswer };
}

/** An answer without a body. */
export const nothing = z.undefined().describe('Done');

export const noQuery = z.strictObject({});
export const networkPath = z.strictObject({ name: dnsLabel.describe('Name of the network') });
export const containerPath = networkPath.extend({ container_id: containerId });
export const containerQuery = z.strictObject({
  interface_name: interfaceName
    .optional()
    .describe('Which interface, where the container has several in the network'),
});
export const namespacePath = z.strictObject({ name: dnsLabel.describe('Name of the namespace') });
export const portMappingPath = z.strictObject({
  id: numberInDigits(portMappingId),
});
export const servicePath = z.strictObject({
  namespace: dnsLabel.describe('Namespace of the service'),
  name: dnsLabel.describe('Name of the service'),
});
export const policyPath = z.strictObject({
  namespace: z
    .union([z.literal(CLUSTER_WIDE), dnsLabel])
    .describe(`Namespace of the policy; \`${CLUSTER_WIDE}\`: it is cluster-wide`),
  name: policyName,
});
