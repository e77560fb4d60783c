/** An image made of Debian's static busybox: nothing is pulled. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const IMAGE = 'localhost/quantum-test:1';
const APPLETS = ['sh', 'sleep', 'nc', 'ip', 'cat', 'ls', 'echo', 'true', 'ping'];
const OCI = 'application/vnd.oci.image';

export interface Image {
  /** The files, for runtimes that take a directory. */
  readonly root: string;
  /** An archive of the OCI layout. */
  readonly archive: string;
}

/** Makes the image in the directory. */
export function makeImage(directory: string): Image {
  const root = join(directory, 'root');
  for (const path of ['bin', 'etc', 'tmp', 'proc', 'sys', 'dev', 'run']) {
    mkdirSync(join(root, path), { recursive: true });
  }
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  for (const applet of APPLETS) symlinkSync('busybox', join(root, 'bin', applet));

  const layout = join(directory, 'layout');
  mkdirSync(join(layout, 'blobs/sha256'), { recursive: true });
  const store = (content: Buffer) => {
    const digest = createHash('sha256').update(content).digest('hex');
    writeFileSync(join(layout, 'blobs/sha256', digest), content);
    return { digest: `sha256:${digest}`, size: content.length };
  };
  const json = (value: object) => Buffer.from(JSON.stringify(value));
  const layer = join(directory, 'layer.tar');
  execFileSync('tar', ['-C', root, '--owner=0', '--group=0', '-cf', layer, '.']);
  const files = store(readFileSync(layer));
  const config = store(
    json({
      architecture: { x64: 'amd64', arm64: 'arm64' }[process.arch as string],
      os: 'linux',
      config: { Cmd: ['/bin/sleep', 'infinity'], Env: ['PATH=/bin'] },
      rootfs: { type: 'layers', diff_ids: [files.digest] },
    }),
  );
  const manifest = store(
    json({
      schemaVersion: 2,
      mediaType: `${OCI}.manifest.v1+json`,
      config: { mediaType: `${OCI}.config.v1+json`, ...config },
      layers: [{ mediaType: `${OCI}.layer.v1.tar`, ...files }],
    }),
  );
  const annotations = {
    'io.containerd.image.name': IMAGE,
    'org.opencontainers.image.ref.name': IMAGE,
  };
  const index = { mediaType: `${OCI}.manifest.v1+json`, ...manifest, annotations };
  writeFileSync(join(layout, 'index.json'), json({ schemaVersion: 2, manifests: [index] }));
  writeFileSync(join(layout, 'oci-layout'), json({ imageLayoutVersion: '1.0.0' }));
  const archive = join(directory, 'image.tar');
  execFileSync('tar', ['-C', layout, '-cf', archive, '.']);
  return { root, archive };
}
