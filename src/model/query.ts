/** What queries and paths say as text, and stands for something else. */
import { z } from 'zod';

/**
 * A number in digits. Number() takes `1e3`, `0x10`, ` 7` and an empty text for numbers too, and whoever has mistyped the id
 * of a thing would see another one deleted. A default is to be given by prefault(), as of labels.
 */
export function numberInDigits<Schema extends z.ZodType<number, number>>(schema: Schema) {
  return z.preprocess(
    (given) => (typeof given === 'string' && /^(0|[1-9][0-9]*)$/.test(given) ? Number(given) : given),
    schema,
  );
}

export const trueOrFalse = z.enum(['true', 'false']).transform((text) => text === 'true');

/** False where it is not said. */
export const flag = trueOrFalse.prefault('false');
