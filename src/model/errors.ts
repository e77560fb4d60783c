/**
 * Every error that leaves the product, in one catalogue: the code, what each edge makes of it, and the
 * sentence for a reader. Nothing else maps errors; an unknown error becomes INTERNAL and is not leaked.
 */
import type { z } from 'zod';

interface ErrorKind {
  /** HTTP status of the answer. */
  readonly http: number;
  /** Code of the CNI result: those of the specification (1-11, 50, 51), ours from 100 on. */
  readonly cni: number;
  /** Exit code when the daemon ends with this error (sysexits.h). */
  readonly exit: number;
  /** What the code means, for docs and as the message when none is given. */
  readonly text: string;
}

const EXIT = {
  dataError: 65,
  unavailable: 69,
  software: 70,
  osError: 71,
  ioError: 74,
  tryLater: 75,
  permission: 77,
  config: 78,
};

function kind(http: number, cni: number, text: string, exit = EXIT.software): ErrorKind {
  return { http, cni, exit, text };
}

export const ERRORS = {
  INVALID_REQUEST: kind(400, 7, 'The request is not valid; details name each bad field.'),
  INVALID_JSON: kind(400, 6, 'The body is not valid JSON or YAML.'),
  UNAUTHENTICATED: kind(401, 100, 'The caller could not be identified.'),
  FORBIDDEN: kind(403, 101, 'The caller may not do this.'),
  NOT_FOUND: kind(404, 102, 'There is nothing at this path.'),
  NETWORK_NOT_FOUND: kind(404, 103, 'There is no such network.'),
  CONTAINER_NOT_FOUND: kind(404, 3, 'The container is not connected.'),
  NAMESPACE_NOT_FOUND: kind(404, 104, 'There is no such namespace.'),
  POLICY_NOT_FOUND: kind(404, 105, 'There is no such policy.'),
  PORT_MAPPING_NOT_FOUND: kind(404, 127, 'There is no such port mapping.'),
  SERVICE_NOT_FOUND: kind(404, 128, 'There is no such service.'),
  METHOD_NOT_ALLOWED: kind(405, 106, 'The path does not support this method.'),
  NETWORK_EXISTS: kind(409, 107, 'A network of this name exists.'),
  NETWORK_IN_USE: kind(409, 108, 'Containers are connected to the network, or services name it.'),
  CIDR_OVERLAP: kind(409, 109, 'The address range overlaps one that is in use.'),
  ENDPOINT_EXISTS: kind(409, 110, 'The container has this interface on a network already.'),
  ADDRESS_IN_USE: kind(409, 111, 'The address belongs to another endpoint.'),
  INTERFACE_EXISTS: kind(409, 112, 'An interface of this name exists in the container.'),
  POOL_EXHAUSTED: kind(409, 113, 'The network has no free address left.'),
  NAMESPACE_IN_USE: kind(409, 114, 'Endpoints, policies or services are in the namespace.'),
  NODE_PORT_IN_USE: kind(409, 129, 'The port of the node belongs to something else.'),
  NODE_PORTS_EXHAUSTED: kind(409, 133, 'No port of the range for port mappings is free.'),
  SERVICE_PORT_IN_USE: kind(409, 131, 'The port of the address belongs to another service.'),
  SERVICE_ADDRESS_INVALID: kind(409, 132, 'No service can have the address.'),
  PAYLOAD_TOO_LARGE: kind(413, 115, 'The body is larger than the limit.'),
  UNSUPPORTED_MEDIA_TYPE: kind(415, 116, 'The content type of the body is not supported.'),
  INVALID_POLICY: kind(422, 117, 'The policy is not valid; details name each bad field.'),
  NETNS_INVALID: kind(422, 4, 'The path is missing or is not a network namespace.'),
  UNSUPPORTED_DRIVER: kind(422, 2, 'There is no such network driver.'),
  INSUFFICIENT_CAPACITY: kind(503, 118, 'A limit of the node is reached; the change was not made.'),
  NOT_READY: kind(503, 11, 'The daemon is starting, or cannot serve at the moment; try again.'),
  INCOMPATIBLE_CNI_VERSION: kind(400, 1, 'The CNI version is not supported.'),
  UNSUPPORTED_CNI_FIELD: kind(400, 2, 'A field of the CNI network configuration is not supported.'),
  INVALID_CNI_ENVIRONMENT: kind(400, 4, 'An environment variable of the CNI call is missing or not valid.'),
  INVALID_CNI_CONFIG: kind(400, 7, 'The CNI network configuration is not valid.'),
  CNI_UNAVAILABLE: kind(503, 50, 'The plugin cannot serve ADD at the moment.'),
  KERNEL_ERROR: kind(500, 119, 'The kernel refused an operation.', EXIT.osError),
  STORE_ERROR: kind(500, 5, 'The store could not be read or written.', EXIT.ioError),
  INTERNAL: kind(500, 999, 'An internal error happened; the log of the daemon has its cause.'),
  NOT_ROOT: kind(500, 120, 'The daemon needs the rights of root.', EXIT.permission),
  PORT_IN_USE: kind(500, 121, 'Another program listens at the address.', EXIT.unavailable),
  ALREADY_RUNNING: kind(500, 122, 'Another daemon owns the state directory.', EXIT.tryLater),
  STORE_DAMAGED: kind(500, 123, 'The store is damaged; the daemon does not start on it.', EXIT.dataError),
  KERNEL_UNSUPPORTED: kind(500, 124, 'The kernel lacks something that the daemon needs.', EXIT.osError),
  STORE_INCOMPATIBLE: kind(
    500,
    126,
    'The store was written by another version of the daemon.',
    EXIT.dataError,
  ),
  INVALID_SETTINGS: kind(500, 125, 'A setting is not valid.', EXIT.config),
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERRORS;

/** One bad field: `path` in dotted form (`spec.ingress[0].ports[1].port`, empty: the whole body), and why. */
export interface ErrorDetail {
  readonly path: string;
  readonly message: string;
}

export interface AppErrorOptions {
  details?: readonly ErrorDetail[];
  /** What the reader can do about it. */
  hint?: string;
  /** For the log alone. */
  cause?: unknown;
}

/** An error with a code of the catalogue. `message` may be shown to the caller; `cause` may not. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly details: readonly ErrorDetail[] | undefined;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string = ERRORS[code].text, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'AppError';
    this.code = code;
    this.details = options.details;
    this.hint = options.hint;
  }

  get httpStatus(): number {
    return ERRORS[this.code].http;
  }

  get cniCode(): number {
    return ERRORS[this.code].cni;
  }

  get exitCode(): number {
    return ERRORS[this.code].exit;
  }
}

/** Body of every error answer. */
export interface ErrorBody {
  error: { code: ErrorCode; message: string; details: readonly ErrorDetail[] };
}

/** The AppError that an edge answers with: itself, or INTERNAL that keeps the unknown error as its cause. */
export function asAppError(error: unknown): AppError {
  return error instanceof AppError ? error : new AppError('INTERNAL', undefined, { cause: error });
}

/** `{"error":{code,message,details}}`; the hint is part of the message. Nothing of an unknown error is shown. */
export function errorBody(error: unknown): ErrorBody {
  const { code, message, hint, details } = asAppError(error);
  return {
    error: { code, message: hint === undefined ? message : `${message}: ${hint}`, details: details ?? [] },
  };
}

/** A JSON path as a reader writes it: `spec.ingress[0].ports[1].port`; odd keys as `labels["a.b/c"]`. */
export function dottedPath(path: readonly PropertyKey[]): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else if (/^[A-Za-z_$][\w$-]*$/.test(String(part)))
      text += text === '' ? String(part) : `.${String(part)}`;
    else text += `[${JSON.stringify(String(part))}]`;
  }
  return text;
}

