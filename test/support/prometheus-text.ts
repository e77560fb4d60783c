/** The text format of Prometheus, read as strictly as it is defined. */
import { expect } from 'vitest';
import type { MetricInfo } from '../../src/metrics/names.js';

export interface Series {
  name: string;
  labels: Record<string, string>;
  value: number;
}
export interface Scrape {
  types: Map<string, string>;
  series: Series[];
}

/** Reads the text format of Prometheus, version 0.0.4, and fails on what it does not allow. */
export function parseMetrics(text: string): Scrape {
  const types = new Map<string, string>();
  const series: Series[] = [];
  const seen = new Set<string>();
  let family = '';
  expect(text.endsWith('\n')).toBe(true);
  for (const line of text.split('\n').filter((part) => part !== '')) {
    const comment = /^# (HELP|TYPE) ([a-z_0-9]+) (.+)$/.exec(line);
    if (comment !== null) {
      const [, kind, name = '', rest = ''] = comment;
      family = name;
      if (kind === 'TYPE') {
        expect(types.has(name), `a second ${line}`).toBe(false);
        types.set(name, rest);
      }
      continue;
    }
    const match = /^([a-z_0-9]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    expect(match, line).not.toBeNull();
    const [, name = '', labelText = '', value = ''] = match ?? [];
    expect(name.replace(/_(?:bucket|sum|count)$/, ''), line).toBe(
      family.replace(/_(?:bucket|sum|count)$/, ''),
    );
    const labels = [...labelText.matchAll(/([a-z_]+)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/g)];
    expect(labels.map(([part]) => part).join(''), line).toBe(labelText);
    const key = line.slice(0, line.lastIndexOf(' '));
    expect(seen.has(key), `a second ${key}`).toBe(false);
    seen.add(key);
    expect(Number.isNaN(Number(value)) && value !== 'Nan', line).toBe(false);
    series.push({
      name,
      labels: Object.fromEntries(labels.map(([, label = '', content = '']) => [label, content])),
      value: Number(value),
    });
  }
  return { types, series };
}

/** Labels and value of each series of a metric. */
export function valuesOf({ series }: Scrape, { name }: MetricInfo) {
  return series.filter((entry) => entry.name === name).map(({ labels, value }) => ({ ...labels, value }));
}
