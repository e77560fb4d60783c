import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type FakeApi, fakeApi } from '../support/fake-api.js';

interface Operation {
  operationId?: string;
  summary?: string;
  tags?: string[];
  parameters?: { name: string; in: string }[];
  requestBody?: { content: object };
  responses: Record<string, { content?: object }>;
}
interface Document {
  openapi: string;
  info: { title: string; version: string };
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object> };
}

/** What is not described: the description itself. */
const HIDDEN = /^\/(?:openapi\.json|docs.*)$/;

let api: FakeApi;
let document: Document;
const routes: string[] = [];
beforeAll(async () => {
  // The version of the package is in the released file; that of a test is as good.
  api = await fakeApi({ version: '0.1.0' });
  document = (await api.app.inject('/openapi.json')).json();
  const tree = api.app.printRoutes({ commonPrefix: false });
  const stack: string[] = [];
  for (const line of tree.split('\n')) {
    const match = /^([│ ├└─]*)(\S+) \(([A-Z, ]+)\)/.exec(line);
    if (match?.[1] === undefined || match[2] === undefined || match[3] === undefined) continue;
    const depth = match[1].length / 4 - 1;
    stack.length = depth;
    stack.push(match[2]);
    for (const method of match[3].split(', ')) routes.push(`${method} ${stack.join('')}`);
  }
});
afterAll(() => api.close());

describe('GET /openapi.json', () => {
  it('describes every route, and no others', () => {
    const described = Object.entries(document.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const served = routes
      .filter((route) => !route.startsWith('HEAD ') && !HIDDEN.test(route.split(' ')[1] ?? ''))
      .map((route) => route.replace(/:([a-z_]+)/g, '{$1}'));
    expect(served).not.toHaveLength(0);
    expect(described.sort()).toEqual(served.sort());
  });

  it('has what OpenAPI 3.1 asks for', () => {
    expect(document.openapi).toBe('3.1.0');
    expect(document.info).toMatchObject({ title: expect.any(String), version: '0.1.0' });
    const ids = new Set<string>();
    for (const [path, operations] of Object.entries(document.paths)) {
      for (const [method, operation] of Object.entries(operations)) {
        const where = `${method} ${path}`;
        expect(operation.operationId, where).toMatch(/^[a-z][A-Za-z]+$/);
        expect(ids, where).not.toContain(operation.operationId);
        ids.add(operation.operationId ?? '');
        expect(operation.summary, where).toBeTruthy();
        expect(operation.tags, where).toHaveLength(1);
        const inPath = [...path.matchAll(/\{([^}]+)\}/g)].map(([, name]) => name);
        const described = (operation.parameters ?? []).filter((parameter) => parameter.in === 'path');
        expect(described.map(({ name }) => name).sort(), where).toEqual(inPath.sort());
        expect(Object.keys(operation.responses), where).not.toHaveLength(0);
        for (const status of Object.keys(operation.responses))
          expect(status, where).toMatch(/^[1-5](?:\d\d|XX)$/);
      }
    }
  });

  it('has each component that is referred to, and each is referred to', () => {
    const text = JSON.stringify(document);
    const used = new Set(
      [...text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)].map(([, name]) => name),
    );
    expect([...used].sort()).toEqual(Object.keys(document.components.schemas).sort());
    expect(text).not.toContain('PLACEHOLDER');
    expect(text.match(/"\$ref":"(?!#\/components\/schemas\/)/)).toBeNull();
  });

  it('tells that policies are JSON or YAML, and that flows are lines', () => {
    const { post } = document.paths['/policies'] ?? {};
    const types = ['application/json', 'application/yaml', 'application/x-yaml', 'text/yaml'];
    expect(Object.keys(post?.requestBody?.content ?? {})).toEqual(types);
    const body = JSON.stringify(post?.requestBody);
    for (const kind of ['NetworkPolicy', 'ClusterNetworkPolicy', 'AdminNetworkPolicy', 'List']) {
      expect(body).toContain(`#/components/schemas/${kind}`);
    }
    const flows = document.paths['/flows']?.get?.responses['200'];
    expect(Object.keys(flows?.content ?? {})).toEqual(['application/x-ndjson']);
  });

  it.each([
    ['NetworkRequest', 'labels', {}],
    ['NetworkRequest', 'isolation_mode', 'full'],
    ['NetworkRequest', 'peers', []],
    ['EndpointRequest', 'labels', {}],
    ['NamespaceRequest', 'labels', {}],
    ['NetworkPolicySpecInput', 'podSelector', {}],
    ['NamespacedPodInput', 'namespaceSelector', {}],
  ])('tells what %s takes where %s is not said', (schema, field, value) => {
    expect(document.components.schemas[schema]).toHaveProperty(['properties', field, 'default'], value);
  });

  it('is what docs/openapi.json says (vitest -u writes it)', async () => {
    const file = join(import.meta.dirname, '../../docs/openapi.json');
    expect(existsSync(file)).toBe(true);
    await expect(`${JSON.stringify(document, null, 2)}\n`).toMatchFileSnapshot(file);
  });
});

it('GET /docs is a page that loads nothing from elsewhere', async () => {
  const page = await api.app.inject('/docs/');
  expect(page.statusCode).toBe(200);
  expect(page.headers['content-type']).toContain('text/html');
  expect(page.headers['content-security-policy']).toContain("default-src 'self'");
  const links = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link = '']) => link);
  expect(links.length).toBeGreaterThan(2);
  for (const link of links) {
    expect(link).toMatch(/^\.\//);
    expect((await api.app.inject(link.replace('.', '/docs'))).statusCode).toBe(200);
  }
});

it('what is not there below /docs is refused as everywhere', async () => {
  const answer = await api.app.inject('/docs/static/nope.js');
  expect([answer.statusCode, answer.json().error.code]).toEqual([404, 'NOT_FOUND']);
});

it.each(['/docs/', '/docs/static/index.css', '/docs/nope'])(
  '%s is answered with the headers of every answer',
  async (path) => {
    const { headers } = await api.app.inject(path);
    expect(headers['cache-control']).toBe('no-store');
    expect(headers['x-content-type-options']).toBe('nosniff');
  },
);
