/** Where cgroups of version 2 are mounted, as the kernel lists its mounts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, expect, it } from 'vitest';
import { cgroupMounts, findCgroupRoot } from '../../src/datapath/hooks/cgroup-root.js';

const UNIFIED = '25 30 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate';
const OLD = '31 30 0:28 / /sys/fs/cgroup/cpu rw,relatime shared:5 - cgroup cgroup rw,cpu';

describe('the root of the cgroups', () => {
  it('is where the whole hierarchy of version 2 is mounted', () => {
    expect(cgroupMounts([OLD, UNIFIED, ''].join('\n'))).toEqual(['/sys/fs/cgroup']);
    const hybrid = '40 30 0:37 / /sys/fs/cgroup/unified rw shared:9 master:3 - cgroup2 none rw';
    expect(cgroupMounts(hybrid)).toEqual(['/sys/fs/cgroup/unified']);
    expect(cgroupMounts('40 30 0:37 / /mnt/my\\040cgroups\\134 rw - cgroup2 none rw')).toEqual([
      '/mnt/my cgroups\\',
    ]);
  });

  it('is no part of it that is mounted elsewhere, nor anything else of that name', () => {
    const part = '40 30 0:37 /system.slice /mnt/part rw - cgroup2 cgroup2 rw';
    const above = '40 30 0:37 /../.. /mnt/above rw - cgroup2 cgroup2 rw';
    const lookalike = '40 30 0:37 / /mnt/cgroup2 rw - tmpfs cgroup2 rw';
    expect(cgroupMounts([part, above, lookalike, 'nonsense', OLD].join('\n'))).toEqual([]);
  });

  it('is missing where the setting says so, where none is mounted, or something is mounted over it', () => {
    const directory = mkdtempSync(`${tmpdir()}/qn-test-`);
    try {
      const covered = `40 30 0:37 / ${directory} rw - cgroup2 cgroup2 rw`;
      const gone = '40 30 0:37 / /nonexistent rw - cgroup2 cgroup2 rw';
      const problem = 'no cgroup file system of version 2 is mounted';
      for (const mounts of ['', covered, gone])
        expect(findCgroupRoot('auto', () => mounts)).toEqual({ problem });
      expect(findCgroupRoot('none', () => UNIFIED)).toEqual({ problem: 'the setting cgroup_root is none' });
      expect(findCgroupRoot(directory)).toEqual({ problem: `${directory} is no cgroup of version 2` });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
