/** What the numbers were measured on. */
import { execFileSync } from 'node:child_process';
import { cpus, loadavg, release, totalmem } from 'node:os';

export function machine() {
  const [cpu] = cpus();
  return {
    cpu: cpu.model,
    cpus: cpus().length,
    memory_gib: Math.round(totalmem() / 2 ** 30),
    virtual: virtualization(),
    kernel: release(),
    node: process.version,
    date: new Date().toISOString().slice(0, 10),
    load: Number(loadavg()[0].toFixed(1)),
  };
}

function virtualization() {
  try {
    return execFileSync('systemd-detect-virt', {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return 'unknown';
  }
}
