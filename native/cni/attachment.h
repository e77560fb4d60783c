// SPDX-License-Identifier: MIT
// The key of an attachment: network, container, interface. Checked here only when the daemon cannot do it,
// because the key becomes the name of a file.
#pragma once

#include <string>

#include "config.h"

namespace cni
{

struct Attachment {
	std::string container_id;
	std::string interface_name;
	std::string network;

	// Whether the daemon can have made it: its limits of length are narrower than the specification's.
	bool is_possible() const;
	// "<container id>@<interface>@<network>": no '/', not longer than a file name, one to one.
	std::string key() const;
};

// Throws Failure when a part is missing or breaks the rules of the specification (section 2, "Parameters").
Attachment attachment_of(const Config &config);

} // namespace cni
