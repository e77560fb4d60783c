// Downloads a kernel package and unpacks it into the cache.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Debian's metapackages depend on the package with the kernel of the day: `linux-image-6.1.0-40-amd64`. */
const KERNEL_PACKAGE = /^linux-image-\d/;

const MIRROR = 'http://deb.debian.org/debian';
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
/** In the list of kernels: from where this machine has its packages. */
const OWN_SOURCES = '-';

/**
 * @param {string} packageName kernel package or metapackage
 * @param {string} suite of Debian that it is taken from
 * @param {string} cache folder for unpacked packages
 * @returns {{ version: string, image: string, modules: string }} release, path of vmlinuz and of lib/modules/<release>
 */
export function fetchKernel(packageName, suite, cache) {
  const sources = suite === OWN_SOURCES ? [] : sourcesOf(suite, join(cache, 'lists', suite));
  const { name, version } = resolve(packageName, sources);
  const folder = join(cache, `${name}_${version.replace(/[^\w.+~-]/g, '_')}`);
  if (!existsSync(folder)) {
    mkdirSync(cache, { recursive: true });
    const download = mkdtempSync(join(cache, 'download-'));
    try {
      execFileSync('apt-get', ['-q', ...sources, 'download', name], {
        cwd: download,
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      const [file] = readdirSync(download);
      const unpacked = join(download, 'root');
      execFileSync('dpkg-deb', ['-x', join(download, file), unpacked]);
      // An installation would have listed the modules' dependencies.
      const { base, release } = locateModules(unpacked);
      execFileSync('depmod', ['-b', base, release]);
      renameSync(unpacked, folder);
    } finally {
      rmSync(download, { recursive: true });
    }
  }
  const { base, release } = locateModules(folder);
  return {
    version: release,
    image: join(folder, `boot/vmlinuz-${release}`),
    modules: join(base, 'lib/modules', release),
  };
}

/** Options that make apt know that suite and no other, from lists of our own: those of this machine stay as they are. */
function sourcesOf(suite, folder) {
  mkdirSync(join(folder, 'lists/partial'), { recursive: true });
  const list = join(folder, 'sources.list');
  writeFileSync(list, `deb [signed-by=${KEYRING}] ${MIRROR} ${suite} main\n`);
  const options = {
    'Dir::Etc::SourceList': list,
    'Dir::Etc::SourceParts': '/dev/null',
    'Dir::State::Lists': join(folder, 'lists'),
    'Dir::Cache::pkgcache': '',
    'Dir::Cache::srcpkgcache': '',
  };
  const sources = Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  execFileSync('apt-get', ['-q', ...sources, 'update'], { stdio: ['ignore', 'ignore', 'pipe'] });
  return sources;
}

/** Newer Debian releases keep lib/modules below usr/. */
function locateModules(folder) {
  const base = [folder, join(folder, 'usr')].find((path) => existsSync(join(path, 'lib/modules')));
  if (base === undefined) throw new Error(`${folder} has no lib/modules`);
  const [release] = readdirSync(join(base, 'lib/modules'));
  return { base, release };
}

/** The package with the kernel itself, and its version. */
function resolve(packageName, sources) {
  const text = execFileSync('apt-cache', [...sources, 'show', '--no-all-versions', packageName], {
    encoding: 'utf8',
  });
  const field = (name) => text.match(new RegExp(`^${name}: (.*)$`, 'm'))?.[1] ?? '';
  if (KERNEL_PACKAGE.test(packageName)) return { name: packageName, version: field('Version') };
  const dependency = field('Depends')
    .split(/[,|]\s*/)
    .map((part) => part.split(' ')[0])
    .find((name) => KERNEL_PACKAGE.test(name));
  if (dependency === undefined) throw new Error(`${packageName} depends on no kernel package`);
  return resolve(dependency, sources);
}
