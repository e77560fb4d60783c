/** Whose an endpoint is, and what a Docker that is gone has left. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EngineApi } from '../../src/docker/engine-api.js';
import { Identification } from '../../src/docker/identification.js';
import { endpointRequest } from '../../src/model/endpoint.js';
import { AppError } from '../../src/model/errors.js';
import { networkRequest } from '../../src/model/network.js';
import { FakeDockerNode, silent } from '../support/fake-docker-node.js';

const KEY = 'e'.repeat(64);
const WEB = { id: 'c'.repeat(64), labels: { app: 'web' }, imageLabels: {} };
const REQUEST = endpointRequest
  .omit({ container_id: true, netns_path: true })
  .parse({ labels: { tier: 'front' } });
const BLUE = networkRequest.parse({ name: 'blue', cidr: '10.61.0.0/24' });

let fake: FakeDockerNode;
let identification: Identification;

function identify(asks = true): Identification {
  const { staged, reservations, engine } = fake;
  return new Identification({ staged, reservations, engine: asks ? engine : undefined, log: silent });
}

beforeEach(async () => {
  fake = new FakeDockerNode();
  await fake.networks.create(BLUE);
  await fake.staged.stage('blue', KEY, 'n1', REQUEST);
  identification = identify();
});
afterEach(() => identification.stop());

const state = () => fake.staged.find(KEY)?.endpoint.state;

describe('an endpoint', () => {
  it('that has joined is known when Docker tells of its container', async () => {
    await fake.staged.join(KEY, '/n');
    fake.engine.bare.add(KEY);
    identification.follow(KEY);
    await expect.poll(() => fake.engine.asked).toBeGreaterThan(1);
    expect(state()).toBe('creating');
    fake.engine.holders.set(KEY, WEB);
    await identification.settled(KEY, 10_000);
    expect(fake.staged.find(KEY)?.endpoint).toMatchObject({
      state: 'ready',
      container_id: WEB.id,
      labels: { app: 'web', tier: 'front' },
    });
  });

  it('stays unknown while Docker does not answer, and nobody waits longer than said', async () => {
    await fake.staged.join(KEY, '/n');
    fake.engine.failure = new AppError('NOT_READY', 'Docker does not answer');
    identification.follow(KEY);
    await identification.settled(KEY, 50);
    expect(state()).toBe('creating');
    fake.engine.failure = undefined;
    fake.engine.holders.set(KEY, WEB);
    await identification.settled(KEY, 10_000);
    expect(state()).toBe('ready');
  });

  it('stays unknown when its labels cannot be', async () => {
    await fake.staged.join(KEY, '/n');
    fake.engine.holders.set(KEY, { ...WEB, labels: { 'quantum.namespace': 'no namespace' } });
    identification.follow(KEY);
    await expect.poll(() => fake.engine.asked).toBeGreaterThan(1);
    expect(state()).toBe('creating');
  });

  it('that leaves meanwhile is not asked for any more', async () => {
    await fake.staged.join(KEY, '/n');
    identification.follow(KEY);
    await fake.staged.leave(KEY);
    await identification.settled(KEY, 10_000);
    expect(state()).toBe('creating');
  });

  it('is who its options say when nobody is to be asked', async () => {
    await fake.staged.join(KEY, '/n');
    const alone = identify(false);
    alone.follow(KEY);
    await alone.settled(KEY, 10_000);
    await alone.stop();
    expect(fake.staged.find(KEY)?.endpoint).toMatchObject({
      state: 'ready',
      container_id: KEY,
      labels: { tier: 'front' },
    });
  });

  it('of a daemon before this one is gone on with', async () => {
    await fake.staged.join(KEY, '/n');
    fake.engine.holders.set(KEY, WEB);
    identification.start();
    await expect.poll(state).toBe('ready');
  });
});

describe('at each start and then from time to time', () => {
  /** One round: a start of its own, which keeps what it has seen only with `identification`. */
  async function round(): Promise<void> {
    const before = fake.reservations.collections;
    identification.start();
    await expect.poll(() => fake.reservations.collections).toBeGreaterThan(before);
    await expect.poll(() => identification.isIdle).toBe(true);
  }

  it('an endpoint without an interface is taken off', async () => {
    fake.staged.lost.add(KEY);
    await round();
    expect(fake.staged.list()).toEqual([]);
  });

  it('one that Docker does not have is taken off when it says so twice', async () => {
    await round();
    expect(fake.staged.list()).toHaveLength(1);
    await round();
    expect(fake.staged.list()).toEqual([]);
  });

  it.each([
    ['Docker has it', () => void fake.engine.bare.add(KEY)],
    [
      'Docker does not answer',
      () => {
        fake.engine.failure = new AppError('NOT_READY');
      },
    ],
    [
      'it is in a container',
      async () => {
        await fake.staged.join(KEY, '/n');
        await fake.staged.identify(KEY, { container_id: WEB.id, namespace: 'default', labels: {} });
        fake.staged.inContainer.add(KEY);
      },
    ],
  ])('it stays when %s', async (_, arrange) => {
    await arrange();
    for (let time = 0; time < 3; time++) await round();
    expect(fake.staged.list()).toHaveLength(1);
  });
});

