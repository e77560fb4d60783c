/** Answers as tables, JSON or YAML. */
import { tableOf } from './text.js';

export const FORMATS = ['table', 'json', 'yaml'] as const;
export type Format = (typeof FORMATS)[number];

/** Headings, and the cells of an entry under them. */
export interface Columns<Entry> {
  readonly headings: readonly string[];
  readonly cells: (entry: Entry) => readonly string[];
}

/** A list: as a table, or the answer as it is. */
export async function listText<Entry>(
  format: Format,
  answer: unknown,
  entries: readonly Entry[],
  { headings, cells }: Columns<Entry>,
): Promise<string> {
  return format === 'table' ? tableOf(headings, entries.map(cells)) : objectText(format, answer);
}

/** One object. It has too many fields for a row, so that a reader gets YAML. */
export async function objectText(format: Format, value: unknown): Promise<string> {
  if (format === 'json') return `${JSON.stringify(value, undefined, 2)}\n`;
  const { stringify } = await import('yaml');
  return stringify(value);
}
