/* SPDX-License-Identifier: MIT */
/* Owner of one file descriptor. Moves, never copies; closes on destruction. */
#pragma once

#include <unistd.h>
#include <utility>

class UniqueFd
{
      public:
	UniqueFd() = default;
	explicit UniqueFd(int fd) : fd_(fd)
	{
	}
	UniqueFd(UniqueFd &&other) noexcept : fd_(other.release())
	{
	}
	UniqueFd &operator=(UniqueFd &&other) noexcept
	{
		reset(other.release());
		return *this;
	}
	UniqueFd(const UniqueFd &) = delete;
	UniqueFd &operator=(const UniqueFd &) = delete;
	~UniqueFd()
	{
		reset();
	}

	int get() const
	{
		return fd_;
	}
	explicit operator bool() const
	{
		return fd_ >= 0;
	}
	int release()
	{
		return std::exchange(fd_, -1);
	}
	/* close(2) is not repeated on EINTR: Linux has closed the descriptor by then. */
	void reset(int fd = -1)
	{
		if (int old = std::exchange(fd_, fd); old >= 0)
			close(old);
	}

      private:
	int fd_ = -1;
};
