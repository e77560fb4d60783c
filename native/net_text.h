/* SPDX-License-Identifier: MIT */
/*
 * Names and addresses between JavaScript and libnl. What JavaScript passes is checked here, before the kernel
 * sees it: TypeError for a wrong type, RangeError for text that is no such thing.
 */
#pragma once

#include "args.h"
#include "net_socket.h"

#include <netlink/addr.h>
#include <memory>
#include <optional>
#include <string>

using AddressPtr = std::unique_ptr<nl_addr, Deleter<nl_addr_put>>;

/* Properties of an object; each must be there unless its reader says `_if`. */
class Options
{
      public:
	explicit Options(Napi::Value value);

	std::string text(const char *name) const;
	std::optional<std::string> text_if(const char *name) const;
	uint32_t number(const char *name) const;
	std::optional<uint32_t> number_if(const char *name) const;
	std::optional<bool> flag_if(const char *name) const;

	/* An interface name: 1 to 15 bytes that the kernel takes as they are. */
	std::string interface(const char *name) const;
	std::optional<std::string> interface_if(const char *name) const;
	std::optional<std::string> alias_if(const char *name) const;
	AddressPtr mac(const char *name) const;
	AddressPtr mac_if(const char *name) const;
	/* Without prefix length. */
	AddressPtr address(const char *name) const;
	AddressPtr address_if(const char *name) const;
	/* With prefix length: "10.0.0.1/16". */
	AddressPtr prefix(const char *name) const;
	/* An ifindex: positive. */
	int index(const char *name) const;
	std::optional<int> index_if(const char *name) const;
	/* A descriptor of a namespace. */
	std::optional<int> fd_if(const char *name) const;

      private:
	Napi::Value get(const char *name) const
	{
		return object_.Get(name);
	}
	bool has(const char *name) const
	{
		return is_set(get(name));
	}
	Napi::Object object_;
};

/* An interface by number (ifindex) or name. */
struct LinkKey {
	int index = 0; /* 0: by name */
	std::string name;
	std::string text() const; /* "link eth0", "link 7" */
};
LinkKey to_link_key(Napi::Value value);

std::string index_text(int index); /* "link 7" */

/* "10.0.0.1", "fd00::1", "02:00:00:00:00:01"; empty for no or an empty address. */
std::string address_text(const nl_addr *address);
/* The same with prefix length. */
std::string prefix_text(const nl_addr *address);
/* 4, 6, or 0 for anything else. */
int family_number(int family);
