/** What the node itself may reach of its containers: the setting host_access. */
import { describe, expect, it } from 'vitest';
import { type Container, FAMILIES, type Family } from '../support/containers.js';
import { clusterPolicy } from '../support/policy-objects.js';
import { portsUnlike, unlikeBoth } from '../support/reach.js';
import { type Site, useSite } from '../support/site.js';

const app = (name: string) => ({ podSelector: { matchLabels: { app: name } } });
const labelled = (site: Site, name: string): Promise<Container> =>
  site.container(name, 'blue', { labels: { app: name } });
/** The node's addresses in the network of a container. */
const gatewayBlocks = (container: Container) =>
  FAMILIES.map((family) => ({
    ipBlock: { cidr: `${container.gateway(family)}/${family === 4 ? 32 : 128}` },
  }));

describe('host_access: policy', () => {
  const site = useSite();

  it('in a network of mode full the node reaches what policies let it reach, by its address', async () => {
    await site().network('blue', { isolation_mode: 'full' });
    const [a, b] = [await labelled(site(), 'a'), await labelled(site(), 'b')];
    const outside = await site().outside();
    expect(await unlikeBoth('blocked', [site().host, a], [site().host, b], [outside, a])).toEqual([]);
    const ingress = [{ from: gatewayBlocks(a), ports: [{ port: 80 }] }];
    await site().rest.apply({ name: 'probes', spec: { ...app('a'), ingress } });
    expect(await portsUnlike('open', [site().host, a], 'tcp:80')).toEqual([]);
    expect(await portsUnlike('blocked', [site().host, a], 'tcp:81', 'udp:53')).toEqual([]);
    expect(await unlikeBoth('blocked', [site().host, b], [b, a], [outside, a])).toEqual([]);
  });

  it('a network of mode peer lets the node in no more than anybody else of the outside', async () => {
    await site().network('blue', { isolation_mode: 'peer' });
    const a = await labelled(site(), 'a');
    const gateway = (family: Family) => a.gateway(family);
    expect(await unlikeBoth('blocked', [site().host, a], [a, gateway])).toEqual([]);
  });
});

describe('host_access: full', () => {
  const site = useSite({ settings: { host_access: 'full' } });

  it('the node reaches every container whatever policies say, and is not reached for that', async () => {
    await site().network('blue', { isolation_mode: 'full' });
    const [a, b] = [await labelled(site(), 'a'), await labelled(site(), 'b')];
    const outside = await site().outside();
    const gateway = (family: Family) => a.gateway(family);
    await site().host.serve('tcp:80', 'udp:53');
    expect(await unlikeBoth('open', [site().host, a])).toEqual([]);
    await site().rest.apply({
      name: 'deny',
      spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'] },
    });
    await site().rest.applyAll(
      clusterPolicy('lockdown', {
        priority: 0,
        ingress: [{ action: 'Deny', from: [{ namespaces: {} }] }],
        egress: [{ action: 'Deny', to: [{ networks: ['0.0.0.0/0', '::/0'] }] }],
      }),
    );
    expect(await unlikeBoth('open', [site().host, a], [site().host, b])).toEqual([]);
    expect(await unlikeBoth('blocked', [a, gateway], [a, b], [outside, a])).toEqual([]);
  });
});
