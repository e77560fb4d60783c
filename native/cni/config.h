// SPDX-License-Identifier: MIT
// The network configuration on standard input: as much of it as the plugin needs to find the daemon. The
// daemon validates the whole.
#pragma once

#include <string>

#include "deadline.h"

namespace cni
{

// Versions of the specification, as VERSION reports them.
extern const char *const SUPPORTED_VERSIONS[5];
// Version of a result when the configuration names none.
extern const char *const CURRENT_VERSION;

constexpr size_t STDIN_BYTES_MAX = 1 << 20;
constexpr double TIMEOUT_SECONDS = 30;
constexpr double TIMEOUT_SECONDS_MAX = 3600;

struct Config {
	std::string text;		  // the bytes of standard input
	std::string version;		  // "cniVersion", whatever it says
	std::string name;		  // "name", whatever it says
	std::string type;		  // "type", whatever it says
	std::string socket;		  // path of the daemon's socket
	std::string ipam_type;		  // "ipam.type": the plugin that gives addresses, empty for ours
	double timeout = TIMEOUT_SECONDS; // for everything, in seconds
};

// The limit before the configuration is known, and when it names none: QUANTUM_CNI_TIMEOUT, else
// TIMEOUT_SECONDS.
double default_timeout();

bool is_supported(const std::string &version);

// Whether the text has the form of a version and can be repeated in an answer.
bool is_version(const std::string &text);

// Standard input to its end. Throws Failure: IO_FAILURE when it cannot be read in time, DECODING_FAILURE when
// it is larger than STDIN_BYTES_MAX.
std::string read_stdin(const Deadline &deadline);

// "cniVersion" of the text when it is there and has the form of a version, else CURRENT_VERSION. Does not
// throw.
std::string version_of(const std::string &text);

// Throws Failure: DECODING_FAILURE when the text is not a JSON object, INVALID_CONFIG for a bad "socket",
// "timeout" or "ipam.type".
Config parse_config(std::string text);

} // namespace cni
