/** Settings of what container runtimes see of the node: its CNI plugin, and its plugin of Docker. */
import { z } from 'zod';
import { CNI_VERSIONS } from '../cni.js';
import { path, pathOrNone } from './values.js';

/** sun_path has 108 bytes, one of them for the end. */
const PLUGIN_DIR_MAX = 107 - '/quantum.sock'.length;

export const runtimeSettings = {
  cni_bin_dir: path('Directory of CNI plugins', '/opt/cni/bin'),
  cni_conf_dir: path('Directory of CNI network configurations', '/etc/cni/net.d'),
  cni_conf_prefix: z
    .string()
    .regex(
      /^([A-Za-z0-9][A-Za-z0-9_-]{0,31})?$/,
      'must be at most 32 letters, digits, "-" and "_", and start with a letter or digit',
    )
    .default('')
    .describe(
      'What the names of CNI network configurations start with, such as `10-`: runtimes that take one network take the first by name',
    ),
  cni_version: z
    .enum(CNI_VERSIONS, `must be one of ${CNI_VERSIONS.join(', ')}`)
    .default('1.0.0')
    .describe(
      `Version of the specification that CNI network configurations are written in: ${CNI_VERSIONS.join(', ')}; runtimes that read 1.1.0 send STATUS and GC too`,
    ),
  docker_plugin_dir: pathOrNone(
    'Directory in which Docker looks for plugins: the socket quantum.sock there serves its networks',
    '/run/docker/plugins',
    PLUGIN_DIR_MAX,
  ),
  docker_socket: pathOrNone(
    'Socket of the Docker Engine API, which tells whose an endpoint is, and the labels of that container',
    '/var/run/docker.sock',
  ),
};
