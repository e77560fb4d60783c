import { describe, expect, it } from 'vitest';
import { AppError } from '../../src/model/errors.js';
import { Gate } from '../../src/vnet/gate.js';
import { Serial } from '../../src/vnet/serial.js';

describe('changes one after another', () => {
  it('see what the one before did, also when that failed', async () => {
    const serial = new Serial();
    const seen: string[] = [];
    const first = serial.run(async () => {
      await Promise.resolve();
      seen.push('first');
      throw new Error('no');
    });
    const second = serial.run(async () => seen.push('second'));
    await expect(first).rejects.toThrow('no');
    await second;
    expect(seen).toEqual(['first', 'second']);
  });

  it('wait until the gate opens', async () => {
    const gate = new Gate();
    const serial = new Serial(gate.opened);
    const seen: string[] = [];
    const change = serial.run(async () => seen.push('change'));
    await new Promise((resolve) => setImmediate(resolve));
    expect(seen).toEqual([]);
    gate.open();
    await change;
    expect(seen).toEqual(['change']);
    gate.refuse();
    await serial.run(async () => seen.push('later'));
    expect(seen).toEqual(['change', 'later']);
  });

  it('are refused, before and after, when the gate does not open', async () => {
    const gate = new Gate();
    const serial = new Serial(gate.opened);
    const seen: string[] = [];
    const before = serial.run(async () => seen.push('before'));
    gate.refuse(new Error('why'));
    gate.open();
    const after = serial.run(async () => seen.push('after'));
    for (const change of [before, after]) await expect(change).rejects.toMatchObject({ code: 'NOT_READY' });
    await serial.idle();
    expect(seen).toEqual([]);
  });

  it.each([
    ['what is known', new AppError('STORE_ERROR', 'the disk is full'), 'has not started: the disk is full'],
    ['that something is not', new Error('secret'), 'has not started: An internal error'],
    ['nothing where there is none', undefined, 'has not started'],
  ])('are told of the cause %s', async (_what, cause, text) => {
    const gate = new Gate();
    const change = new Serial(gate.opened).run(async () => undefined);
    gate.refuse(cause);
    const message = await change.catch((error: AppError) => error.message);
    expect(message).toContain(text);
    expect(message).not.toContain('secret');
  });
});