describe('the API of the engine', () => {
  let directory: string;
  let server: Server | undefined;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'quantum-engine-'));
  });
  afterEach(async () => {
    server?.closeAllConnections();
    await new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)));
    server = undefined;
    rmSync(directory, { recursive: true, force: true });
  });

  async function engine(answer: RequestListener): Promise<EngineApi> {
    const path = join(directory, 'docker.sock');
    server = createServer(answer);
    await new Promise<void>((resolve) => server?.listen(path, resolve));
    return new EngineApi(path);
  }
  const saying =
    (bodies: Record<string, unknown>): RequestListener =>
    (request, response) => {
      const path = request.url?.split('?')[0] ?? '';
      response.statusCode = path in bodies ? 200 : 404;
      response.end(JSON.stringify(bodies[path] ?? {}));
    };

  it('tells the container of an endpoint, that there is none yet, and that there is no such endpoint', async () => {
    const Containers = { c1: { EndpointID: 'e1' }, 'ep-e2': { EndpointID: 'e2' } };
    const api = await engine(
      saying({ '/networks/n1': { Containers }, '/networks/n2': { Containers: null } }),
    );
    expect(await api.containerOf('n1', 'e1')).toEqual({ id: 'c1' });
    expect(await api.containerOf('n1', 'e2')).toBe('none');
    for (const network of ['n1', 'n2', 'n3']) expect(await api.containerOf(network, 'e3')).toBe('absent');
  });

  it('tells the labels of a container and of its image', async () => {
    const api = await engine(
      saying({
        '/containers/json': [{ Id: 'c1', ImageID: 'sha256:1', Labels: { a: 'b', c: 'd' } }],
        '/images/sha256%3A1/json': { Config: { Labels: { c: 'd' } } },
      }),
    );
    expect(await api.container('c1')).toEqual({
      id: 'c1',
      labels: { a: 'b', c: 'd' },
      imageLabels: { c: 'd' },
    });
    expect(await api.container('c2')).toBeUndefined();
  });

  it('without the image tells nothing: which labels are the user’s is not known', async () => {
    const api = await engine(saying({ '/containers/json': [{ Id: 'c1', ImageID: 'sha256:1', Labels: {} }] }));
    await expect(api.container('c1')).rejects.toMatchObject({ code: 'NOT_READY' });
  });

  it.each<[string, RequestListener]>([
    ['an error', (_, response) => response.writeHead(500).end('{}')],
    ['no JSON', (_, response) => response.end('<html>')],
    ['another form', (_, response) => response.end('{"Containers":[1]}')],
    ['a broken connection', (request) => request.socket.destroy()],
    ['nothing, for too long', () => undefined],
  ])('that answers with %s is an error, and no container', async (_, answer) => {
    const api = await engine(answer);
    await expect(api.containerOf('n1', 'e1')).rejects.toMatchObject({ code: 'NOT_READY' });
  });

  it('that is not there is an error', async () => {
    const api = new EngineApi(join(directory, 'nobody.sock'));
    await expect(api.containerOf('n1', 'e1')).rejects.toMatchObject({ code: 'NOT_READY' });
  });
});
