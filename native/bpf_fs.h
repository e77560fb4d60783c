/* SPDX-License-Identifier: MIT */
/* The BPF file system, where pins live. */
#pragma once

#include "status.h"

#include <string>

std::string parent_of(const std::string &path);

/* Whether path exists and lies on a bpffs. */
bool is_bpffs(const std::string &path);

/* mkdir -p on a bpffs. EINVAL when path would be on another file system. */
void make_bpffs_directory(const std::string &path);

/* isBpffs(path), mountBpffs(path) */
void init_bpf_fs(Napi::Env env, Napi::Object exports);
