// SPDX-License-Identifier: MIT
#include "net_text.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <sys/socket.h>
#include <charconv>
#include <cstdio>

static constexpr size_t MAC_BYTES = 6;
/* The kernel takes 255 bytes, and libnl sends the terminating NUL among them. */
static constexpr size_t ALIAS_MAX = 254;

static Napi::Error range_error(Napi::Value value, const char *name, const std::string &complaint)
{
	/* Bounded: the value can be anything. */
	std::string shown = value.ToString().Utf8Value().substr(0, 80);
	return Napi::RangeError::New(value.Env(), std::string(name) + " \"" + shown + "\" " + complaint);
}

static std::string to_interface(Napi::Value value, const char *name)
{
	std::string text = to_text(value, name);
	if (text.empty() || text.size() >= IFNAMSIZ)
		throw range_error(value, name, "is no interface name: it must have 1 to 15 bytes");
	if (text == "." || text == "..")
		throw range_error(value, name, "is no interface name");
	for (unsigned char byte : text) {
		/* '%' would make the kernel choose a number. */
		if (byte <= ' ' || byte == 0x7f || byte == '/' || byte == ':' || byte == '%')
			throw range_error(value, name,
					  "is no interface name: spaces, control characters, '/', ':' and "
					  "'%' are not allowed");
	}
	return text;
}

/* Two hexadecimal digits each, exactly: inet_pton's counterpart for Ethernet. */
static AddressPtr to_mac(Napi::Value value, const char *name)
{
	std::string text = to_text(value, name);
	unsigned char bytes[MAC_BYTES];
	bool valid = text.size() == MAC_BYTES * 3 - 1;
	for (size_t i = 0; valid && i < MAC_BYTES; i++) {
		const char *digits = text.data() + i * 3;
		auto [end, error] = std::from_chars(digits, digits + 2, bytes[i], 16);
		valid = error == std::errc() && end == digits + 2 && (i == MAC_BYTES - 1 || *end == ':');
	}
	if (!valid)
		throw range_error(value, name, "is no MAC address");
	return AddressPtr(check_allocated(nl_addr_build(AF_LLC, bytes, MAC_BYTES), "build", "MAC address"));
}

/* Null when the text is no address. */
static AddressPtr parse_address(const std::string &text)
{
	unsigned char bytes[sizeof(in6_addr)];
	for (auto [family, size] :
	     {std::pair{AF_INET, sizeof(in_addr)}, std::pair{AF_INET6, sizeof(in6_addr)}}) {
		if (inet_pton(family, text.c_str(), bytes) == 1)
			return AddressPtr(
			    check_allocated(nl_addr_build(family, bytes, size), "build", "address"));
	}
	return nullptr;
}

static AddressPtr to_address(Napi::Value value, const char *name)
{
	AddressPtr address = parse_address(to_text(value, name));
	if (!address)
		throw range_error(value, name, "is no IP address");
	return address;
}

static AddressPtr to_prefix(Napi::Value value, const char *name)
{
	std::string text = to_text(value, name);
	size_t slash = text.find('/');
	AddressPtr address = parse_address(text.substr(0, slash));
	if (!address || slash == std::string::npos)
		throw range_error(value, name, "is no IP address with prefix length");
	unsigned length = 0;
	const char *last = text.data() + text.size();
	auto [end, error] = std::from_chars(text.data() + slash + 1, last, length);
	if (error != std::errc() || end != last || length > nl_addr_get_len(address.get()) * 8)
		throw range_error(value, name, "has no valid prefix length");
	nl_addr_set_prefixlen(address.get(), static_cast<int>(length));
	return address;
}

static int to_index(Napi::Value value, const char *name)
{
	uint32_t number = to_u32(value, name);
	if (number == 0 || number > INT32_MAX)
		throw range_error(value, name, "is no interface index");
	return static_cast<int>(number);
}

Options::Options(Napi::Value value)
{
	if (!value.IsObject())
		throw Napi::TypeError::New(value.Env(), "options must be an object");
	object_ = value.As<Napi::Object>();
}

std::string Options::text(const char *name) const
{
	return to_text(get(name), name);
}

std::optional<std::string> Options::text_if(const char *name) const
{
	return has(name) ? std::optional(text(name)) : std::nullopt;
}

uint32_t Options::number(const char *name) const
{
	return to_u32(get(name), name);
}

std::optional<uint32_t> Options::number_if(const char *name) const
{
	return has(name) ? std::optional(number(name)) : std::nullopt;
}

std::optional<bool> Options::flag_if(const char *name) const
{
	Napi::Value value = get(name);
	if (!is_set(value))
		return std::nullopt;
	if (!value.IsBoolean())
		throw Napi::TypeError::New(value.Env(), std::string(name) + " must be a boolean");
	return value.As<Napi::Boolean>().Value();
}

std::string Options::interface(const char *name) const
{
	return to_interface(get(name), name);
}

std::optional<std::string> Options::interface_if(const char *name) const
{
	return has(name) ? std::optional(interface(name)) : std::nullopt;
}

std::optional<std::string> Options::alias_if(const char *name) const
{
	std::optional<std::string> alias = text_if(name);
	if (alias && alias->size() > ALIAS_MAX)
		throw range_error(get(name), name, "is longer than 254 bytes");
	return alias;
}

AddressPtr Options::mac(const char *name) const
{
	return to_mac(get(name), name);
}

AddressPtr Options::mac_if(const char *name) const
{
	return has(name) ? mac(name) : nullptr;
}

AddressPtr Options::address(const char *name) const
{
	return to_address(get(name), name);
}

AddressPtr Options::address_if(const char *name) const
{
	return has(name) ? address(name) : nullptr;
}

AddressPtr Options::prefix(const char *name) const
{
	return to_prefix(get(name), name);
}

int Options::index(const char *name) const
{
	return to_index(get(name), name);
}

std::optional<int> Options::index_if(const char *name) const
{
	return has(name) ? std::optional(index(name)) : std::nullopt;
}

std::optional<int> Options::fd_if(const char *name) const
{
	std::optional<uint32_t> fd = number_if(name);
	if (fd && *fd > INT32_MAX)
		throw range_error(get(name), name, "is no descriptor");
	return fd ? std::optional(static_cast<int>(*fd)) : std::nullopt;
}

std::string index_text(int index)
{
	return "link " + std::to_string(index);
}

std::string LinkKey::text() const
{
	return index ? index_text(index) : "link " + name;
}

LinkKey to_link_key(Napi::Value value)
{
	if (value.IsNumber())
		return {to_index(value, "index"), {}};
	return {0, to_interface(value, "name")};
}

std::string address_text(const nl_addr *address)
{
	if (!address || nl_addr_get_len(address) == 0)
		return {};
	auto *bytes = static_cast<const unsigned char *>(nl_addr_get_binary_addr(address));
	char text[INET6_ADDRSTRLEN];
	switch (nl_addr_get_family(address)) {
	case AF_INET:
	case AF_INET6:
		return inet_ntop(nl_addr_get_family(address), bytes, text, sizeof(text)) ? text : "";
	default:
		if (nl_addr_get_len(address) != MAC_BYTES)
			return {};
		snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", bytes[0], bytes[1], bytes[2],
			 bytes[3], bytes[4], bytes[5]);
		return text;
	}
}

std::string prefix_text(const nl_addr *address)
{
	return address_text(address) + "/" + std::to_string(nl_addr_get_prefixlen(address));
}

int family_number(int family)
{
	return family == AF_INET ? 4 : family == AF_INET6 ? 6 : 0;
}
