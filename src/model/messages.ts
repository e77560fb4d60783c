/**
 * What is said of a bad value where its schema has no words of its own: for operators, who did not write the schema.
 * Imported for its effect by names.ts, which every schema is made of.
 */
import { z } from 'zod';

const KINDS: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
};

z.config({ customError: (issue) => messageOf(issue) });

/** Undefined: zod's own words. */
function messageOf(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type': {
      if (issue.input === undefined) return 'is missing';
      const kind = KINDS[issue.expected];
      return kind && `must be ${kind}`;
    }
    case 'invalid_value':
      if (issue.input === undefined) return 'is missing';
      return `must be ${issue.values.length === 1 ? '' : 'one of '}${issue.values.join(', ')}`;
    case 'too_small':
      return bound(issue.origin, 'at least', issue.minimum, issue.inclusive);
    case 'too_big':
      return bound(issue.origin, 'at most', issue.maximum, issue.inclusive);
    default:
      return undefined;
  }
}

function bound(
  origin: string,
  relation: string,
  limit: number | bigint,
  inclusive: boolean | undefined,
): string | undefined {
  if (inclusive === false) return undefined;
  switch (origin) {
    case 'number':
    case 'int':
      return `must be ${relation} ${limit}`;
    case 'string':
      return `must have ${relation} ${limit} ${limit === 1 ? 'character' : 'characters'}`;
    case 'array':
      return `must have ${relation} ${limit} ${limit === 1 ? 'entry' : 'entries'}`;
    default:
      return undefined;
  }
}
