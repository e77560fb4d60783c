/** Kinds of value that settings of several groups have. */
import { z } from 'zod';
import { AppError } from '../errors.js';

export const PATH_MAX = 1024;

/** Directories cannot be made there; Node tries for ever (mkdir in /proc fails as if the parent were missing). */
const KERNEL_OWNED = /^\/+(proc|sys(?!\/+fs\/+bpf(\/|$)))(\/|$)|\/\.\.(\/|$)/;

export function tooLong(max: number): string {
  return `must have at most ${max} characters`;
}

function pathLike(form: RegExp, message: string, max: number) {
  return z
    .string()
    .max(max, tooLong(max))
    .regex(form, message)
    .refine(
      (value) => !KERNEL_OWNED.test(value),
      'must have no "..", and not be in /proc, or in /sys beside /sys/fs/bpf',
    );
}

export function path(description: string, fallback: string, max = PATH_MAX) {
  return pathLike(/^\/[^\0]*$/, 'must be an absolute path', max)
    .default(fallback)
    .describe(description);
}

/** Value of a path for "not at all". */
export const NO_PATH = 'none';

export function pathOrNone(description: string, fallback: string, max = PATH_MAX) {
  return pathLike(/^(\/[^\0]*|none)$/, 'must be an absolute path, or "none"', max)
    .default(fallback)
    .describe(`${description}; \`none\`: not used`);
}

export function integer(description: string, fallback: number, min: number, max: number) {
  const range = `must be a whole number from ${min} to ${max}`;
  return z.int(range).min(min, range).max(max, range).default(fallback).describe(description);
}

/** A text that `read` takes: what it throws is what is wrong with it. */
export function textFor(read: (text: string) => unknown, max: number) {
  return z
    .string()
    .max(max, { error: tooLong(max), abort: true })
    .check(({ value, issues }) => {
      try {
        read(value);
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        issues.push({ code: 'custom', message: error.message, input: value });
      }
    });
}
