import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseAllDocuments, parse as parseYaml } from 'yaml';
import { documentsOf } from '../../src/cli/commands/policy.js';
import { runCtl } from '../support/ctl.js';
import { type ServedApi, servedApi } from '../support/fake-api.js';

let api: ServedApi;
let directory: string;
beforeEach(async () => {
  api = await servedApi();
  directory = mkdtempSync(join(tmpdir(), 'quantum-cli-'));
});
afterEach(async () => {
  await api.close();
  rmSync(directory, { recursive: true });
});

const ctl = (...args: string[]) => runCtl(['--socket', api.socketPath, ...args]);
const json = async (...args: string[]) => JSON.parse((await ctl(...args, '-o', 'json')).out);

const POLICY = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web
spec:
  podSelector:
    matchLabels: {app: web}
`;

describe('policy', () => {
  const file = (text: string) => {
    const path = join(directory, 'policy.yaml');
    writeFileSync(path, text);
    return path;
  };

  it('apply makes what is in the file and says what it did', async () => {
    expect(await ctl('policy', 'apply', '-f', file(POLICY))).toEqual({
      exit: 0,
      out: 'policy default/web made\n',
      err: '',
    });
    expect((await ctl('policy', 'apply', '-f', file(POLICY))).out).toBe('policy default/web replaced\n');
  });

  it('apply -f - reads standard input, JSON too', async () => {
    const text = JSON.stringify(parseYaml(POLICY));
    const { exit } = await runCtl(['--socket', api.socketPath, 'policy', 'apply', '-f', '-'], {
      stdin: text,
    });
    expect(exit).toBe(0);
    expect(api.node.policies.list()).toHaveLength(1);
  });

  it('apply takes several documents; one that is refused does not stop the others', async () => {
    const bad = POLICY.replace('podSelector', 'podSelektor').replace('name: web', 'name: bad');
    const text = `---\n${POLICY}---\n# only a comment\n---\n${bad}---\n${POLICY.replace('name: web', 'name: db')}`;
    const { exit, out, err } = await ctl('policy', 'apply', '-f', file(text));
    expect(out).toBe('policy default/web made\npolicy default/db made\n');
    expect(err).toContain('error: INVALID_POLICY: ');
    expect(err).toContain('  spec.podSelektor: unknown field\n');
    expect(exit).toBe(1);
  });

  it('apply tells the line of the file where its YAML is broken', async () => {
    const { err } = await ctl('policy', 'apply', '-f', file(`${POLICY}---\nkind: [\n`));
    expect(err).toMatch(/INVALID_JSON: .*line 1[01]/);
  });

  it('list, show and delete', async () => {
    await ctl('policy', 'apply', '-f', file(POLICY));
    expect((await ctl('policy', 'list')).out).toMatch(/default +web +Ingress +app=web\n$/);
    expect((await json('policy', 'show', 'web')).metadata.name).toBe('web');
    expect((await ctl('policy', 'delete', 'web', '-n', 'other')).exit).toBe(1);
    expect((await ctl('policy', 'delete', 'web')).exit).toBe(0);
    expect(api.node.policies.list()).toEqual([]);
  });

  it.each([
    ['there is no file', ['-f', '/nonexistent/policy.yaml']],
    ['no file is named', []],
  ])('apply is wrong usage when %s', async (_, args) => {
    expect((await ctl('policy', 'apply', ...args)).exit).toBe(2);
  });

  it('apply is wrong usage when the file is empty', async () => {
    expect(await ctl('policy', 'apply', '-f', file('# nothing\n'))).toMatchObject({ exit: 2, out: '' });
  });

  it.each([
    ['a', 1],
    ['---\na\n', 1],
    ['a\n---\nb', 2],
    ['--- # first\na: 1\n--- {b: 2}\n', 2],
    ['a: |\n  ---\n  text\n', 1],
    ['', 0],
    ['---\n---\n# c\n', 0],
    ['a\n...\n---\n', 1],
  ])('the documents of %j are %d, as the YAML library sees them', (text, count) => {
    expect(documentsOf(text)).toHaveLength(count);
    const known = parseAllDocuments(text);
    const filled = Array.isArray(known) ? known.filter((document) => document.toJS() !== null) : [];
    expect(filled).toHaveLength(count);
    expect(documentsOf(text).map((part) => parseYaml(part))).toEqual(
      filled.map((document) => document.toJS()),
    );
  });
});
