import { afterEach, beforeEach, expect, it } from 'vitest';
import type { ExplainRequest, Explanation } from '../../src/model/explanation.js';
import { runCtl } from '../support/ctl.js';
import { type ServedApi, servedApi } from '../support/fake-api.js';

let api: ServedApi;
beforeEach(async () => {
  api = await servedApi();
});
afterEach(() => api.close());

const ctl = (...args: string[]) => runCtl(['--socket', api.socketPath, ...args]);

const ANSWER: Explanation = {
  verdict: 'dropped',
  reason: 'POLICY_INGRESS',
  reason_text: 'no rule lets the destination receive this',
  source: {
    kind: 'endpoint',
    container_id: 'a',
    network: 'blue',
    namespace: 'default',
    labels: { app: 'a' },
    ip: '10.1.0.2',
    identity: 300,
  },
  destination: {
    kind: 'endpoint',
    container_id: 'b',
    network: 'blue',
    namespace: 'default',
    labels: {},
    ip: '10.1.0.3',
    identity: 301,
  },
  protocol: 'TCP',
  port: 80,
  egress: { verdict: 'allowed', tier: 'default', rule: 'isolation none of network blue' },
  ingress: { verdict: 'denied', tier: 'network-policy', isolated_by: ['default/shut'] },
  audited: { verdict: 'allowed', reason: 'NONE', ingress_rule: 'default/soon ingress[0]' },
  agreed: false,
};

it('explain asks what its flags say, and tells the answer', async () => {
  const asked: ExplainRequest[] = [];
  api.node.explanations.explain = async (request) => {
    asked.push(request);
    return ANSWER;
  };
  const args = ['--port', '80', '--protocol', 'tcp', '--network', 'blue', '--family', '4'];
  const { out, exit } = await ctl('explain', 'a', '10.1.0.3', ...args);
  expect(exit).toBe(0);
  expect(asked).toEqual([
    { from: 'a', to: '10.1.0.3', port: 80, protocol: 'TCP', network: 'blue', family: 4 },
  ]);
  expect(out.split('\n')).toEqual([
    'dropped: POLICY_INGRESS, no rule lets the destination receive this',
    '  a(10.1.0.2 blue app=a) -> b(10.1.0.3 blue) TCP port 80',
    '  egress:  allowed by isolation none of network blue (default)',
    '  ingress: denied by default (network-policy), isolated by default/shut',
    '  would be allowed by default/soon ingress[0] (audit)',
    '  the compiled policy says otherwise: see the log of the daemon',
    '',
  ]);
  expect(JSON.parse((await ctl('explain', 'a', 'b', '-o', 'json')).out)).toEqual(ANSWER);
  expect(asked[1]).toEqual({ from: 'a', to: 'b' });
});

it('who is cut off is told with what leaves no room', async () => {
  api.node.explanations.explain = async () => ({
    ...ANSWER,
    egress: { verdict: 'denied', cut_off_by: ['policy_max', 'subjects_max'] },
    ingress: { verdict: 'denied', cut_off_by: [] },
  });
  expect((await ctl('explain', 'a', 'b')).out.split('\n').slice(2, 4)).toEqual([
    '  egress:  cut off: its rules do not fit into the kernel; remove policies, or raise policy_max and subjects_max and restart the node',
    '  ingress: cut off: its rules do not fit into the kernel; remove policies',
  ]);
});

it('what is not right is told', async () => {
  expect(await ctl('explain', 'a')).toMatchObject({ exit: 2 });
  expect((await ctl('explain', 'a', 'b', '--protocol', 'udp')).err).toContain('UDP needs a port');
  expect((await ctl('explain', 'a', 'b')).err).toContain('CONTAINER_NOT_FOUND');
});
