/** Where the machine's cgroups of version 2 begin: hooks of sockets that hang there see those of every process. */
import { readFileSync, statfsSync } from 'node:fs';
import { CGROUP_ROOT_AUTO, CGROUP_ROOT_NONE } from '../../model/settings.js';

/** CGROUP2_SUPER_MAGIC of linux/magic.h */
const CGROUP2_MAGIC = 0x63677270;

/** A directory, or why there is none. */
export type CgroupRoot = { path: string } | { problem: string };

export function findCgroupRoot(
  setting: string,
  mountinfo = () => readFileSync('/proc/self/mountinfo', 'utf8'),
): CgroupRoot {
  if (setting === CGROUP_ROOT_NONE) return { problem: 'the setting cgroup_root is none' };
  if (setting !== CGROUP_ROOT_AUTO) {
    return isCgroup(setting) ? { path: setting } : { problem: `${setting} is no cgroup of version 2` };
  }
  const path = cgroupMounts(mountinfo()).find(isCgroup);
  return path === undefined ? { problem: 'no cgroup file system of version 2 is mounted' } : { path };
}

/** Where the whole hierarchy is mounted, by the lines of /proc/self/mountinfo (proc_pid_mountinfo(5)). */
export function cgroupMounts(mountinfo: string): string[] {
  return mountinfo.split('\n').flatMap((line) => {
    const [place = '', source = ''] = line.split(' - ');
    const [, , , root, mountPoint = ''] = place.split(' ');
    if (root !== '/' || !source.startsWith('cgroup2 ')) return [];
    return [mountPoint.replace(/\\([0-7]{3})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 8)))];
  });
}

/** False also where something else is mounted over it. */
function isCgroup(path: string): boolean {
  try {
    return statfsSync(path).type === CGROUP2_MAGIC;
  } catch {
    return false;
  }
}
