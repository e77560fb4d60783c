/** Policies that are looked at before they count: a dry run changes nothing, an audited policy drops nothing. */
import { describe, expect, it } from 'vitest';
import type { PolicyChange } from '../../src/model/policy-preview.js';
import type { FlowEvent, PolicyPreview } from '../../src/vnet/contract.js';
import { FAMILIES } from '../support/containers.js';
import { errorOf, policyObject } from '../support/rest.js';
import { useSite } from '../support/site.js';

const site = useSite();

const app = (name: string) => ({ podSelector: { matchLabels: { app: name } } });

function labelled(name: string) {
  return site().container(name, 'blue', { labels: { app: name } });
}

function dryRun(name: string, spec: object): Promise<PolicyPreview> {
  return site().rest.expect('POST', '/policies?dry_run=true', policyObject({ name, spec }));
}

const serviceOf = ({ protocol, destination }: FlowEvent) => `${protocol} ${destination.port}`;

/** `a -> b TCP 80 allowed denied` */
function lines(changes: readonly PolicyChange[]): string[] {
  const who = (party: PolicyChange['source']) => (party.kind === 'identity' ? party.labels.app : party.kind);
  return changes
    .map(({ source, destination, protocol, ports, before, after }) =>
      [who(source), '->', who(destination), protocol, ports, before, after].join(' '),
    )
    .sort();
}

describe('a dry run', () => {
  it('tells who could talk before and not after, and the other way round, and changes nothing', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const [a, b] = [await labelled('a'), await labelled('b')];
    const before = await site().state();
    const spec = { ...app('b'), ingress: [{ from: [app('a')], ports: [{ port: 80 }] }] };
    expect(lines((await dryRun('web', spec)).changes)).toEqual([
      'a -> b ICMP any allowed denied',
      'a -> b SCTP any allowed denied',
      'a -> b TCP 1-79 allowed denied',
      'a -> b TCP 81-65535 allowed denied',
      'a -> b UDP any allowed denied',
      'host -> b any any allowed denied',
      'world -> b any any allowed denied',
    ]);
    expect(await site().state()).toEqual(before);
    for (const family of FAMILIES) {
      expect(await a.dial(b, { family, protocol: 'udp' })).toBe('open');
    }
    await site().rest.apply({ name: 'web', spec });
    expect((await dryRun('web', spec)).changes).toEqual([]);
    expect(lines((await dryRun('web', { ...spec, ingress: [{}] })).changes)).toContain(
      'a -> b TCP 81-65535 denied allowed',
    );
  });

  it('tells the recorded flows that would have been dropped', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const [a, b] = [await labelled('a'), await labelled('b')];
    expect(await a.dial(b, { port: 80 })).toBe('open');
    expect(await a.dial(b, { port: 53, protocol: 'udp' })).toBe('open');
    const recorded = async () => (await site().rest.flows('&container_id=b&verdict=allowed')).map(serviceOf);
    await expect.poll(recorded).toEqual(expect.arrayContaining(['TCP 80', 'UDP 53']));
    const { flows, truncated } = await dryRun('web', { ...app('b'), ingress: [{ ports: [{ port: 80 }] }] });
    const ours = flows.filter(({ source }) => source.ip === a.address(4));
    expect(ours.map(serviceOf)).toEqual(['UDP 53']);
    expect(truncated).toBe(false);
  });

  it('refuses what the policy itself would be refused for', async () => {
    const bad = await site().rest.call(
      'POST',
      '/policies?dry_run=true',
      policyObject({ name: 'x', spec: { ingress: 1 } }),
    );
    expect([bad.status, errorOf(bad).code]).toEqual([422, 'INVALID_POLICY']);
    const query = await site().rest.call(
      'POST',
      '/policies?dry_run=maybe',
      policyObject({ name: 'x', spec: app('a') }),
    );
    expect([query.status, errorOf(query).code]).toEqual([400, 'INVALID_REQUEST']);
    expect(await site().rest.expect('GET', '/policies')).toEqual({ policies: [] });
  });
});

describe.each(FAMILIES)('an audited policy, IPv%i:', (family) => {
  it('drops nothing; flows and counters tell what it would have dropped', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    const [a, b] = [await labelled(`a${family}`), await labelled(`b${family}`)];
    const object = policyObject({
      name: 'shut',
      spec: { ...app(`b${family}`), ingress: [{ ports: [{ port: 80 }] }] },
    }) as {
      metadata: object;
    };
    const annotations = { 'quantum.network/mode': 'audit' };
    await site().rest.expect('POST', '/policies', {
      ...object,
      metadata: { ...object.metadata, annotations },
    });
    expect(await a.dial(b, { family, port: 80 })).toBe('open');
    expect(await a.dial(b, { family, port: 53, protocol: 'udp' })).toBe('open');
    const audited = async (): Promise<FlowEvent[]> =>
      (await site().rest.flows(`&audited=true&container_id=${a.id}`)).filter(
        ({ source, protocol }) => source.ip === a.address(family) && protocol === 'UDP',
      );
    await expect.poll(async () => (await audited()).length).toBeGreaterThan(0);
    for (const event of await audited()) {
      expect(event).toMatchObject({
        verdict: 'allowed',
        destination: { port: 53 },
        audit: { verdict: 'dropped', reason: 'POLICY_INGRESS', isolated_by: ['default/shut'] },
      });
    }
    const answer = await site().rest.expect('POST', '/explain', {
      from: a.id,
      to: b.id,
      port: 53,
      protocol: 'udp',
      family,
    });
    expect(answer).toMatchObject({
      verdict: 'allowed',
      audited: { verdict: 'dropped', reason: 'POLICY_INGRESS', isolated_by: ['default/shut'] },
      agreed: true,
    });
    const { text } = await site().rest.call('GET', '/metrics');
    const counts = (metric: string, reason: string) =>
      text
        .split('\n')
        .filter(
          (line) =>
            line.startsWith(`${metric}{`) && line.includes(`reason="${reason}",container_id="${a.id}"`),
        );
    expect(counts('quantum_audit_denied_packets_total', 'POLICY_INGRESS')).toHaveLength(1);
    expect(counts('quantum_packets_total', 'POLICY_INGRESS')).toEqual([]);
    expect(counts('quantum_packets_total', 'NONE')).toHaveLength(1);
  });
});
