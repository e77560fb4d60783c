// SPDX-License-Identifier: MIT
// The IPAM plugin that a configuration names ("ipam.type"), executed as the CNI specification has it
// (section 4): found in CNI_PATH, with our environment, our standard input and our standard error.
#pragma once

#include <string>

#include "config.h"
#include "deadline.h"

namespace cni
{

class Delegate
{
      public:
	Delegate(const Config &config, const Deadline &deadline) : config_(config), deadline_(deadline)
	{
	}

	// Whether the configuration names one; without one nothing below does anything.
	bool exists() const
	{
		return !config_.ipam_type.empty();
	}

	// Runs it and returns what it printed. Throws Failure when it cannot be found, does not end in time
	// or fails without saying why, and Refusal with its own error object when it does say why.
	std::string run(const char *command) const;

	// The same, when what we are about to report is worse than whatever it answers.
	void run_quietly(const char *command) const;

      private:
	const Config &config_;
	const Deadline &deadline_;
};

// What a delegated plugin printed when it refused: an error object, to be passed on as it is.
struct Refusal {
	std::string text;
};

} // namespace cni
