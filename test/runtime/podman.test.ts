/** Podman with the network backend `cni`, on networks whose configurations the daemon wrote. */
import { describe, expect, it } from 'vitest';
import { POD_NAME_LABEL } from '../../src/cni/request.js';
import type { EndpointList } from '../../src/model/endpoint.js';
import { IMAGE } from './image.js';
import { useRuntimeNode } from './node.js';
import { Podman } from './podman.js';

const LONG = { timeout: 180_000 };
const SERVER = 'while :; do nc -l -p 80 -e /bin/cat; done';

const node = useRuntimeNode({ uplink: 'auto' });
const endpoints = async () => (await node().site.rest.expect<EndpointList>('GET', '/endpoints')).endpoints;

/** A Podman with a network that lets nobody talk unless a policy does. */
async function start(): Promise<Podman> {
  await node().site.network('my-network');
  return Podman.start(node());
}

/** Starts a container that lives on. */
function background(podman: Podman, name: string, options: string[], ...command: string[]) {
  return podman.container(
    '--detach',
    '--name',
    name,
    '--network',
    'my-network',
    ...options,
    IMAGE,
    ...command,
  );
}

const asks = (address: string) => ['/bin/sh', '-c', `echo hello | nc -w 2 ${address} 80`];

describe('podman run --network', () => {
  it('two containers talk by policy, and a third does not', LONG, async () => {
    const { rest } = node().site;
    await using podman = await start();
    await rest.apply({
      name: 'server-from-client',
      spec: {
        podSelector: { matchLabels: { [POD_NAME_LABEL]: 'server' } },
        ingress: [
          { from: [{ podSelector: { matchLabels: { [POD_NAME_LABEL]: 'client' } } }], ports: [{ port: 80 }] },
        ],
      },
    });
    await rest.apply({
      name: 'everybody-out',
      spec: { podSelector: {}, policyTypes: ['Egress'], egress: [{}] },
    });
    await background(podman, 'server', [], '/bin/sh', '-c', SERVER);
    const [server] = await endpoints();
    expect(server).toMatchObject({
      network: 'my-network',
      state: 'ready',
      labels: { [POD_NAME_LABEL]: 'server' },
    });
    const ask = async (name: string) => {
      const command = [
        '--rm',
        '--name',
        name,
        '--network',
        'my-network',
        IMAGE,
        ...asks(String(server?.ip_address)),
      ];
      return (await podman.container(...command).catch(() => ({ stdout: '' }))).stdout;
    };
    expect(await ask('client')).toBe('hello\n');
    expect(await ask('stranger')).toBe('');
    await expect.poll(endpoints).toHaveLength(1);
    await podman.run('rm', '--force', '--time', '0', 'server');
    expect(await endpoints()).toEqual([]);
  });

  it('a static address and MAC address come by CNI_ARGS', LONG, async () => {
    await using podman = await start();
    const options = ['--ip', '10.60.1.77', '--mac-address', '02:00:00:00:00:77'];
    await background(podman, 'fixed', options);
    expect(await endpoints()).toMatchObject([{ ip_address: '10.60.1.77', mac_address: '02:00:00:00:00:77' }]);
    const { stdout } = await podman.run('exec', 'fixed', '/bin/ip', 'address', 'show', 'eth0');
    expect(stdout).toContain('inet 10.60.1.77/24');
    expect(stdout).toContain('02:00:00:00:00:77');
    // Taken is taken: nothing of the second one stays.
    await expect(background(podman, 'thief', ['--ip', '10.60.1.77'])).rejects.toThrow('10.60.1.77 is in use');
    expect(await endpoints()).toHaveLength(1);
  });

  it('-p opens a port of the node for whom policies let in, and podman rm closes it', LONG, async () => {
    const { site } = node();
    const outside = await site.outside({ isUplink: true });
    const uplink = async () => (await site.rest.expect<{ uplink?: object }>('GET', '/readyz')).uplink;
    await expect.poll(uplink).toMatchObject({ interface: 'uplink', ip6_address: outside.nodeAddress(6) });
    await site.network('my-network', { isolation_mode: 'none', options: { masquerade: true } });
    await using podman = await Podman.start(node());
    await background(podman, 'server', ['-p', '8080:80'], '/bin/sh', '-c', SERVER);
    expect(await endpoints()).toMatchObject([
      { ports: [{ container_port: 80, host_port: 8080, protocol: 'TCP' }] },
    ]);
    const dial = (family: 4 | 6) => outside.dial(outside.nodeAddress(family), { port: 8080 });
    await expect.poll(() => dial(4), { timeout: 20_000 }).toBe('open');
    await expect.poll(() => dial(6), { timeout: 20_000 }).toBe('open');
    await podman.run('rm', '--force', '--time', '0', 'server');
    expect(await endpoints()).toEqual([]);
    expect(await dial(4)).toBe('refused');
  });

  it('a container that stops by itself gives its address back', LONG, async () => {
    await using podman = await start();
    await background(podman, 'short', [], '/bin/true');
    await expect.poll(endpoints, { timeout: 30_000 }).toEqual([]);
  });

  it(
    'while the daemon is away run fails with what to do, rm succeeds and is carried out later',
    LONG,
    async () => {
      const { daemon } = node().site;
      await using podman = await start();
      await background(podman, 'server', []);
      await daemon.stop();
      await expect(background(podman, 'late', [])).rejects.toThrow('systemctl start quantum-api');
      await podman.run('rm', '--force', '--time', '0', 'server');
      await daemon.start();
      expect(await endpoints()).toEqual([]);
    },
  );
});
