import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AppError } from '../../src/model/errors.js';
import { type FakeApi, fakeApi } from '../support/fake-api.js';

let api: FakeApi;
beforeEach(async () => {
  api = await fakeApi();
  await post('/networks', { name: 'front', cidr: '10.1.0.0/16' });
});
afterEach(() => api.close());

const post = (url: string, payload: object) => api.app.inject({ method: 'POST', url, payload });

describe('an error of the node', () => {
  it('with a code is answered as the catalogue says', async () => {
    api.node.failure = new AppError('INSUFFICIENT_CAPACITY', 'the policy map is full', {
      hint: 'raise policy_max',
    });
    const answer = await post('/networks', { name: 'x', cidr: '10.9.0.0/16' });
    expect(answer.statusCode).toBe(503);
    expect(answer.json().error).toEqual({
      code: 'INSUFFICIENT_CAPACITY',
      message: 'the policy map is full: raise policy_max',
      details: [],
    });
  });

  it('without a code is INTERNAL: its text is for the log alone', async () => {
    api.node.failure = new Error('secret path /root/x');
    const answer = await post('/networks', { name: 'x', cidr: '10.9.0.0/16' });
    expect(answer.statusCode).toBe(500);
    expect(answer.json().error.code).toBe('INTERNAL');
    expect(answer.body).not.toContain('secret');
    expect(api.logged).toContainEqual(
      expect.objectContaining({
        msg: 'request failed',
        err: expect.objectContaining({ message: 'secret path /root/x' }),
      }),
    );
  });

  it('that is thrown as no Error is INTERNAL', async () => {
    api.node.failure = 'text';
    expect((await post('/networks', { name: 'x', cidr: '10.9.0.0/16' })).json().error.code).toBe('INTERNAL');
  });
});

it('an answer that its schema does not promise is INTERNAL, in lists too', async () => {
  const broken = { ...api.node.networks.get('front'), secret: 1 };
  Object.assign(api.node.networks, { list: () => [broken], get: () => broken });
  for (const url of ['/networks', '/networks/front']) {
    const answer = await api.app.inject({ method: 'GET', url });
    expect(answer.statusCode).toBe(500);
    expect(answer.body).not.toContain('secret');
  }
});
