/** Bodies of requests: read whole within a limit, then parsed as JSON or YAML. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { AppError } from '../model/errors.js';
import { parseJson } from '../model/json-text.js';
import { parseYamlDocuments } from '../model/yaml-text.js';

/** Largest body of a request, bytes. */
export const BODY_BYTES_MAX = 1 << 20;

/** How much beyond the limit is read and dropped, so that the sender gets to see the answer. */
const DRAIN_FACTOR = 8;

/** Media types of YAML: the registered one (RFC 9512) and those that were in use before. */
export const YAML_TYPES = ['application/yaml', 'application/x-yaml', 'text/yaml'] as const;

/** Replaces fastify's parsers by the one for JSON. */
export function acceptJson(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', async (request: FastifyRequest, payload: Payload) =>
    parseJson(await readBody(payload, request.routeOptions.bodyLimit)),
  );
}

/** What a body of YAML is: any number of documents. */
export class Documents {
  constructor(readonly values: readonly unknown[]) {}
}

/** Takes YAML as well, in the scope of `app`; its bodies are `Documents`. */
export function acceptYaml(app: FastifyInstance, max: { documents: number; bytes: number }): void {
  app.addContentTypeParser([...YAML_TYPES], async (_request: FastifyRequest, payload: Payload) => {
    const text = await readBody(payload, max.bytes);
    return new Documents(parseYamlDocuments(text, max.documents));
  });
}

type Payload = AsyncIterable<unknown>;

/** The body as text. Throws PAYLOAD_TOO_LARGE; INVALID_JSON for what is not UTF-8, and would not be stored as it was sent. */
async function readBody(payload: Payload, limit: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of payload) {
    if (!Buffer.isBuffer(chunk)) throw new TypeError('a body is made of buffers');
    bytes += chunk.length;
    if (bytes <= limit) chunks.push(chunk);
    else if (bytes > limit * DRAIN_FACTOR) break;
  }
  if (bytes > limit) {
    throw new AppError('PAYLOAD_TOO_LARGE', `the body is larger than ${limit} bytes`);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new AppError('INVALID_JSON', 'the body is not UTF-8');
  }
}
