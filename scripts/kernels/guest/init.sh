#!/bin/busybox sh
# The first process of the guest. The kernel stops when it ends, so it powers off.
export PATH=/bin:/sbin HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for module in $(cat /modules); do
	insmod "$module" || echo "RESULT insert $module: not ok"
done
ip link set lo up
node /quantum/scripts/kernels/guest/main.mjs 2>&1
poweroff -f
