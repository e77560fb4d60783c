import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { createInterface } from 'node:readline';
import { text as textOf } from 'node:stream/consumers';
import { afterEach, describe, expect, expectTypeOf, it } from 'vitest';
import type { z } from 'zod';
import { type flowEvent, flowLine } from '../../src/api/flow-schema.js';
import { FlowStream } from '../../src/api/flow-stream.js';
import type { FlowEvent } from '../../src/vnet/contract.js';
import { type ServedApi, servedApi } from '../support/fake-api.js';

const apis: ServedApi[] = [];
afterEach(async () => {
  for (const api of apis.splice(0)) await api.close();
});

async function served(): Promise<ServedApi> {
  const api = await servedApi();
  apis.push(api);
  return api;
}

let count = 0;
function flow(more: Partial<FlowEvent> = {}): FlowEvent {
  count += 1;
  return {
    time: '2026-01-02T03:04:05.000Z',
    verdict: 'dropped',
    reason: 'POLICY_DENIED',
    direction: 'egress',
    network: 'front',
    protocol: 'TCP',
    source: { kind: 'endpoint', container_id: 'web1', network: 'front', ip: '10.1.0.2', port: 40000 },
    destination: { kind: 'world', ip: '192.0.2.1', port: 443 },
    bytes: count,
    ...more,
  };
}

async function open(api: ServedApi, path: string, method = 'GET'): Promise<IncomingMessage> {
  const outgoing = request({ socketPath: api.socketPath, method, path, agent: false });
  outgoing.on('error', () => {});
  outgoing.end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  return response;
}

async function bytesOf(api: ServedApi, path: string): Promise<number[]> {
  const response = await open(api, path);
  const numbers: number[] = [];
  for await (const line of createInterface({ input: response })) numbers.push(JSON.parse(line).bytes);
  return numbers;
}

it('the schema of a flow and the interface of the node are the same', () => {
  expectTypeOf<FlowEvent>().toExtend<z.output<typeof flowEvent>>();
  expectTypeOf<keyof FlowEvent>().toEqualTypeOf<keyof z.output<typeof flowEvent>>();
});

describe('GET /flows', () => {
  it('has a line of JSON for each event, oldest first', async () => {
    const api = await served();
    const events = [flow(), flow({ verdict: 'allowed', reason: 'NONE', egress_rule: 'default/p egress[0]' })];
    for (const event of events) api.node.emit(event);
    const response = await open(api, '/flows');
    expect(response.headers['content-type']).toBe('application/x-ndjson; charset=utf-8');
    const lines = (await textOf(response))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines).toEqual(events);
    for (const line of lines) expect(flowLine.safeParse(line).success).toBe(true);
  });

  it('is empty when nothing has happened', async () => {
    expect(await bytesOf(await served(), '/flows')).toEqual([]);
  });

  it.each([
    ['verdict=allowed', [2]],
    ['verdict=dropped', [1, 3, 4]],
    ['network=back', [3]],
    ['container_id=db1', [3, 4]],
    ['container_id=db1&verdict=allowed', []],
    ['limit=2', [3, 4]],
    ['limit=1&verdict=allowed', [2]],
    ['limit=0', []],
  ])('with %s has only those', async (query, expected) => {
    const api = await served();
    const db = { kind: 'endpoint', container_id: 'db1' } as const;
    api.node.emit(flow({ bytes: 1 }));
    api.node.emit(flow({ bytes: 2, verdict: 'allowed', reason: 'NONE' }));
    api.node.emit(flow({ bytes: 3, network: 'back', source: db }));
    api.node.emit(flow({ bytes: 4, destination: db }));
    expect(await bytesOf(api, `/flows?${query}`)).toEqual(expected);
  });
});

describe('GET /flows?follow=true', () => {
  it('answers at once, goes on with new events, and ends with its reader', async () => {
    const api = await served();
    api.node.emit(flow({ bytes: 1 }));
    const response = await open(api, '/flows?follow=true&verdict=dropped');
    expect(response.statusCode).toBe(200);
    const lines = createInterface({ input: response })[Symbol.asyncIterator]();
    expect(JSON.parse((await lines.next()).value ?? '').bytes).toBe(1);
    api.node.emit(flow({ bytes: 2, verdict: 'allowed', reason: 'NONE' }));
    api.node.emit(flow({ bytes: 3 }));
    expect(JSON.parse((await lines.next()).value ?? '').bytes).toBe(3);
    expect(api.node.watchers.size).toBe(1);
    response.destroy();
    await expect.poll(() => api.node.watchers.size).toBe(0);
  });

  it('answers before there is anything to tell', async () => {
    const response = await open(await served(), '/flows?follow=true');
    expect(response.headers['content-type']).toBe('application/x-ndjson; charset=utf-8');
    response.destroy();
  });

  it('ends cleanly when the daemon stops', async () => {
    const api = await served();
    const response = await open(api, '/flows?follow=true');
    const ended = once(response, 'end');
    response.resume();
    await api.server.close();
    await ended;
    expect(api.node.watchers.size).toBe(0);
  });

  it('is for 64 readers at once, and the next is told so', async () => {
    const api = await served();
    const readers = await Promise.all(Array.from({ length: 64 }, () => open(api, '/flows?follow=true')));
    const refused = await open(api, '/flows?follow=true');
    expect(refused.statusCode).toBe(503);
    refused.resume();
    for (const reader of readers) reader.destroy();
    await expect.poll(() => api.node.watchers.size).toBe(0);
    const again = await open(api, '/flows?follow=true');
    expect(again.statusCode).toBe(200);
    again.destroy();
  });

  it('has no HEAD, which would never end', async () => {
    const response = await open(await served(), '/flows?follow=true', 'HEAD');
    expect(response.statusCode).toBe(405);
  });
});

describe('a reader that does not keep up', () => {
  it('loses events, which are counted, and is told how many', async () => {
    let lost = 0;
    const stream = new FlowStream((more) => {
      lost += more;
    });
    const sent = 5000;
    for (let index = 0; index < sent; index++) stream.write(flow({ bytes: index }));
    expect(lost).toBeGreaterThan(0);
    expect(stream.readableLength).toBeLessThan(512 * 1024);
    const told = lost;
    let got = 0;
    for await (const line of createInterface({ input: stream })) {
      const parsed = JSON.parse(line);
      if (parsed.lost === undefined) {
        got += 1;
        continue;
      }
      expect(flowLine.safeParse(parsed).success).toBe(true);
      expect(parsed.lost).toBe(told);
      stream.end();
    }
    expect(got + told).toBe(sent);
  });
});
