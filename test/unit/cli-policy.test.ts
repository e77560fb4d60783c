import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse as parseYaml } from 'yaml';
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
  const file = (text: string | Uint8Array) => {
    const path = join(directory, 'policy.yaml');
    writeFileSync(path, text);
    return path;
  };

  it('apply --dry-run tells what would change, and who would be cut off', async () => {
    const args = ['policy', 'apply', '--dry-run', '-f', file(POLICY)];
    expect((await ctl(...args)).out).toBe('nothing would change\n');
    const web = { network: 'blue', namespace: 'default', labels: { app: 'web' }, identity: 256 };
    api.node.preview = {
      changes: [],
      flows: [],
      cut_off: [{ ...web, cut_off_by: ['policy_cidrs_max'] }],
      truncated: false,
    };
    expect((await ctl(...args)).out.split('\n')).toEqual([
      'nothing would change',
      'blue/default[app=web] would be cut off: its rules do not fit into the kernel; remove policies, or raise policy_cidrs_max and restart the node',
      '',
    ]);
    api.node.preview = {
      ...api.node.preview,
      changes: [
        {
          ...{ source: { kind: 'host' }, destination: { kind: 'identity', ...web } },
          ...{ protocol: 'any', ports: 'any', before: 'denied', after: 'allowed' },
        },
      ],
    };
    const { out } = await ctl(...args);
    expect(out).toMatch(/^SOURCE/);
    expect(out).toMatch(
      /host +blue\/default\[app=web\] +any +any +denied +allowed\n\nblue\S+ would be cut off/,
    );
    expect(await json(...args)).toEqual(api.node.preview);
  });

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

  const CLUSTER = `apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata:
  name: guard
  annotations: {quantum.network/mode: audit}
spec:
  tier: Admin
  priority: 5
  subject:
    pods: {namespaceSelector: {matchLabels: {team: a}}, podSelector: {}}
  egress:
  - {action: Deny, to: [{networks: [10.0.0.0/8]}]}
`;

  it('apply takes several documents', async () => {
    const text = `---\n${POLICY}---\n# only a comment\n---\n${CLUSTER}`;
    expect(await ctl('policy', 'apply', '-f', file(text))).toEqual({
      exit: 0,
      out: 'policy default/web applied\npolicy -/guard applied\n',
      err: '',
    });
    expect((await json('policy', 'apply', '-f', file(text))).policies).toHaveLength(2);
  });

  it('apply applies nothing when one document is refused, and names its field', async () => {
    const bad = POLICY.replace('podSelector', 'podSelektor').replace('name: web', 'name: bad');
    const text = `---\n${POLICY}---\n# only a comment\n---\n${bad}---\n${CLUSTER}`;
    const { exit, out, err } = await ctl('policy', 'apply', '-f', file(text));
    expect(out).toBe('');
    expect(err).toContain('error: INVALID_POLICY: ');
    expect(err).toContain('[1].spec.podSelektor: unknown field\n');
    expect(exit).toBe(1);
    expect(api.node.policies.list()).toEqual([]);
  });

  it('apply tells the line of the file where its YAML is broken', async () => {
    const { err } = await ctl('policy', 'apply', '-f', file(`${POLICY}---\nkind: [\n`));
    expect(err).toMatch(/INVALID_JSON: .*line 1[01]/);
  });

  it('list, show and delete', async () => {
    await ctl('policy', 'apply', '-f', file(POLICY));
    expect((await ctl('policy', 'list')).out).toMatch(
      /default +web +NetworkPolicy +- +- +enforce +Ingress +app=web\n$/,
    );
    expect((await json('policy', 'show', 'web')).metadata.name).toBe('web');
    expect((await ctl('policy', 'delete', 'web', '-n', 'other')).exit).toBe(1);
    expect((await ctl('policy', 'delete', 'web')).exit).toBe(0);
    expect(api.node.policies.list()).toEqual([]);
  });

  it('list, show and delete cluster-wide ones under -', async () => {
    expect((await ctl('policy', 'apply', '-f', file(CLUSTER))).out).toBe('policy -/guard made\n');
    expect((await ctl('policy', 'list')).out).toMatch(
      /- +guard +ClusterNetworkPolicy +Admin +5 +audit +Egress +namespaces team=a pods \(all\)\n$/,
    );
    expect((await json('policy', 'show', 'guard', '-n', '-')).spec.tier).toBe('Admin');
    expect((await ctl('policy', 'show', 'guard')).exit).toBe(1);
    expect((await ctl('policy', 'delete', 'guard', '--namespace', '-')).out).toBe('policy -/guard removed\n');
    expect(api.node.policies.list()).toEqual([]);
  });

  it.each([
    ['there is no file', ['-f', '/nonexistent/policy.yaml']],
    ['no file is named', []],
    ['the file is a folder', ['-f', '/tmp']],
    ['the file never ends', ['-f', '/dev/zero']],
  ])('apply is wrong usage when %s', async (_, args) => {
    expect((await ctl('policy', 'apply', ...args)).exit).toBe(2);
  });

  it('apply is wrong usage when the file is not UTF-8', async () => {
    const run = await ctl('policy', 'apply', '-f', file(Buffer.from(`# é\n${POLICY}`, 'latin1')));
    expect(run).toMatchObject({ exit: 2, err: expect.stringContaining('is not UTF-8') });
    expect(api.node.policies.list()).toEqual([]);
  });

  it.each(['', '# nothing\n', '---\n---\n# c\n', '---  # c\n...\n'])(
    'apply is wrong usage when there is nothing in the file: %j',
    async (text) => {
      expect(await ctl('policy', 'apply', '-f', file(text))).toMatchObject({ exit: 2, out: '' });
    },
  );

  it('apply asks the daemon when there is anything in the file', async () => {
    expect(await ctl('policy', 'apply', '-f', file('--- {a: 1}\n'))).toMatchObject({ exit: 1, out: '' });
  });
});
