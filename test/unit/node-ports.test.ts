import { describe, expect, it } from 'vitest';
import { findClash, freePort, nodePorts, type TakenPort } from '../../src/nat/ports.js';

const taken = (port: number, address: string | undefined, protocol: 'TCP' | 'UDP' = 'TCP'): TakenPort[] =>
  nodePorts(protocol, port, address).map((place) => ({ ...place, owner: 'who has it' }));
const clash = (wanted: string | undefined, other: string | undefined) =>
  findClash(nodePorts('TCP', 80, wanted), taken(80, other))?.owner;

describe('two ports of the node', () => {
  it.each([
    ['every address and every address', undefined, undefined],
    ['every address and one', undefined, '192.0.2.1'],
    ['one address and every address', 'fd00::1', undefined],
    ['one address and the same', '192.0.2.1', '192.0.2.1'],
    ['every IPv4 address and one', '0.0.0.0', '192.0.2.1'],
    ['every IPv6 address and one', '::', 'fd00::1'],
    ['every IPv6 address and every address', '::', undefined],
  ])('clash: %s', (_, wanted, other) => {
    expect(clash(wanted, other)).toBe('who has it');
  });

  it.each([
    ['two addresses', '192.0.2.1', '192.0.2.2'],
    ['every IPv4 address and an IPv6 one', '0.0.0.0', 'fd00::1'],
    ['every IPv4 and every IPv6 address', '0.0.0.0', '::'],
  ])('get along: %s', (_, wanted, other) => {
    expect(clash(wanted, other)).toBeUndefined();
  });

  it('get along when the protocol or the number is another', () => {
    expect(findClash(nodePorts('TCP', 80, undefined), taken(80, undefined, 'UDP'))).toBeUndefined();
    expect(findClash(nodePorts('TCP', 80, undefined), taken(81, undefined))).toBeUndefined();
  });
});

describe('a free port', () => {
  const range = { min: 30000, max: 30003 };

  it('is the next one from where the search begins, and the range is gone through once', () => {
    expect(freePort(range, 30001, () => true)).toBe(30001);
    expect(freePort(range, 30002, (port) => port < 30002)).toBe(30000);
    expect(freePort(range, 7, () => true)).toBe(30000);
  });

  it('is none when all are taken', () => {
    const asked: number[] = [];
    expect(freePort(range, 30002, (port) => asked.push(port) === 0)).toBeUndefined();
    expect(asked).toEqual([30002, 30003, 30000, 30001]);
  });
});
