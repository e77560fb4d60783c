// SPDX-License-Identifier: MIT
// What the daemon is told of the environment: the variables of the CNI specification. The rest stays here,
// because runtimes keep secrets in theirs.
#pragma once

#include <string>

#include "json.h"

namespace cni
{

// Value of a variable, empty when it is not set.
std::string variable(const char *name);

// {"CNI_COMMAND": "ADD", ...}. Throws Failure INVALID_ENVIRONMENT when a value is not UTF-8 or too large.
Json forwarded_environment();

} // namespace cni
