/* SPDX-License-Identifier: MIT */
/* libbpf's messages. It has one print callback per process; captures are per thread, and nothing reaches
 * stderr. */
#pragma once

#include <optional>
#include <string>

/* Collects what libbpf says on this thread while it lives. They nest; the innermost gets the text. */
class LogCapture
{
      public:
	LogCapture();
	~LogCapture();
	LogCapture(const LogCapture &) = delete;
	LogCapture &operator=(const LogCapture &) = delete;

	void append(std::string_view text);
	/* The program that failed to load and its whole verifier log. */
	struct Refusal {
		std::string program;
		std::string log;
	};
	std::optional<Refusal> refusal() const;
	/* The first message, without its newline: the closest to the cause. */
	std::string first_message() const;

      private:
	std::string text_;
	LogCapture *outer_;
};

/* Once per process, before any other use of libbpf. */
void install_log_capture();
