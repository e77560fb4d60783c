import { execFile } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { NetnsHandle, Rtnl } from '../../src/native/net.js';

const run = promisify(execFile);

/** The addon itself, for scripts that plain Node runs. */
const ADDON = join(import.meta.dirname, '../../native/build/quantum.node');

const descriptors = () => readdirSync('/proc/self/fd').length;
const threads = () => readdirSync('/proc/self/task').length;

/** Runs a script in a process of its own; fails when it crashes. */
async function script(text: string, args: string[] = []): Promise<string> {
  const head = `const net = require(${JSON.stringify(ADDON)});
    net.setErrorFactory((failure) => Object.assign(new Error(failure.object), failure));`;
  return (await run(process.execPath, [...args, '-e', head + text])).stdout.trim();
}

describe('lifetime', () => {
  it('100 rounds of namespaces, sockets, links and watches leave no descriptor and no thread', () => {
    const round = () => {
      using netns = NetnsHandle.createUnnamed();
      using other = NetnsHandle.createUnnamed();
      using rtnl = Rtnl.open(netns);
      using _ = rtnl.watch(['link'], () => {});
      rtnl.createVeth({ name: 'a', peerName: 'b', peerNetns: other });
      netns.run(() => rtnl.links());
    };
    round(); // starts the thread pool
    const before = [descriptors(), threads()];
    for (let i = 0; i < 100; i++) round();
    expect([descriptors(), threads()]).toEqual(before);
  });

  it('failed calls leave no descriptor', () => {
    const before = descriptors();
    for (let i = 0; i < 100; i++) {
      expect(() => NetnsHandle.open('/proc/self/ns/mnt')).toThrow();
      expect(() => NetnsHandle.open('/etc/passwd')).toThrow();
    }
    expect(descriptors()).toBe(before);
  });

  it('forgotten handles are closed by the garbage collector', async () => {
    const left = await script(
      `const { readdirSync } = require('fs');
       const count = () => readdirSync('/proc/self/fd').length;
       const before = count();
       for (let i = 0; i < 50; i++) net.routeSocketOpen(net.netnsCreate());
       (async () => {
         for (let i = 0; i < 10; i++) { gc(); await new Promise(setImmediate); }
         console.log(count() - before);
       })();`,
      ['--expose-gc'],
    );
    expect(left).toBe('0');
  });

  it('a process ends with open handles and watches, and a watch does not keep it alive', async () => {
    const output = await script(
      `const netns = net.netnsCreate();
       const socket = net.routeSocketOpen(netns);
       globalThis.watch = net.watchOpen(socket, 1, () => {});
       net.linkCreate(socket, 'bridge', { name: 'br0' });
       console.log('done');`,
    );
    expect(output).toBe('done');
  });

  it('process.exit() in the middle of a burst of changes ends cleanly', async () => {
    const output = await script(
      `const socket = net.routeSocketOpen(net.netnsCreate());
       net.linkCreate(socket, 'bridge', { name: 'br0' });
       globalThis.watch = net.watchOpen(socket, 1, () => { console.log('called'); process.exit(0); });
       setInterval(() => {
         for (let i = 0; i < 50; i++) net.linkSet(socket, 'br0', { mtu: 1400 + (i % 2) });
       }, 1);`,
    );
    expect(output).toBe('called');
  });

  it('works in worker threads, each with its own namespace, and survives their end with open handles', async () => {
    const output = await script(
      `const { Worker, isMainThread, parentPort } = require('worker_threads');
       const { readlinkSync, readdirSync } = require('fs');
       const first = readlinkSync('/proc/thread-self/ns/net');
       const count = () => readdirSync('/proc/self/fd').length;
       const body = \`
         const { parentPort } = require('worker_threads');
         const { readlinkSync } = require('fs');
         const net = require(${JSON.stringify(ADDON)});
         net.setErrorFactory((failure) => Object.assign(new Error(failure.object), failure));
         const netns = net.netnsCreate();
         const socket = net.routeSocketOpen(netns);
         globalThis.watch = net.watchOpen(socket, 1, () => {});
         net.linkCreate(socket, 'bridge', { name: 'br0' });
         for (let i = 0; i < 100; i++) {
           const inside = net.netnsRun(netns, () => readlinkSync('/proc/thread-self/ns/net'));
           if (inside !== 'net:[' + net.netnsInfo(netns).inode + ']') throw new Error(inside);
           net.linkSet(socket, 'br0', { mtu: 1400 + (i % 2) });
         }
         if (net.linkList(socket).length !== 2) throw new Error('links');
         parentPort.postMessage(readlinkSync('/proc/thread-self/ns/net'));
       \`;
       const one = () => new Promise((resolve, reject) => {
         const worker = new Worker(body, { eval: true });
         let back;
         worker.on('message', (message) => { back = message; });
         worker.on('error', reject);
         worker.on('exit', () => resolve(back === first));
       });
       (async () => {
         await one();
         const before = count();
         const results = await Promise.all([one(), one(), one(), one()]);
         console.log(JSON.stringify([...results, readlinkSync('/proc/thread-self/ns/net') === first, count() - before]));
       })();`,
    );
    expect(JSON.parse(output)).toEqual([true, true, true, true, true, 0]);
  });

  it('a thread pool that starts after run() is in the first namespace', async () => {
    const output = await script(
      `const { readdirSync, readlinkSync } = require('fs');
       const netns = net.netnsCreate();
       net.netnsRun(netns, () => require('fs').readFile('/etc/hostname', () => {
         const spaces = new Set(readdirSync('/proc/self/task').map((id) => readlinkSync('/proc/self/task/' + id + '/ns/net')));
         console.log(spaces.size);
       }));`,
    );
    expect(output).toBe('1');
  });

  it('a handle of one kind is refused where another is wanted', async () => {
    const output = await script(
      `const netns = net.netnsCreate();
       for (const wrong of [netns, undefined, {}, 5]) {
         try { net.linkList(wrong); console.log('taken'); } catch (error) { console.log(error.name); }
       }`,
    );
    expect(output.split('\n')).toEqual(Array(4).fill('TypeError'));
  });

  it('all threads of this process stay in the first namespace', () => {
    using netns = NetnsHandle.createUnnamed();
    netns.run(() => {});
    const first = readlinkSync('/proc/thread-self/ns/net');
    const all = readdirSync('/proc/self/task').map((id) => readlinkSync(`/proc/self/task/${id}/ns/net`));
    expect(new Set(all)).toEqual(new Set([first]));
  });
});
