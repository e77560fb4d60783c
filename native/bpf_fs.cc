// SPDX-License-Identifier: MIT
#include "bpf_fs.h"

#include "args.h"
#include "unique_fd.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* The mount point that the kernel provides in sysfs for everybody. */
static const char *const SHARED_MOUNT = "/sys/fs/bpf";
static constexpr mode_t DIRECTORY_MODE = 0700;

std::string parent_of(const std::string &path)
{
	size_t end = path.find_last_not_of('/');
	size_t slash = end == std::string::npos ? end : path.rfind('/', end);
	if (slash == std::string::npos)
		return path.starts_with('/') ? "/" : ".";
	return slash == 0 ? "/" : path.substr(0, slash);
}

bool is_bpffs(const std::string &path)
{
	struct statfs fs;
	return statfs(path.c_str(), &fs) == 0 && static_cast<uint32_t>(fs.f_type) == BPF_FS_MAGIC;
}

static void make_directories(const std::string &path)
{
	if (mkdir(path.c_str(), DIRECTORY_MODE) == 0)
		return;
	if (errno == ENOENT && parent_of(path) != path) {
		make_directories(parent_of(path));
		if (mkdir(path.c_str(), DIRECTORY_MODE) == 0)
			return;
	}
	struct stat existing;
	if (errno == EEXIST && stat(path.c_str(), &existing) == 0 && S_ISDIR(existing.st_mode))
		return;
	check_errno(-1, "make directory", path);
}

static bool exists(const std::string &path)
{
	return access(path.c_str(), F_OK) == 0;
}

void make_bpffs_directory(const std::string &path)
{
	std::string ancestor = path;
	while (!exists(ancestor) && parent_of(ancestor) != ancestor)
		ancestor = parent_of(ancestor);
	if (!is_bpffs(ancestor))
		throw Failure{EINVAL, "make pin directory", path + " (not on a bpffs)"};
	make_directories(path);
}

static bool lies_below(const std::string &path, const std::string &directory)
{
	return path == directory || path.starts_with(directory + "/");
}

/*
 * Two processes that start together must not mount twice, or one's pins would be hidden below the other's
 * mount: the directory that is mounted over is the lock, and the path is looked up again under it.
 */
static void mount_once(const std::string &target)
{
	UniqueFd lock(check_errno(open(target.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open", target));
	check_errno(flock(lock.get(), LOCK_EX), "lock", target);
	if (!is_bpffs(target))
		check_errno(
		    mount("bpf", target.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"),
		    "mount bpffs on", target);
}

static Napi::Value mount_bpffs(const Napi::CallbackInfo &info)
{
	std::string path = to_text(info[0], "path");
	if (is_bpffs(path))
		return info.Env().Undefined();
	if (lies_below(path, SHARED_MOUNT)) {
		mount_once(SHARED_MOUNT);
		make_bpffs_directory(path);
	} else if (is_bpffs(parent_of(path))) {
		make_bpffs_directory(path);
	} else {
		make_directories(path);
		mount_once(path);
	}
	return info.Env().Undefined();
}

static Napi::Value is_bpffs_value(const Napi::CallbackInfo &info)
{
	return Napi::Boolean::New(info.Env(), is_bpffs(to_text(info[0], "path")));
}

void init_bpf_fs(Napi::Env env, Napi::Object exports)
{
	define<mount_bpffs>(env, exports, "mountBpffs");
	define<is_bpffs_value>(env, exports, "isBpffs");
}