/** Answers are bounded: a body with a thousand bad fields does not need a thousand lines. */
const DETAILS_MAX = 64;

/** Each bad field of a zod error; `at` is where the value is in what was given. */
export function errorDetails(error: z.ZodError, at: readonly PropertyKey[] = []): ErrorDetail[] {
  return issueDetails(error.issues as readonly z.core.$ZodIssue[], at).slice(0, DETAILS_MAX);
}

function issueDetails(issues: readonly z.core.$ZodIssue[], base: readonly PropertyKey[]): ErrorDetail[] {
  return issues.flatMap((issue) => {
    const path = [...base, ...issue.path];
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({ path: dottedPath([...path, key]), message: 'unknown field' }));
    }
    if (issue.code === 'invalid_union') {
      const best = unionDetails(issue.errors, path);
      if (best.length > 0) return best;
    }
    if (issue.code === 'invalid_key') {
      return issue.issues.map((inner) => ({ path: dottedPath(path), message: inner.message }));
    }
    return [{ path: dottedPath(path), message: issue.message }];
  });
}

/** Of the alternatives of a union the one that came furthest into the value; one of another kind of value came nowhere. */
function unionDetails(
  alternatives: readonly (readonly z.core.$ZodIssue[])[],
  path: readonly PropertyKey[],
): ErrorDetail[] {
  const ranked = alternatives.map((issues) => {
    const details = issueDetails(issues, path);
    return { details, rank: issues.some(isOfAnotherKind) ? 0 : depth(details) };
  });
  const most = Math.max(...ranked.map(({ rank }) => rank));
  const [first, ...others] = ranked.filter(({ rank }) => rank === most);
  if (first === undefined) return [];
  if (most > 0 || [first, ...others].some(({ details }) => details.length !== 1)) return first.details;
  const messages = new Set(
    [first, ...others].flatMap(({ details }) => details.map(({ message }) => message)),
  );
  return [{ path: dottedPath(path), message: [...messages].join(', or ') }];
}

function isOfAnotherKind({ code, path }: z.core.$ZodIssue): boolean {
  return path.length === 0 && (code === 'invalid_type' || code === 'invalid_value');
}

/** How far into the value an alternative came before it failed. */
function depth(details: readonly ErrorDetail[]): number {
  return Math.min(...details.map(({ path }) => path.split(/[.[]/).length));
}

/** The AppError of a failed validation, naming the first bad field in its message and all of them in details. */
export function validationError(error: z.ZodError, code?: ErrorCode, what?: string): AppError {
  return badFieldsError(errorDetails(error), code, what);
}

/** The same of bad fields that are known. */
export function badFieldsError(
  fields: readonly ErrorDetail[],
  code: ErrorCode = 'INVALID_REQUEST',
  what = 'request',
): AppError {
  const details = fields.slice(0, DETAILS_MAX);
  const first = details[0];
  const where = first === undefined || first.path === '' ? '' : `${first.path}: `;
  return new AppError(code, `invalid ${what}: ${where}${first?.message ?? 'unknown reason'}`, { details });
}

/** Parses a value from outside, or throws the validation error. */
export function parseWith<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  code?: ErrorCode,
  what?: string,
): z.output<Schema> {
  const result = schema.safeParse(value);
  if (!result.success) throw validationError(result.error, code, what);
  return result.data;
}
