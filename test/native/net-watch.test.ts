import { execFileSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { NetnsHandle, Rtnl } from '../../src/native/net.js';

let netns: NetnsHandle;
let rtnl: Rtnl;

beforeEach(() => {
  netns = NetnsHandle.createUnnamed();
  rtnl = Rtnl.open(netns);
});
afterEach(() => {
  rtnl.close();
  netns.close();
});

/** Longer than a notice takes, for what must not come. */
const QUIET_MS = 100;

describe('watch', () => {
  it('tells of new, changed and deleted links of its namespace, and of addresses', async () => {
    const seen: string[] = [];
    using _ = rtnl.watch(['link', 'address'], (kind) => seen.push(kind));
    rtnl.createBridge({ name: 'br0' });
    await vi.waitFor(() => expect(seen).toContain('link'));
    seen.length = 0;
    rtnl.addAddress({ index: rtnl.link('br0')?.index ?? 0, address: '10.1.0.1/16' });
    await vi.waitFor(() => expect(seen).toContain('address'));
    seen.length = 0;
    rtnl.addAddress({ index: rtnl.link('br0')?.index ?? 0, address: 'fd00::1/64' });
    await vi.waitFor(() => expect(seen).toContain('address'));
    seen.length = 0;
    rtnl.deleteLink('br0');
    await vi.waitFor(() => expect(seen).toContain('link'));
  });

  it('tells of routes of both families', async () => {
    const seen: string[] = [];
    rtnl.createBridge({ name: 'br0' });
    const index = rtnl.link('br0')?.index ?? 0;
    rtnl.setLink('br0', { up: true });
    using _ = rtnl.watch(['route'], (kind) => seen.push(kind));
    for (const destination of ['10.9.0.0/16', 'fd09::/64']) {
      rtnl.addRoute({ destination, index });
      await vi.waitFor(() => expect(seen).toContain('route'));
      seen.length = 0;
      rtnl.deleteRoute({ destination, index });
      await vi.waitFor(() => expect(seen).toContain('route'));
      seen.length = 0;
    }
  });

  it('tells of filters and queueing disciplines', async () => {
    const seen: string[] = [];
    const tc = (...args: string[]) => netns.run(() => execFileSync('tc', args));
    rtnl.createBridge({ name: 'br0' });
    using _ = rtnl.watch(['filter'], (kind) => seen.push(kind));
    const filter = [
      'filter',
      'add',
      'dev',
      'br0',
      'ingress',
      'protocol',
      'all',
      'u32',
      'match',
      'u32',
      '0',
      '0',
    ];
    for (const change of [
      ['qdisc', 'add', 'dev', 'br0', 'clsact'],
      [...filter, 'flowid', '1:1'],
      ['filter', 'del', 'dev', 'br0', 'ingress'],
      ['qdisc', 'del', 'dev', 'br0', 'clsact'],
    ]) {
      seen.length = 0;
      tc(...change);
      await vi.waitFor(() => expect(seen).toContain('filter'));
    }
  });

  it('tells of the kinds that were asked for alone', async () => {
    const seen: string[] = [];
    using _ = rtnl.watch(['address'], (kind) => seen.push(kind));
    rtnl.createBridge({ name: 'br0' });
    rtnl.addAddress({ index: rtnl.link('br0')?.index ?? 0, address: '10.1.0.1/16' });
    rtnl.deleteLink('br0');
    await vi.waitFor(() => expect(seen).toContain('address'));
    await delay(QUIET_MS);
    expect(new Set(seen)).toEqual(new Set(['address']));
  });

  it('hears nothing of other namespaces', async () => {
    const seen: string[] = [];
    using _ = rtnl.watch(['link', 'address'], (kind) => seen.push(kind));
    using other = NetnsHandle.createUnnamed();
    using elsewhere = Rtnl.open(other);
    elsewhere.createBridge({ name: 'br0' });
    await delay(QUIET_MS);
    expect(seen).toEqual([]);
  });

  it('gathers changes while the event loop is busy, however many', async () => {
    const seen: string[] = [];
    rtnl.createBridge({ name: 'br0' });
    using _ = rtnl.watch(['link', 'address'], (kind) => seen.push(kind));
    for (let i = 0; i < 5000; i++) rtnl.setLink('br0', { mtu: 1400 + (i % 2) });
    await vi.waitFor(() => expect(seen).toContain('link'));
    await delay(QUIET_MS);
    expect(seen.length).toBeLessThan(20);
  });

  it('is silent once it is closed, also for what has happened before; closing again does nothing', async () => {
    const seen: string[] = [];
    const watch = rtnl.watch(['link', 'address'], (kind) => seen.push(kind));
    rtnl.createBridge({ name: 'br0' });
    watch[Symbol.dispose]();
    watch[Symbol.dispose]();
    await delay(QUIET_MS);
    expect(seen).toEqual([]);
  });

  it('goes on after the socket and the namespace handle are closed', async () => {
    using another = Rtnl.open(netns);
    const seen: string[] = [];
    using _ = rtnl.watch(['link', 'address'], (kind) => seen.push(kind));
    rtnl.close();
    netns.close();
    another.createBridge({ name: 'br0' });
    await vi.waitFor(() => expect(seen).toContain('link'));
  });

  it('can be closed by its own callback', async () => {
    let calls = 0;
    const watch = rtnl.watch(['link', 'address'], () => {
      calls++;
      watch[Symbol.dispose]();
    });
    rtnl.createBridge({ name: 'br0' });
    rtnl.addAddress({ index: rtnl.link('br0')?.index ?? 0, address: '10.1.0.1/16' });
    await vi.waitFor(() => expect(calls).toBe(1));
    rtnl.deleteLink('br0');
    await delay(QUIET_MS);
    expect(calls).toBe(1);
  });
});
