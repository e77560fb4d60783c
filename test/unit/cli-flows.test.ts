import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { runQuantumctl } from '../../src/cli/quantumctl.js';
import type { FlowEvent } from '../../src/vnet/contract.js';
import { runCtl, sink } from '../support/ctl.js';
import { type ServedApi, servedApi } from '../support/fake-api.js';

let api: ServedApi;
beforeEach(async () => {
  api = await servedApi();
});
afterEach(() => api.close());

const ctl = (...args: string[]) => runCtl(['--socket', api.socketPath, ...args]);

describe('flows', () => {
  const event: FlowEvent = {
    time: '2026-01-02T03:04:05.000Z',
    verdict: 'dropped',
    reason: 'POLICY_DENIED',
    direction: 'egress',
    network: 'front',
    protocol: 'TCP',
    source: { kind: 'endpoint', container_id: 'web1', ip: '10.1.0.2', port: 40000 },
    destination: { kind: 'world', ip: '2001:db8::1', port: 443 },
    egress_rule: 'default/web egress[0]',
    bytes: 60,
  };

  it('are a sentence each, or the lines of the API', async () => {
    api.node.emit(event);
    expect((await ctl('flows')).out).toBe(
      '2026-01-02T03:04:05.000Z dropped POLICY_DENIED egress front TCP web1(10.1.0.2:40000) -> world([2001:db8::1]:443) by default/web egress[0]\n',
    );
    expect((await ctl('flows', '-o', 'json')).out).toBe(`${JSON.stringify(event)}\n`);
    expect(parseYaml((await ctl('flows', '-o', 'yaml')).out)).toEqual(event);
  });

  it('tell what isolates a side, and what the audited policies would have done', async () => {
    const { egress_rule, ...ruleless } = event;
    api.node.emit({ ...ruleless, reason: 'POLICY_EGRESS', isolated_by: ['default/deny'] });
    api.node.emit({
      ...event,
      verdict: 'allowed',
      audit: { verdict: 'dropped', reason: 'POLICY_INGRESS_DENY', ingress_rule: 'default/deny-x ingress[0]' },
    });
    const parties = 'egress front TCP web1(10.1.0.2:40000) -> world([2001:db8::1]:443)';
    const [isolated, audited] = (await ctl('flows')).out.trimEnd().split('\n');
    expect(isolated).toBe(`${event.time} dropped POLICY_EGRESS ${parties}, isolated by default/deny`);
    expect(audited).toBe(
      `${event.time} allowed ${parties} by ${egress_rule}; would be dropped POLICY_INGRESS_DENY by default/deny-x ingress[0] (audit)`,
    );
    expect((await ctl('flows', '--audited')).out.trimEnd()).toBe(audited);
  });

  it('are filtered by the daemon', async () => {
    api.node.emit(event);
    expect((await ctl('flows', '--verdict', 'allowed')).out).toBe('');
    expect((await ctl('flows', '--container-id', 'web1', '--network', 'front', '--limit', '1')).out).not.toBe(
      '',
    );
    expect(await ctl('flows', '--verdict', 'maybe')).toMatchObject({ exit: 1 });
  });

  it('--follow goes on until the daemon stops', async () => {
    let seen = () => {};
    const first = new Promise<void>((resolve) => {
      seen = resolve;
    });
    const [out, err] = [sink(() => seen()), sink()];
    const argv = ['--socket', api.socketPath, 'flows', '--follow'];
    const done = runQuantumctl({
      argv,
      env: {},
      stdin: Readable.from([]),
      stdout: out.stream,
      stderr: err.stream,
    });
    await expect.poll(() => api.node.watchers.size).toBe(1);
    api.node.emit(event);
    await first;
    await api.server.close();
    expect(await done).toBe(0);
    expect(out.text()).toContain('POLICY_DENIED');
  });

  it('cannot steer the terminal', async () => {
    api.node.emit({ ...event, reason: 'X\u001b[2J\u009b' });
    const { out } = await ctl('flows');
    expect(out).toContain('dropped X [2J  egress');
    for (const control of ['\u001b', '\u009b']) expect(out).not.toContain(control);
  });
});
