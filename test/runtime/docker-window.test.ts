/** No window: a container of Docker sends from its first instruction on, and nothing passes that may not. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { gatewayMac } from '../../src/bridge/mac.js';
import type { Endpoint } from '../../src/model/endpoint.js';
import type { Capture, Frame } from '../support/capture.js';
import { FAMILIES } from '../support/containers.js';
import { Dockerd, IMAGE } from '../support/dockerd.js';
import { packet } from '../support/packet.js';
import { useSite } from '../support/site.js';

const site = useSite();
let docker: Dockerd;
beforeAll(async () => {
  docker = await Dockerd.start(site().daemon);
}, 120_000);
afterEach(() => docker.clear(), 120_000);
afterAll(() => docker[Symbol.asyncDispose](), 60_000);

const ROUNDS = 3;
const CLIENT = { mac: '06:00:00:00:00:66', 4: '10.60.1.66', 6: 'fd00:60:1::66' };

/** What of the captured frames somebody else can have sent. */
async function strangers(capture: Capture): Promise<Frame[]> {
  return (await capture.stop()).filter(({ type }) => type === 0x0800 || type === 0x86dd);
}

async function endpointOf(id: string): Promise<Endpoint> {
  return site().rest.expect('GET', `/networks/blue/containers/${id}`);
}

/** Only clients may talk to the database, and only to it. */
function databaseFromClients() {
  return site().rest.apply({
    name: 'database-from-clients',
    spec: {
      podSelector: { matchLabels: { app: 'database' } },
      policyTypes: ['Ingress'],
      ingress: [{ from: [{ podSelector: { matchLabels: { app: 'client' } } }] }],
    },
  });
}

describe.each(FAMILIES)('IPv%i:', { timeout: 90_000 }, (family) => {
  it('a container that floods from its first instruction to its last reaches nobody that no policy lets it reach', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    await docker.existing('blue');
    const database = await site().container('database', 'blue', { labels: { app: 'database' } });
    await databaseFromClients();
    const capture = await database.capture();
    for (let round = 0; round < ROUNDS; round++) {
      const flood = ['hostile', 'sockets', database.address(family), '53'];
      const id = await docker.container('attacker', ['--network', 'blue', '--label', 'app=web'], ...flood);
      await expect
        .poll(() => site().packets({ reason: 'POLICY_INGRESS', network: 'blue' }), { timeout: 20_000 })
        .toBeGreaterThan(200 * (round + 1));
      expect((await endpointOf(id)).labels).toEqual({ app: 'web' });
      await docker.ok('rm', '--force', 'attacker');
    }
    expect(await strangers(capture)).toEqual([]);
  });

  it('a container that a policy lets through is let through from its first datagram on', async () => {
    await site().network('blue', { isolation_mode: 'none' });
    await docker.existing('blue');
    const database = await site().container('database', 'blue', { labels: { app: 'database' } });
    await databaseFromClients();
    for (let round = 0; round < ROUNDS; round++) {
      // One datagram each way, which nobody repeats, is what makes this a proof.
      const dial = ['sockets', 'dial', 'udp', database.address(family), '53', '5000', '5'];
      const args = ['--rm', '--network', 'blue', '--label', 'app=client', IMAGE];
      expect(await docker.ok('run', ...args, ...dial)).toBe('open');
    }
  });

  it('nothing passes before Docker has said whose labels they are, and everything that may after it', async () => {
    const network = await site().network('blue', { isolation_mode: 'none' });
    await docker.existing('blue');
    const database = await site().container('database', 'blue', { labels: { app: 'database' } });
    await databaseFromClients();
    const capture = await database.capture();
    await using held = await docker.hold();
    // Frames that will be right once they are allowed: they wait for no neighbour.
    const datagram = packet()
      .ethernet({ source: CLIENT.mac, destination: gatewayMac(network.id) })
      .ip({ source: CLIENT[family], destination: database.address(family) })
      .udp({ destinationPort: 53 })
      .payload(32);
    const flood = ['hostile', 'frames', 'eth0', Buffer.from(datagram.bytes()).toString('hex')];
    const known = ['--mac-address', CLIENT.mac, '--ip', CLIENT[4], '--ip6', CLIENT[6]];
    const labels = ['--label', 'app=client'];
    const id = await docker.container('client', ['--network', 'blue', ...known, ...labels], ...flood);
    const { endpoints } = await site().rest.expect<{ endpoints: Endpoint[] }>('GET', '/endpoints');
    const waiting = endpoints.find(
      ({ network, container_id }) => network === 'blue' && container_id !== 'database',
    );
    expect(waiting).toMatchObject({ state: 'creating', labels: {} });
    // It sends all the while, and is nobody.
    await expect
      .poll(() => site().packets({ reason: 'UNKNOWN_ENDPOINT' }), { timeout: 20_000 })
      .toBeGreaterThan(200);
    expect(held.asked()).toBeGreaterThan(0);
    expect(await strangers(capture)).toEqual([]);
    held.release();
    await expect
      .poll(async () => (await site().rest.call('GET', `/networks/blue/containers/${id}`)).status, {
        timeout: 20_000,
      })
      .toBe(200);
    await expect
      .poll(async () => site().packets({ network: 'blue', direction: 'egress', reason: 'NONE' }), {
        timeout: 20_000,
      })
      .toBeGreaterThan(200);
    expect(await endpointOf(id)).toMatchObject({ state: 'ready', labels: { app: 'client' } });
  });
});
