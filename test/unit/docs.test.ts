import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DROP_REASONS, DropReason } from '../../src/datapath/abi/generated.js';

const root = join(import.meta.dirname, '../..');
const GENERATED = ['src/datapath/abi/generated.ts', 'docs/drop-reasons.md'];

describe('drop reasons', () => {
  const page = readFileSync(join(root, 'docs/drop-reasons.md'), 'utf8');

  it('are all listed', () => {
    expect(DROP_REASONS.map(({ value }) => value)).toEqual(
      Array.from({ length: DropReason.COUNT }, (_, n) => n),
    );
  });

  it.each(DROP_REASONS)('$name has a text and a row in the docs', ({ value, name, text }) => {
    expect(text.length).toBeGreaterThan(10);
    expect(page).toContain(`| ${value} | \`${name}\` | ${text} |`);
  });

  it('differ in their texts', () => {
    expect(new Set(DROP_REASONS.map(({ text }) => text)).size).toBe(DROP_REASONS.length);
  });
});

it('the committed generated files are what the headers say', () => {
  const check = spawnSync('node', ['scripts/gen.mjs', '--check'], { cwd: root, encoding: 'utf8' });
  expect(check.stderr).toBe('');
  expect(check.status).toBe(0);
});

describe('the generator', () => {
  let copy: string;
  beforeEach(() => {
    copy = mkdtempSync(join(tmpdir(), 'quantum-gen-'));
    const wanted = (path: string) => !path.endsWith('/bpf/build');
    for (const part of ['bpf', 'scripts'])
      cpSync(join(root, part), join(copy, part), { recursive: true, filter: wanted });
    for (const file of GENERATED) {
      mkdirSync(dirname(join(copy, file)), { recursive: true });
      cpSync(join(root, file), join(copy, file));
    }
  });
  afterEach(() => rmSync(copy, { recursive: true }));

  const generate = (...options: string[]) =>
    spawnSync('node', ['scripts/gen.mjs', ...options], { cwd: copy, encoding: 'utf8' });
  const edit = (file: string, from: string | RegExp, to: string) => {
    const path = join(copy, file);
    const before = readFileSync(path, 'utf8');
    const after = before.replace(from, to);
    expect(after).not.toBe(before);
    writeFileSync(path, after);
  };

  it('with --check names each stale file, changes nothing and fails', () => {
    edit('docs/drop-reasons.md', 'cut short', 'CUT SHORT');
    edit('bpf/lib/config.h', 'udp_s, 60', 'udp_s, 61');
    const check = generate('--check');
    expect(check.status).toBe(1);
    for (const file of GENERATED) expect(check.stderr).toContain(file);
    expect(readFileSync(join(copy, 'docs/drop-reasons.md'), 'utf8')).toContain('CUT SHORT');

    expect(generate().status).toBe(0);
    expect(generate('--check').status).toBe(0);
    expect(readFileSync(join(copy, 'src/datapath/abi/generated.ts'), 'utf8')).toContain('default: 61,');
  });

  it('refuses a setting without a sentence', () => {
    edit('bpf/lib/config.h', /(udp_s, 60, )"[^"]*"/, '$1""');
    const run = generate();
    expect(run.status).toBe(1);
    expect(run.stderr).toContain('config_udp_s has no sentence');
  });

  it('refuses a drop reason without a text', () => {
    edit('bpf/abi/event.h', /(X\(TRUNCATED, 2, )"[^"]*"/, '$1""');
    const run = generate();
    expect(run.status).toBe(1);
    expect(run.stderr).toContain('TRUNCATED has no text');
  });

  it('refuses a shared struct with a hole', () => {
    edit('bpf/abi/policy.h', /(struct control \{\n\t__u32 policy_epoch;[^\n]*\n\t)__u32 pad/, '$1__u64 pad');
    const run = spawnSync('make', ['-C', join(copy, 'bpf'), 'build/abi.bpf.o'], { encoding: 'utf8' });
    expect(run.status).not.toBe(0);
    expect(run.stderr).toContain('padding struct');
  });
});
