// SPDX-License-Identifier: MIT
#include "attachment.h"

#include "environment.h"
#include "failure.h"

namespace cni
{

namespace
{

constexpr size_t CONTAINER_ID_MAX = 128;
constexpr size_t INTERFACE_NAME_MAX = 15;
constexpr size_t NETWORK_NAME_MAX = 63;

bool is_alphanumeric(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

// The specification's form of container ids and network names.
bool is_identifier(const std::string &text)
{
	if (text.empty() || !is_alphanumeric(text[0]))
		return false;
	for (const char c : text)
		if (!is_alphanumeric(c) && c != '_' && c != '.' && c != '-')
			return false;
	return true;
}

bool is_interface_name(const std::string &text)
{
	if (text.empty() || text.size() > INTERFACE_NAME_MAX || text == "." || text == "..")
		return false;
	for (const char c : text)
		if (c <= 0x20 || c > 0x7e || c == '/' || c == ':')
			return false;
	return true;
}

} // namespace

bool Attachment::is_possible() const
{
	return container_id.size() <= CONTAINER_ID_MAX && network.size() <= NETWORK_NAME_MAX;
}

std::string Attachment::key() const
{
	return container_id + "@" + interface_name + "@" + network;
}

Attachment attachment_of(const Config &config)
{
	if (!is_supported(config.version))
		throw Failure{INCOMPATIBLE_VERSION, "the CNI version is not supported",
			      printable(config.version)};
	if (!is_identifier(config.name))
		throw Failure{INVALID_CONFIG, "\"name\" of the network configuration is missing or not valid",
			      printable(config.name)};
	const Attachment attachment = {variable("CNI_CONTAINERID"), variable("CNI_IFNAME"), config.name};
	if (!is_identifier(attachment.container_id))
		throw Failure{INVALID_ENVIRONMENT, "CNI_CONTAINERID is missing or not valid",
			      printable(attachment.container_id)};
	if (!is_interface_name(attachment.interface_name))
		throw Failure{INVALID_ENVIRONMENT, "CNI_IFNAME is missing or not valid",
			      printable(attachment.interface_name)};
	return attachment;
}

} // namespace cni
