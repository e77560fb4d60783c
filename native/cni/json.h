// SPDX-License-Identifier: MIT
// Owner of a JSON value.
#pragma once

#include <cstdlib>
#include <jansson.h>
#include <memory>
#include <string>

struct JsonRelease {
	void operator()(json_t *value) const
	{
		json_decref(value);
	}
};
using Json = std::unique_ptr<json_t, JsonRelease>;

// A string value; null when the bytes are not UTF-8. NUL bytes are kept (as \u0000).
inline json_t *json_text(const std::string &text)
{
	return json_stringn(text.data(), text.size());
}

// The bytes of a string value, NUL bytes included; empty for any other value.
inline std::string json_bytes(const json_t *value)
{
	return json_is_string(value) ? std::string(json_string_value(value), json_string_length(value))
				     : std::string();
}

// One line of JSON text.
inline std::string json_line(const json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT);
	if (text == nullptr)
		return std::string();
	std::string line(text);
	free(text);
	return line;
}
