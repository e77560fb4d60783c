/** Text for a terminal. */
import type { LabelSelector } from '../model/kubernetes.js';

/** Without control characters: what others have named must not steer the terminal of who reads it. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what it is about
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ');
}

/** Columns under their headings, two spaces between them. */
export function tableOf(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [headings, ...rows].map((row) => row.map((cell) => (cell === '' ? '-' : printable(cell))));
  const widths = headings.map((_, column) => Math.max(...lines.map((row) => row[column]?.length ?? 0)));
  return lines
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

/** `a=1,b=2` */
export function labelsText(labels: Readonly<Record<string, string>> = {}): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
}

/** `a=1,b In x|y`; an empty one selects all. */
export function selectorText({ matchLabels, matchExpressions = [] }: LabelSelector): string {
  const expressions = matchExpressions.map(({ key, operator, values = [] }) =>
    `${key} ${operator} ${values.join('|')}`.trim(),
  );
  const parts = [labelsText(matchLabels), ...expressions].filter((part) => part !== '');
  return parts.length === 0 ? '(all)' : parts.join(',');
}
