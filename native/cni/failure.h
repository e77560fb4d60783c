// SPDX-License-Identifier: MIT
// Errors as the CNI specification (section 5, "Error") wants them: JSON on standard output, exit code 1.
#pragma once

#include <string>

namespace cni
{

// The codes that the plugin itself gives, those of the specification and one of ours; the daemon has the
// rest.
enum Code {
	INCOMPATIBLE_VERSION = 1,
	INVALID_ENVIRONMENT = 4,
	IO_FAILURE = 5,
	DECODING_FAILURE = 6,
	INVALID_CONFIG = 7,
	TRY_AGAIN_LATER = 11,
	NOT_AVAILABLE = 50,
	INTERNAL = 999,
};

// Thrown by any step; main prints it.
struct Failure {
	Code code;
	std::string message;
	std::string details;
};

// Bytes from outside, made fit for a message: printable ASCII, at most 128 characters.
std::string printable(const std::string &bytes);

// Writes all bytes to a descriptor. False when that fails.
bool write_all(int fd, const std::string &bytes);

// Prints the error object, in the caller's version or else the current one, and returns the exit code.
int report(const Failure &failure, const std::string &cni_version);

} // namespace cni
