/** What differs between two sets of lines, as lines: `[]` when nothing does. */
export function differences(wanted: readonly string[], present: readonly string[]): string[] {
  const [left, right] = [new Set(wanted), new Set(present)];
  const twice = present.filter((line, index) => present.indexOf(line) !== index);
  return [
    ...[...left].filter((line) => !right.has(line)).map((line) => `missing: ${line}`),
    ...[...right].filter((line) => !left.has(line)).map((line) => `too many: ${line}`),
    ...twice.map((line) => `twice: ${line}`),
  ];
}
