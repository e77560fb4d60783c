// SPDX-License-Identifier: MIT
#include "failure.h"

#include <cerrno>
#include <unistd.h>

#include "config.h"
#include "json.h"

namespace cni
{

std::string printable(const std::string &bytes)
{
	constexpr size_t LENGTH_MAX = 128;
	std::string text = bytes.substr(0, LENGTH_MAX);
	for (char &c : text)
		if (c < 0x20 || c > 0x7e)
			c = '?';
	return bytes.size() > LENGTH_MAX ? text + "..." : text;
}

bool write_all(int fd, const std::string &bytes)
{
	size_t done = 0;
	while (done < bytes.size()) {
		const ssize_t count = write(fd, bytes.data() + done, bytes.size() - done);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return false;
		done += static_cast<size_t>(count);
	}
	return true;
}

int report(const Failure &failure, const std::string &cni_version)
{
	const Json object(json_object());
	json_object_set_new(object.get(), "cniVersion",
			    json_text(is_supported(cni_version) ? cni_version : CURRENT_VERSION));
	json_object_set_new(object.get(), "code", json_integer(failure.code));
	json_object_set_new(object.get(), "msg", json_text(failure.message));
	if (!failure.details.empty())
		json_object_set_new(object.get(), "details", json_text(failure.details));
	write_all(STDOUT_FILENO, json_line(object.get()) + "\n");
	return 1;
}

} // namespace cni
