/** Failures that only CNI has, beside those of the error catalogue. */
import type { CniVersion } from '../model/cni.js';
import { type CniError, cniError } from '../model/cni-result.js';

/** Codes of such failures. */
export const CNI_CODES = {
  /** STATUS: attached containers are affected too (the specification's). */
  limitedConnectivity: 51,
  /** CHECK: an attachment is not as it should be (ours). */
  checkFailed: 130,
} as const;

export class CniFailure extends Error {
  constructor(
    readonly code: (typeof CNI_CODES)[keyof typeof CNI_CODES],
    message: string,
    readonly details: string,
  ) {
    super(message);
    this.name = 'CniFailure';
  }
}

/** The error object of any error. */
export function errorObject(version: CniVersion, error: unknown): CniError {
  if (!(error instanceof CniFailure)) return cniError(version, error);
  return { cniVersion: version, code: error.code, msg: error.message, details: error.details };
}
