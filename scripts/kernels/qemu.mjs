// Runs one virtual machine until it powers off.

import { spawn } from 'node:child_process';

/** Software emulation is some thirty times slower than the machine; a guest that takes longer hangs. */
const LIMIT_SECONDS = 900;

/**
 * @param {{ kernel: { image: string }, initramfs: string, cpu: string }} machine
 * @returns {Promise<string>} what the guest wrote to its serial console
 */
export function boot({ kernel, initramfs, cpu }) {
  const options = {
    M: 'pc,accel=tcg',
    cpu,
    smp: '2',
    m: '1024',
    kernel: kernel.image,
    initrd: initramfs,
    // panic=-1: a crashed guest reboots at once, which -no-reboot turns into the end.
    append: 'console=ttyS0 quiet loglevel=3 panic=-1 rdinit=/init',
    nic: 'none',
  };
  const args = Object.entries(options).flatMap(([name, value]) => [`-${name}`, value]);
  return new Promise((resolve, reject) => {
    // timeout(1) ends the guest even when this process is gone.
    const command = [
      '-k',
      '5',
      `${LIMIT_SECONDS}`,
      'qemu-system-x86_64',
      ...args,
      '-nographic',
      '-no-reboot',
    ];
    const guest = spawn('timeout', command, { stdio: ['ignore', 'pipe', 'pipe'] });
    let console = '';
    for (const stream of [guest.stdout, guest.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text) => {
        console += text;
      });
    }
    guest.on('error', reject);
    guest.on('close', () => resolve(console));
  });
}
