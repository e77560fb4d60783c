import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runCtl } from '../support/ctl.js';
import { type ServedApi, servedApi } from '../support/fake-api.js';

let api: ServedApi;
beforeEach(async () => {
  api = await servedApi();
  await ctl('network', 'create', 'front', '--cidr', '10.1.0.0/16');
  await ctl('container', 'connect', 'front', 'web1', '--netns-path', '/proc/7/ns/net');
});
afterEach(() => api.close());

const ctl = (...args: string[]) => runCtl(['--socket', api.socketPath, ...args]);

describe('port-mapping', () => {
  const create = (...more: string[]) =>
    ctl('port-mapping', 'create', 'front', 'web1', '--container-port', '80', ...more);

  it('create opens a port, and says that nobody may come in yet', async () => {
    const { exit, out, err } = await create('--host-port', '8080', '--protocol', 'UDP');
    expect({ exit, out }).toEqual({ exit: 0, out: 'port mapping 1 made: UDP *:8080\n' });
    expect(err).toMatch(/outside/);
    expect(await api.node.portMappings.get(1)).toMatchObject({ protocol: 'UDP', host_port: 8080 });
  });

  it('list shows what leads where', async () => {
    await create('--host-port', '8080', '--host-ip', 'fd00::1');
    expect((await ctl('port-mapping', 'list')).out).toBe(
      'ID  PROTOCOL  HOST            NETWORK  CONTAINER  PORT  OUTSIDE\n' +
        '1   TCP       [fd00::1]:8080  front    web1       80    denied\n',
    );
  });

  it('show and delete take its number', async () => {
    await create();
    expect(JSON.parse((await ctl('port-mapping', 'show', '1', '-o', 'json')).out)).toMatchObject({ id: 1 });
    expect((await ctl('port-mapping', 'delete', '1')).out).toBe('port mapping 1 removed\n');
    expect(await api.node.portMappings.list()).toEqual([]);
    expect((await ctl('port-mapping', 'delete', '1')).exit).not.toBe(0);
  });
});

describe('service', () => {
  const FILE = `
name: web
selector: { matchLabels: { app: web } }
ports: [{ port: 80, node_port: auto }, { port: 53, protocol: UDP }]
---
name: api
namespace: shop
selector: { matchExpressions: [{ key: tier, operator: In, values: [a, b] }] }
ports: [{ port: 443 }]
`;
  const apply = (text = FILE) =>
    runCtl(['--socket', api.socketPath, 'service', 'apply', '-f', '-'], { stdin: text });

  it('apply makes every service of a file, and replaces it the next time', async () => {
    const { out, err } = await apply();
    expect({ out, err }).toEqual({ out: 'service default/web made\nservice shop/api made\n', err: '' });
    expect((await apply()).out).toBe('service default/web replaced\nservice shop/api replaced\n');
  });

  it('apply of a file without a service is a mistake', async () => {
    expect((await apply('# nothing\n')).exit).not.toBe(0);
  });

  it('list shows addresses, ports and whom they select', async () => {
    await apply();
    expect((await ctl('service', 'list')).out).toBe(
      'NAMESPACE  NAME  ADDRESSES  PORTS                SELECTS      BACKENDS\n' +
        'default    web   10.96.0.1  80:30000/TCP,53/UDP  app=web      0\n' +
        'shop       api   10.96.0.1  443/TCP              tier In a|b  0\n',
    );
  });

  it('show and delete take its namespace', async () => {
    await apply();
    const shown = await ctl('service', 'show', 'api', '-n', 'shop', '-o', 'json');
    expect(JSON.parse(shown.out)).toMatchObject({ name: 'api', namespace: 'shop' });
    expect((await ctl('service', 'delete', 'api', '-n', 'shop')).out).toBe('service shop/api removed\n');
    expect((await ctl('service', 'show', 'api', '-n', 'shop')).exit).not.toBe(0);
  });
});
