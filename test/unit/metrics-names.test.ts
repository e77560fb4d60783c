import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { METRIC_NAMES, METRICS, type MetricInfo } from '../../src/metrics/names.js';

const root = join(import.meta.dirname, '../..');

describe('names', () => {
  it.each(Object.values(METRICS) as MetricInfo[])('$name follows the conventions', ({ name, type, help }) => {
    expect(name).toMatch(/^quantum_[a-z_]+$/);
    expect(name.endsWith('_total')).toBe(type === 'counter');
    expect(help.length).toBeGreaterThan(5);
  });

  it.each(Object.values(METRICS) as MetricInfo[])(
    'docs/metrics.md has a row for $name',
    ({ name, type, labels, help }) => {
      const page = readFileSync(join(root, 'docs/metrics.md'), 'utf8');
      const shown = labels.map((label) => `\`${label}\``).join(', ');
      expect(page).toContain(`| \`${name}\` | ${type} | ${shown} | ${help} |\n`);
    },
  );

  it('docs and dashboard know no metric that does not exist, and the dashboard shows each one', () => {
    const known = new Set([
      ...METRIC_NAMES,
      ...['bucket', 'count', 'sum'].map((part) => `${METRICS.requests.name}_${part}`),
    ]);
    const named = (file: string) =>
      new Set(readFileSync(join(root, file), 'utf8').match(/quantum_[a-z_]*[a-z]/g) ?? []);
    expect([...named('docs/metrics.md')].filter((name) => !known.has(name))).toEqual([]);
    const shown = named('dashboards/quantum.json');
    expect([...shown].filter((name) => !known.has(name))).toEqual([]);
    const missing = METRIC_NAMES.filter((name) => ![...shown].some((other) => other.startsWith(name)));
    expect(missing).toEqual([]);
  });
});
