/** What is wrong with a policy, as its author is told. */
import { AppError, type ErrorDetail } from '../../src/model/errors.js';
import { parsePolicy } from '../../src/model/policy.js';
import { parsePolicies } from '../../src/model/policy-request.js';

/** A NetworkPolicy of that spec. */
export function policyWith(spec: unknown, metadata: object = {}) {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'p', ...metadata },
    spec,
  };
}

export function errorOf(run: () => unknown): AppError {
  try {
    run();
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** `path: message` of each bad field of a value that is to be a policy. */
export function problems(value: unknown): string[] {
  return told(() => parsePolicy(value));
}

/** The same of the documents of a request. */
export function problemsOf(...documents: unknown[]): string[] {
  return told(() => parsePolicies(documents));
}

function told(run: () => unknown): string[] {
  const { code, httpStatus, details = [] } = errorOf(run);
  if (code !== 'INVALID_POLICY' || httpStatus !== 422) throw new Error(`${code} ${httpStatus}`);
  return details.map(({ path, message }: ErrorDetail) => `${path}: ${message}`);
}
