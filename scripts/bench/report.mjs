/** The lines of the result: what was measured, beside whom, and whether the goal is met. */

/**
 * @typedef {object} Line
 * @property {string} part
 * @property {string} what
 * @property {string} unit
 * @property {number} ours
 * @property {string} [other] Who it is compared with.
 * @property {number} [theirs]
 * @property {number} [ratio] ours / theirs
 * @property {string} [goal] Such as `>= 0.9`: of the ratio, or without `other` of the value itself.
 * @property {boolean} [met]
 */

const COLUMNS = ['what', 'ours', 'beside', 'theirs', 'ratio', 'goal', 'met'];

/**
 * @param {{part: string, what: string, unit: string, ours: number, other?: string, theirs?: number, goal?: string}} line
 * @returns {Line}
 */
export function line({ goal, ...measured }) {
  const { ours, theirs } = measured;
  const ratio = theirs === undefined ? undefined : ours / theirs;
  const judged = goal === undefined ? {} : { goal, met: isMet(ratio ?? ours, goal) };
  return { ...measured, ...(ratio === undefined ? {} : { ratio }), ...judged };
}

function isMet(value, goal) {
  const [sign, limit] = goal.split(' ');
  return sign === '>=' ? value >= Number(limit) : value <= Number(limit);
}

/** As text, in columns. */
export function table(lines) {
  const rows = [COLUMNS, ...lines.map(cells)];
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const text = (row) =>
    row
      .map((cell, column) =>
        column === 0 || column === 2 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]),
      )
      .join('  ')
      .trimEnd();
  return [text(rows[0]), text(widths.map((width) => '-'.repeat(width))), ...rows.slice(1).map(text)].join(
    '\n',
  );
}

/** As a table of Markdown. */
export function markdown(lines) {
  const row = (cellsOfRow) => `| ${cellsOfRow.join(' | ')} |`;
  return [row(COLUMNS), row(COLUMNS.map(() => '---')), ...lines.map((each) => row(cells(each)))].join('\n');
}

function cells({ part, what, unit, ours, other, theirs, ratio, goal, met }) {
  return [
    `${part}: ${what}`,
    `${number(ours)} ${unit}`,
    other ?? '',
    theirs === undefined ? '' : `${number(theirs)} ${unit}`,
    ratio === undefined ? '' : ratio.toFixed(2),
    goal ?? '',
    met === undefined ? '' : met ? 'yes' : 'NO',
  ];
}

/** Three digits that mean something, and every digit before the point. */
function number(value) {
  return Math.abs(value) >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}
