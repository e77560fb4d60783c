import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type ConflistPlace,
  conflistText,
  removeConflist,
  syncConflists,
  writeConflist,
} from '../../src/cni/conflist.js';
import { MADE_BY_CNI, MADE_BY_LABEL } from '../../src/cni/network.js';
import { installPlugin } from '../../src/install/plugin.js';
import { parseCniConfiguration } from '../../src/model/cni.js';

let root: string;
let place: ConflistPlace;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'quantum-conflist-'));
  place = { directory: join(root, 'net.d'), socket: join(root, 'cni.sock'), prefix: '', version: '1.0.0' };
});
afterEach(() => rm(root, { recursive: true, force: true }));

const web = { name: 'web', labels: {} };
const fileOf = (name: string) => join(place.directory, `${name}.conflist`);

/** What libcni makes of a plugin of a list before it calls it. */
function pluginConfiguration(list: { cniVersion: string; name: string; plugins: object[] }): string {
  return JSON.stringify({ ...list.plugins[0], cniVersion: list.cniVersion, name: list.name });
}

describe('the conflist of a network', () => {
  it('is a list (CNI §1) whose plugin leads to the daemon', async () => {
    await writeConflist(place, web);
    const list = JSON.parse(await readFile(fileOf('web'), 'utf8'));
    expect(list).toMatchObject({
      cniVersion: '1.0.0',
      name: 'web',
      plugins: [
        {
          type: 'quantum-cni',
          socket: place.socket,
          capabilities: { ips: true, mac: true, portMappings: true, bandwidth: true },
        },
      ],
    });
    expect(parseCniConfiguration(pluginConfiguration(list))).toMatchObject({ name: 'web' });
    expect((await stat(fileOf('web'))).mode & 0o777).toBe(0o644);
    expect(await readdir(place.directory)).toEqual(['web.conflist']);
  });

  it('has mode 0644 whatever the umask is', async () => {
    const umask = process.umask(0o077);
    try {
      await writeConflist(place, web);
    } finally {
      process.umask(umask);
    }
    expect((await stat(fileOf('web'))).mode & 0o777).toBe(0o644);
  });

  it('is left alone when it is right, and put right when it is not', async () => {
    await writeConflist(place, web);
    const before = await stat(fileOf('web'));
    await writeConflist(place, web);
    expect((await stat(fileOf('web'))).ino).toBe(before.ino);
    const list = JSON.parse(await readFile(fileOf('web'), 'utf8'));
    await writeFile(
      fileOf('web'),
      JSON.stringify({ ...list, plugins: [...list.plugins, { type: 'portmap' }] }),
    );
    await writeConflist(place, web);
    expect(await readFile(fileOf('web'), 'utf8')).toBe(conflistText('web', place));
  });

  it('is removed with its network, and a second time without error', async () => {
    await writeConflist(place, web);
    expect(await removeConflist(place, 'web')).toBe(true);
    expect(await removeConflist(place, 'web')).toBe(false);
    expect(await readdir(place.directory)).toEqual([]);
  });

  it('is not written for a network that a CNI configuration made', async () => {
    await writeConflist(place, { name: 'made', labels: { [MADE_BY_LABEL]: MADE_BY_CNI } });
    await expect(readdir(place.directory)).rejects.toThrow('ENOENT');
  });

  it.each([
    ['text', 'not JSON'],
    ['another list', '{"cniVersion":"1.0.0","name":"web","plugins":[{"type":"bridge"}]}'],
    [
      'ours without the mark',
      conflistText('web', { socket: '/run/quantum/cni.sock', version: '1.0.0' }).replace('managed', 'was'),
    ],
    ['something large', 'x'.repeat(100_000)],
    ['nothing', ''],
  ])('does not replace or remove a foreign file: %s', async (_what, text) => {
    await mkdir(place.directory);
    await writeFile(fileOf('web'), text);
    await expect(writeConflist(place, web)).rejects.toMatchObject({ code: 'NETWORK_EXISTS' });
    expect(await removeConflist(place, 'web')).toBe(false);
    expect(await syncConflists(place, [])).toEqual([]);
    expect(await readFile(fileOf('web'), 'utf8')).toBe(text);
  });

  it('does not follow a link, or use a directory or pipe of that name', async () => {
    await mkdir(place.directory);
    const target = join(root, 'target');
    await writeFile(target, conflistText('web', place));
    await symlink(target, fileOf('web'));
    await expect(writeConflist(place, web)).rejects.toMatchObject({ code: 'NETWORK_EXISTS' });
    expect(await removeConflist(place, 'web')).toBe(false);
    await mkdir(fileOf('dir'));
    await expect(writeConflist(place, { ...web, name: 'dir' })).rejects.toMatchObject({
      code: 'NETWORK_EXISTS',
    });
  });

  it('of another daemon that runs is foreign; of one that moved it is not', async () => {
    const other = { ...place, socket: join(root, 'other.sock') };
    await writeConflist(other, web);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(other.socket, resolve));
    try {
      await expect(writeConflist(place, web)).rejects.toMatchObject({ code: 'NETWORK_EXISTS' });
      expect(await removeConflist(place, 'web')).toBe(false);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
    await writeConflist(place, web);
    expect(await readFile(fileOf('web'), 'utf8')).toContain(place.socket);
  });

  it.each(['../web', '..', '', '/etc/x', 'a/b', 'a\0b', 'WEB', '.hidden', 'x'.repeat(64)])(
    'cannot get out of its directory: %j',
    async (name) => {
      for (const attempt of [
        () => writeConflist(place, { name, labels: {} }),
        () => removeConflist(place, name),
      ]) {
        await expect(attempt()).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
      }
      expect(await readdir(root)).toEqual([]);
    },
  );

  it('is written whole by many at once', async () => {
    await Promise.allSettled(Array.from({ length: 20 }, () => writeConflist(place, web)));
    expect(await readFile(fileOf('web'), 'utf8')).toBe(conflistText('web', place));
    expect(await readdir(place.directory)).toEqual(['web.conflist']);
  });

  it('that cannot be written is an error with the path', async () => {
    await writeFile(place.directory, 'a file');
    await expect(writeConflist(place, web)).rejects.toMatchObject({
      code: 'STORE_ERROR',
      message: expect.stringContaining(place.directory),
    });
  });
});

