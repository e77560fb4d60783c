// Makes the guest's whole file system: busybox, Node.js, the product as `npm start` would run it, and the
// kernel modules that it needs.

import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** Where the product is in the guest. */
const HOME = 'quantum';

/** Kernel features that distributions build as modules. Those that a kernel has built in are left out. */
const MODULES = [
  'veth',
  'bridge',
  'dummy',
  'sch_ingress',
  'sch_tbf',
  'cls_bpf',
  'inet_diag',
  'tcp_diag',
  'sctp',
];

/** Those that a kernel gains while it runs: the scenario inserts them. */
const LATE_MODULES = ['sch_fq'];

const APPLETS = [
  'sh',
  'mount',
  'ip',
  'insmod',
  'unshare',
  'nsenter',
  'poweroff',
  'cat',
  'sleep',
  'dmesg',
  'umount',
];

/**
 * @param {{ root: string, kernel: { modules: string }, folder: string }} options root of the clone, the kernel,
 *   and a folder for what is made
 * @returns {string} path of the archive
 */
export function buildInitramfs({ root, kernel, folder }) {
  const tree = join(folder, 'root');
  rmSync(tree, { recursive: true, force: true });
  for (const path of ['bin', 'sbin', 'proc', 'sys', 'dev', 'run', 'tmp', 'etc', 'var/lib', HOME]) {
    mkdirSync(join(tree, path), { recursive: true });
  }
  copyBusybox(tree);
  copyProgram(process.execPath, tree, 'bin/node');
  copyProgram(locate('flock'), tree, 'bin/flock'); // the daemon's, for its state directory
  copyProgram(locate('tc'), tree, 'bin/tc');
  copyProduct(root, tree);
  copyModules(MODULES, kernel.modules, tree, 'modules');
  copyModules(LATE_MODULES, kernel.modules, tree, 'modules.late');
  cpSync(join(root, 'scripts/kernels/guest/init.sh'), join(tree, 'init'));
  chmodSync(join(tree, 'init'), 0o755);
  return pack(tree, join(folder, 'initramfs.cpio'));
}

function copyBusybox(tree) {
  cpSync(realpathSync(locate('busybox')), join(tree, 'bin/busybox'));
  for (const applet of APPLETS) symlinkSync('busybox', join(tree, 'bin', applet));
}

function locate(program) {
  return execFileSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).trim();
}

function copyProgram(source, tree, target) {
  cpSync(realpathSync(source), join(tree, target));
  copyLibraries(source, tree);
}

/** Shared libraries go to the same path as here, since that is where the loader looks. */
function copyLibraries(binary, tree) {
  for (const [, library] of execFileSync('ldd', [binary], { encoding: 'utf8' }).matchAll(/(\/\S+) \(0x/g)) {
    mkdirSync(join(tree, dirname(library)), { recursive: true });
    cpSync(realpathSync(library), join(tree, library));
  }
}

function copyProduct(root, tree) {
  const home = join(tree, HOME);
  const copy = (path) => cpSync(join(root, path), join(home, path), { recursive: true });
  for (const path of ['package.json', 'dist', 'scripts/kernels/guest']) copy(path);
  mkdirSync(join(home, 'bpf/build'), { recursive: true });
  for (const name of readdirSync(join(root, 'bpf/build')).filter((name) => name.endsWith('.bpf.o'))) {
    copy(join('bpf/build', name));
  }
  for (const name of ['quantum.node', 'quantum-cni']) {
    copy(join('native/build', name));
    copyLibraries(join(root, 'native/build', name), tree);
  }
  for (const path of productionModules(root)) copy(path);
}

/** The npm modules that are needed at run time. Optional ones for other platforms are in the lockfile only. */
function productionModules(root) {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  return Object.entries(packages)
    .filter(([path, { dev }]) => path.startsWith('node_modules/') && !dev && existsSync(join(root, path)))
    .map(([path]) => path);
}

/** Copies modules with what they depend on; a file lists them in the order in which they can be inserted. */
function copyModules(wanted, modules, tree, list) {
  const dependencies = new Map(
    readFileSync(join(modules, 'modules.dep'), 'utf8')
      .split('\n')
      .filter((line) => line.includes(':'))
      .map((line) => line.split(':'))
      .map(([path, needs]) => [path, needs.split(' ').filter((need) => need !== '')]),
  );
  const order = new Set();
  const add = (path) => {
    for (const need of dependencies.get(path) ?? []) add(need);
    order.add(path);
  };
  for (const name of wanted) {
    const path = [...dependencies.keys()].find(
      (path) =>
        basename(path)
          .replace(/\.ko.*/, '')
          .replaceAll('-', '_') === name,
    );
    if (path !== undefined) add(path);
  }
  mkdirSync(join(tree, 'lib/modules'), { recursive: true });
  const names = [...order].map((path) => copyModule(join(modules, path), join(tree, 'lib/modules')));
  writeFileSync(join(tree, list), names.map((name) => `/lib/modules/${name}\n`).join(''));
}

/** Some distributions compress modules; busybox inserts plain ones. */
function copyModule(path, folder) {
  const tools = { '.xz': 'xz', '.zst': 'zstd', '.gz': 'gzip' };
  const ending = path.slice(path.indexOf('.ko') + 3);
  const name = basename(path, ending);
  const content =
    ending === '' ? readFileSync(path) : execFileSync(tools[ending], ['-dc', path], { maxBuffer: 64 << 20 });
  writeFileSync(join(folder, name), content);
  return name;
}

/** Not compressed: an emulated CPU unpacks more slowly than QEMU reads. */
function pack(tree, archive) {
  execFileSync(
    'sh',
    ['-c', 'find . | cpio --quiet --create --format=newc --owner=0:0 >"$1"', 'sh', archive],
    { cwd: tree },
  );
  rmSync(tree, { recursive: true });
  return archive;
}
