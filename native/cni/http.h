// SPDX-License-Identifier: MIT
// One HTTP/1.1 request over a Unix stream socket: just what the daemon's CNI socket speaks.
#pragma once

#include <optional>
#include <string>

#include "deadline.h"

namespace cni
{

enum class Reach {
	ANSWERED, // a whole answer arrived
	ABSENT,	  // nothing listens at the path
	DENIED,	  // the socket may not be used, or is not the daemon's
	BROKEN,	  // the connection ended before a whole answer, or the answer is none
	LATE,	  // the deadline passed
};

struct Reply {
	Reach reach;
	int status;	  // of HTTP, when answered
	std::string text; // the body when answered, else what happened
};

// Whether somebody listens at the path: the reply when not.
std::optional<Reply> unreachable(const std::string &socket_path, const Deadline &deadline);

// Sends `body` as POST /cni. Never waits beyond the deadline, never throws for what the other side does.
Reply post(const std::string &socket_path, const std::string &body, const Deadline &deadline);

} // namespace cni
