/** Every error of a request, made into an answer in one place. */
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { AppError, asAppError, type ErrorCode, errorBody } from '../model/errors.js';
import { YAML_TYPES } from './body.js';

/** fastify's own errors that are the caller's fault, in the words of the catalogue. */
const FASTIFY_ERRORS: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'UNSUPPORTED_MEDIA_TYPE',
  FST_ERR_CTP_BODY_TOO_LARGE: 'PAYLOAD_TOO_LARGE',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'INVALID_REQUEST',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'INVALID_JSON',
  FST_ERR_BAD_URL: 'INVALID_REQUEST',
  FST_ERR_MAX_PARAM_LENGTH: 'INVALID_REQUEST',
};

/** Words of our own where those of fastify repeat the whole of what was sent. */
const MESSAGES: Readonly<Record<string, string>> = {
  FST_ERR_MAX_PARAM_LENGTH: 'a part of the path is longer than any name',
};

/** The answer to a failed request; what is not the caller's fault goes to the log with its cause. */
export function answerFailure(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const failure = failureOf(error, request);
  if (failure.httpStatus >= 500) {
    const fields = { err: failure.cause ?? failure, code: failure.code };
    request.log.error({ ...fields, method: request.method, path: pathOf(request.url) }, 'request failed');
  }
  reply.code(failure.httpStatus).type('application/json; charset=utf-8');
  // Already text: the schemas of answers are not for errors of the framework's own.
  reply.serializer((text: string) => text).send(JSON.stringify(errorBody(failure)));
}

function failureOf(error: unknown, request: FastifyRequest): AppError {
  if (request.raw.errored === error && error !== null) {
    return new AppError('INVALID_REQUEST', 'the request was cut short', { cause: error });
  }
  const kind = (error as Partial<FastifyError> | undefined)?.code ?? '';
  const code = FASTIFY_ERRORS[kind];
  if (error instanceof AppError || code === undefined) return asAppError(error);
  if (code !== 'UNSUPPORTED_MEDIA_TYPE') {
    return new AppError(code, MESSAGES[kind] ?? (error as FastifyError).message);
  }
  const given = request.headers['content-type'];
  const what = given === undefined ? 'a body without content type' : `content type ${JSON.stringify(given)}`;
  return new AppError(code, `${what} is not supported here`, {
    hint: `send application/json (policies also as ${YAML_TYPES[0]}), as in curl -H 'content-type: application/json' --data-binary @FILE`,
  });
}

/** The path without its query, which may hold what is not for logs. */
export function pathOf(url: string): string {
  const end = url.indexOf('?');
  return end < 0 ? url : url.slice(0, end);
}
