// SPDX-License-Identifier: MIT
// One deadline for the whole run: every wait of the plugin ends at it, so the plugin cannot hang.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <poll.h>

class Deadline
{
      public:
	// Counts from the making of this object.
	explicit Deadline(double seconds) : start_(now_ms())
	{
		set(seconds);
	}

	// Moves the end; it still counts from the making.
	void set(double seconds)
	{
		end_ = start_ + static_cast<int64_t>(seconds * 1000);
	}

	int remaining_ms() const
	{
		return static_cast<int>(std::max<int64_t>(0, end_ - now_ms()));
	}

	// Waits until `fd` has one of `events` (or an error, which the caller's next call reports). False:
	// too late.
	bool wait(int fd, short events) const
	{
		for (;;) {
			struct pollfd entry = {fd, events, 0};
			const int ready = poll(&entry, 1, remaining_ms());
			if (ready > 0)
				return true;
			if (ready == 0 || errno != EINTR)
				return false;
		}
	}

      private:
	static int64_t now_ms()
	{
		struct timespec now = {};
		clock_gettime(CLOCK_MONOTONIC, &now);
		return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
	}

	int64_t start_;
	int64_t end_ = 0;
};