describe('at the start', () => {
  it('lists follow the networks: missing ones are written, those of networks that are gone removed', async () => {
    await writeConflist(place, { name: 'gone', labels: {} });
    const other = { ...place, socket: join(root, 'other.sock') };
    await writeConflist(other, { name: 'others', labels: {} });
    await writeFile(join(place.directory, '10-bridge.conflist'), '{}');
    await writeFile(join(place.directory, 'foreign.conflist'), '{}');
    const stale = join(place.directory, '.quantum-0123456789abcdef.tmp');
    await writeFile(stale, '');
    await utimes(stale, 0, 0);
    const errors = await syncConflists(place, [web, { name: 'foreign', labels: {} }]);
    expect(errors).toMatchObject([{ code: 'NETWORK_EXISTS' }]);
    expect((await readdir(place.directory)).sort()).toEqual([
      '10-bridge.conflist',
      'foreign.conflist',
      'others.conflist',
      'web.conflist',
    ]);
  });

  it('lists that were written under another prefix are replaced', async () => {
    await writeConflist(place, web);
    const first = { ...place, prefix: '10-', version: '1.1.0' as const };
    expect(await syncConflists(first, [web])).toEqual([]);
    expect(await readdir(place.directory)).toEqual(['10-web.conflist']);
    const text = await readFile(join(place.directory, '10-web.conflist'), 'utf8');
    expect(JSON.parse(text)).toMatchObject({ cniVersion: '1.1.0', name: 'web' });
    expect(await removeConflist(first, 'web')).toBe(true);
    expect(await readdir(place.directory)).toEqual([]);
  });

  it('a directory that is not there yet is no error', async () => {
    expect(await syncConflists(place, [])).toEqual([]);
  });
});

describe('the executable in the directory of the runtimes', () => {
  it('is there under both names, executable, and a copy that is right is left alone', async () => {
    const source = join(root, 'built');
    await writeFile(source, 'version 1');
    const directory = join(root, 'opt', 'bin');
    const paths = [join(directory, 'quantum-cni'), join(directory, 'quantum')];
    expect(await installPlugin(directory, source)).toEqual(paths);
    for (const path of paths) expect((await stat(path)).mode & 0o777).toBe(0o755);
    expect(await installPlugin(directory, source)).toEqual([]);

    await writeFile(source, 'version 2');
    expect(await installPlugin(directory, source)).toEqual(paths);
    await chmod(join(directory, 'quantum'), 0o600);
    expect(await installPlugin(directory, source)).toEqual([join(directory, 'quantum')]);
    expect((await readdir(directory)).sort()).toEqual(['quantum', 'quantum-cni']);
  });

  it('that is not built says how to build it', async () => {
    await expect(installPlugin(root, join(root, 'missing'))).rejects.toMatchObject({
      code: 'STORE_ERROR',
      hint: expect.stringContaining('npm run build'),
    });
  });
});
