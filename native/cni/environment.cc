// SPDX-License-Identifier: MIT
#include "environment.h"

#include <cstdlib>
#include <cstring>

#include "failure.h"

namespace cni
{

namespace
{

// Those of the specification, and the one that its library adds.
constexpr const char *VARIABLES[] = {
    "CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH", "CNI_NETNS_OVERRIDE",
};
constexpr size_t VALUE_BYTES_MAX = 64 * 1024;

} // namespace

std::string variable(const char *name)
{
	const char *value = getenv(name);
	return value == nullptr ? std::string() : std::string(value);
}

Json forwarded_environment()
{
	Json object(json_object());
	for (const char *name : VARIABLES) {
		const char *value = getenv(name);
		if (value == nullptr)
			continue;
		if (strlen(value) > VALUE_BYTES_MAX)
			throw Failure{INVALID_ENVIRONMENT, std::string(name) + " is larger than 64 KiB", ""};
		if (json_object_set_new(object.get(), name, json_string(value)) != 0)
			throw Failure{INVALID_ENVIRONMENT, std::string(name) + " is not UTF-8", ""};
	}
	return object;
}

} // namespace cni
