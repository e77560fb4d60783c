/** Settings of the daemon as a process: where its files are, and what it logs. */
import { z } from 'zod';
import { path } from './values.js';

/** sun_path has 108 bytes, one of them for the end, and the longest socket name is "/api.sock". */
const RUN_DIR_MAX = 107 - '/api.sock'.length;

export const daemonSettings = {
  config: path('Configuration file (YAML)', '/etc/quantum/config.yaml'),
  run_dir: path('Directory of the sockets api.sock and cni.sock', '/run/quantum', RUN_DIR_MAX),
  state_dir: path('Directory of the embedded store', '/var/lib/quantum'),
  bpffs_dir: path(
    'Directory of the pinned programs, links and maps; a BPF file system is mounted if it is in none',
    '/sys/fs/bpf/quantum',
  ),
  store: z
    .literal('embedded', 'must be "embedded": no other store is supported yet')
    .default('embedded')
    .describe('Where the state is kept; `embedded`: in state_dir'),
  log_level: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
    .default('info')
    .describe('Least severe messages that are logged: trace, debug, info, warn, error, fatal or silent'),
};
