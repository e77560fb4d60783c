// SPDX-License-Identifier: MIT
#include "config.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <sys/un.h>
#include <unistd.h>

#include "failure.h"
#include "json.h"

namespace cni
{

const char *const SUPPORTED_VERSIONS[5] = {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};
const char *const CURRENT_VERSION = "1.1.0";

namespace
{

constexpr const char *DEFAULT_SOCKET = "/run/quantum/cni.sock";

// An integer too large for the decoder is no reason to refuse a configuration that others can read; NUL in a
// string is legal JSON.
constexpr size_t DECODE_FLAGS = JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL;

Json decode(const std::string &text, json_error_t &error)
{
	return Json(json_loadb(text.data(), text.size(), DECODE_FLAGS, &error));
}

std::string socket_path(const json_t *root)
{
	const json_t *value = json_object_get(root, "socket");
	std::string path;
	const char *source = "\"socket\" of the network configuration";
	if (value != nullptr) {
		path = json_bytes(value);
	} else if (const char *variable = getenv("QUANTUM_CNI_SOCKET");
		   variable != nullptr && *variable != '\0') {
		path = variable;
		source = "QUANTUM_CNI_SOCKET";
	} else {
		return DEFAULT_SOCKET;
	}
	const bool fits = path.size() < sizeof(sockaddr_un::sun_path) && path.find('\0') == std::string::npos;
	if (path.empty() || path[0] != '/' || !fits)
		throw Failure{value != nullptr ? INVALID_CONFIG : INVALID_ENVIRONMENT,
			      std::string(source) + " must be an absolute path of at most 107 bytes",
			      printable(path)};
	return path;
}

bool is_timeout(double seconds)
{
	return seconds > 0 && seconds <= TIMEOUT_SECONDS_MAX;
}

double timeout_seconds(const json_t *root)
{
	const json_t *value = json_object_get(root, "timeout");
	if (value == nullptr)
		return default_timeout();
	const double seconds = json_number_value(value);
	if (!json_is_number(value) || !is_timeout(seconds))
		throw Failure{INVALID_CONFIG,
			      "\"timeout\" of the network configuration must be a number of seconds, above 0 "
			      "and at most 3600",
			      ""};
	return seconds;
}

// The name of an executable, and not our own: that would call itself without end.
std::string ipam_type(const json_t *root)
{
	const json_t *value = json_object_get(json_object_get(root, "ipam"), "type");
	if (value == nullptr)
		return std::string();
	std::string type = json_bytes(value);
	const bool is_own = type == "quantum-cni" || type == "quantum";
	if (!json_is_string(value) || is_own || type == "." || type == ".." ||
	    type.find_first_of(std::string("/\0", 2)) != std::string::npos)
		throw Failure{INVALID_CONFIG,
			      "\"ipam.type\" of the network configuration must name an IPAM plugin",
			      printable(type)};
	return type;
}

} // namespace

double default_timeout()
{
	const char *text = getenv("QUANTUM_CNI_TIMEOUT");
	const double seconds = text == nullptr ? TIMEOUT_SECONDS : strtod(text, nullptr);
	return is_timeout(seconds) ? seconds : TIMEOUT_SECONDS;
}

bool is_supported(const std::string &version)
{
	return std::find(std::begin(SUPPORTED_VERSIONS), std::end(SUPPORTED_VERSIONS), version) !=
	       std::end(SUPPORTED_VERSIONS);
}

bool is_version(const std::string &text)
{
	constexpr size_t LENGTH_MAX = 32;
	if (text.size() > LENGTH_MAX)
		return false;
	int numbers = 0;
	bool digit = false;
	for (const char c : text) {
		if (c >= '0' && c <= '9') {
			numbers += digit ? 0 : 1;
			digit = true;
		} else if (c == '.' && digit) {
			digit = false;
		} else {
			return false;
		}
	}
	return digit && numbers == 3;
}

std::string read_stdin(const Deadline &deadline)
{
	constexpr size_t CHUNK = 16384;
	std::string text;
	for (;;) {
		if (!deadline.wait(STDIN_FILENO, POLLIN))
			throw Failure{IO_FAILURE, "standard input was not closed in time", ""};
		const size_t before = text.size();
		text.resize(before + CHUNK);
		const ssize_t count = read(STDIN_FILENO, text.data() + before, CHUNK);
		if (count < 0 && (errno == EINTR || errno == EAGAIN)) {
			text.resize(before);
			continue;
		}
		if (count < 0)
			throw Failure{IO_FAILURE, "standard input cannot be read", strerror(errno)};
		text.resize(before + static_cast<size_t>(count));
		if (count == 0)
			return text;
		if (text.size() > STDIN_BYTES_MAX)
			throw Failure{DECODING_FAILURE, "the network configuration is larger than 1 MiB", ""};
	}
}

std::string version_of(const std::string &text)
{
	json_error_t error;
	const Json root = decode(text, error);
	const std::string version =
	    root ? json_bytes(json_object_get(root.get(), "cniVersion")) : std::string();
	return is_version(version) ? version : CURRENT_VERSION;
}

Config parse_config(std::string text)
{
	json_error_t error;
	const Json root = decode(text, error);
	if (!root)
		throw Failure{DECODING_FAILURE, "the network configuration is not JSON",
			      printable(error.text) + " at line " + std::to_string(error.line) + ", column " +
				  std::to_string(error.column)};
	if (!json_is_object(root.get()))
		throw Failure{DECODING_FAILURE, "the network configuration is not a JSON object", ""};

	Config config;
	config.version = json_bytes(json_object_get(root.get(), "cniVersion"));
	config.name = json_bytes(json_object_get(root.get(), "name"));
	config.type = json_bytes(json_object_get(root.get(), "type"));
	config.socket = socket_path(root.get());
	config.timeout = timeout_seconds(root.get());
	config.ipam_type = ipam_type(root.get());
	config.text = std::move(text);
	return config;
}

} // namespace cni
