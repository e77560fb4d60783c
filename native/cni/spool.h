// SPDX-License-Identifier: MIT
// DEL while the daemon is away: the request becomes a file beside the daemon's socket, and the daemon carries
// it out when it is back. One file per attachment, so that repeated calls do not add up.
#pragma once

#include <string>

#include "attachment.h"
#include "config.h"

namespace cni
{

constexpr size_t DEFERRED_MAX = 4096;

// Writes the file, durably. Throws Failure TRY_AGAIN_LATER when it cannot: then nothing was promised.
void defer(const Config &config, const Attachment &attachment);

// Takes the file back, because the daemon has carried the request out after all.
void forget(const Config &config, const Attachment &attachment);

} // namespace cni
