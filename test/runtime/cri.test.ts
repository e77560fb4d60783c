/** containerd through CRI, as Kubernetes uses it. */
import { describe, expect, it } from 'vitest';
import { POD_NAME_LABEL } from '../../src/cni/request.js';
import type { EndpointList } from '../../src/model/endpoint.js';
import { Cri } from './cri.js';
import { useRuntimeNode } from './node.js';

const LONG = { timeout: 180_000 };
const SERVER = 'while :; do nc -l -p 80 -e /bin/cat; done';

const node = useRuntimeNode({ uplink: 'auto' });
const endpoints = async () => (await node().site.rest.expect<EndpointList>('GET', '/endpoints')).endpoints;

describe('a pod of containerd', () => {
  it('has one endpoint for its containers, with labels of its annotation and its names', LONG, async () => {
    const { site } = node();
    await site.network('pods', { isolation_mode: 'peer' });
    await using cri = await Cri.start(node());
    expect(await cri.networkReady()).toMatchObject({ status: true });

    const pod = await cri.pod('web-0', {
      namespace: 'shop',
      annotations: { 'quantum.network/labels': 'app=web,tier=front', 'kubernetes.io/other': 'x' },
      port_mappings: [{ container_port: 80, host_port: 8080 }],
    });
    const [endpoint, ...others] = await endpoints();
    expect(others).toEqual([]);
    expect(endpoint).toMatchObject({
      network: 'pods',
      container_id: pod.id,
      namespace: 'shop',
      labels: { app: 'web', tier: 'front', [POD_NAME_LABEL]: 'web-0' },
      ports: [{ container_port: 80, host_port: 8080, protocol: 'TCP' }],
      state: 'ready',
    });
    expect(await pod.addresses()).toEqual([endpoint?.ip_address, endpoint?.ip6_address]);

    const server = await pod.container('server', '/bin/sh', '-c', SERVER);
    const sidecar = await pod.container('sidecar', '/bin/sleep', 'infinity');
    const ask = (address: string) => ['/bin/sh', '-c', `echo hello | nc -w 2 ${address} 80`];
    await expect.poll(() => pod.exec(sidecar, ...ask('127.0.0.1')), { timeout: 20_000 }).toBe('hello\n');
    // The link-local address may still be looked for elsewhere: it says so until it is not.
    const show = ['/bin/ip', 'address', 'show', 'dev', 'eth0', 'scope', 'global'];
    expect(await pod.exec(sidecar, ...show)).toBe(await pod.exec(server, ...show));

    const other = await cri.pod('client-0');
    const client = await other.container('client', '/bin/sleep', 'infinity');
    // Between two connections the server does not listen.
    const answer = () => other.exec(client, ...ask(String(endpoint?.ip_address)));
    await expect.poll(answer, { timeout: 20_000 }).toBe('hello\n');

    await pod.remove();
    await other.remove();
    expect(await endpoints()).toEqual([]);
  });

  it(
    'is reached from outside by its ports of the node, under the policy of the client itself',
    LONG,
    async () => {
      const { site } = node();
      const outside = await site.outside({ isUplink: true });
      const uplink = async () => (await site.rest.expect<{ uplink?: object }>('GET', '/readyz')).uplink;
      await expect.poll(uplink).toMatchObject({ interface: 'uplink', ip6_address: outside.nodeAddress(6) });
      await site.network('pods', { options: { masquerade: true } });
      await using cri = await Cri.start(node());
      const pod = await cri.pod('web-0', {
        annotations: { 'quantum.network/labels': 'app=web' },
        port_mappings: [{ container_port: 80, host_port: 8080 }],
      });
      const server = await pod.container('server', '/bin/sh', '-c', SERVER);
      const ask = ['/bin/sh', '-c', 'echo hello | nc -w 2 127.0.0.1 80'];
      await expect.poll(() => pod.exec(server, ...ask), { timeout: 20_000 }).toBe('hello\n');
      const dial = (family: 4 | 6, expected: string) =>
        outside.dial(outside.nodeAddress(family), { port: 8080, expected });

      expect(await dial(4, 'blocked')).toBe('blocked');
      await site.rest.apply({
        name: 'web-from-outside',
        spec: {
          podSelector: { matchLabels: { app: 'web' } },
          ingress: [{ from: [{ ipBlock: { cidr: `${outside.address(4)}/32` } }], ports: [{ port: 80 }] }],
        },
      });
      await expect.poll(() => dial(4, 'open'), { timeout: 20_000 }).toBe('open');
      // The policy speaks of one address of the client, and of no other.
      expect(await dial(6, 'blocked')).toBe('blocked');
      await pod.remove();
      expect(await dial(4, 'blocked')).not.toBe('open');
    },
  );

  it('talks by policy of its namespace', LONG, async () => {
    const { site } = node();
    await site.network('pods');
    await using cri = await Cri.start(node());
    await site.rest.apply({
      name: 'web-from-client',
      namespace: 'shop',
      spec: {
        podSelector: { matchLabels: { app: 'web' } },
        ingress: [{ from: [{ podSelector: { matchLabels: { app: 'client' } } }], ports: [{ port: 80 }] }],
      },
    });
    await site.rest.apply({
      name: 'out',
      namespace: 'shop',
      spec: { podSelector: {}, policyTypes: ['Egress'], egress: [{}] },
    });
    const make = (name: string, app: string) =>
      cri.pod(name, { namespace: 'shop', annotations: { 'quantum.network/labels': `app=${app}` } });
    const web = await make('web', 'web');
    await web.container('server', '/bin/sh', '-c', SERVER);
    const [address = ''] = await web.addresses();
    const ask = async (app: string) => {
      const pod = await make(`${app}-0`, app);
      const id = await pod.container('main', '/bin/sleep', 'infinity');
      return await pod.exec(id, '/bin/sh', '-c', `echo hello | nc -w 2 ${address} 80`);
    };
    expect(await ask('client')).toBe('hello\n');
    expect(await ask('stranger')).toBe('');
  });

  it('is limited as its annotations say', LONG, async () => {
    await node().site.network('pods');
    await using cri = await Cri.start(node());
    const annotations = {
      'kubernetes.io/ingress-bandwidth': '10M',
      'kubernetes.io/egress-bandwidth': '1M',
    };
    const pod = await cri.pod('limited', { annotations });
    // No bursts: the annotations say none.
    const limits = { ingress_rate: 10_000_000, egress_rate: 1_000_000 };
    expect((await endpoints()).map(({ options }) => options?.bandwidth)).toEqual([limits]);
    await pod.remove();
    expect(await endpoints()).toEqual([]);
  });

  it('that is stopped while the daemon is away is taken off when it is back', LONG, async () => {
    const { daemon } = node().site;
    await node().site.network('pods');
    await using cri = await Cri.start(node());
    const pod = await cri.pod('web-0');
    await daemon.stop();
    await expect(cri.pod('late')).rejects.toThrow('systemctl start quantum-api');
    await pod.remove();
    await daemon.start();
    expect(await endpoints()).toEqual([]);
  });

  it('outlives containerd, which takes it off after a restart', LONG, async () => {
    await node().site.network('pods');
    await using cri = await Cri.start(node());
    const pod = await cri.pod('web-0');
    await cri.containerd.kill();
    await cri.restart();
    expect(await endpoints()).toMatchObject([{ container_id: pod.id, state: 'ready' }]);
    await pod.remove();
    expect(await endpoints()).toEqual([]);
  });
});
