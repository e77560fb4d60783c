/* SPDX-License-Identifier: MIT */
/* Reading arguments. TypeError for the wrong type, RangeError for what does not fit. */
#pragma once

#include "status.h"

#include <cmath>
#include <span>
#include <string>
#include <vector>

using Bytes = std::span<const uint8_t>;

inline uint32_t to_u32(Napi::Value value, const char *name)
{
	if (!value.IsNumber())
		throw Napi::TypeError::New(value.Env(), std::string(name) + " must be a number");
	double number = value.As<Napi::Number>().DoubleValue();
	if (!(number >= 0 && number <= UINT32_MAX) || number != std::floor(number))
		throw Napi::RangeError::New(value.Env(), std::string(name) +
							     " must be an integer of 32 bits, not " +
							     value.ToString().Utf8Value());
	return static_cast<uint32_t>(number);
}

/* Refuses embedded NUL, which C strings would silently cut off. */
inline std::string to_text(Napi::Value value, const char *name)
{
	if (!value.IsString())
		throw Napi::TypeError::New(value.Env(), std::string(name) + " must be a string");
	std::string text = value.As<Napi::String>().Utf8Value();
	if (text.find('\0') != std::string::npos)
		throw Napi::TypeError::New(value.Env(), std::string(name) + " must not contain NUL");
	return text;
}

/* A view of a Uint8Array (Buffer included): valid during this call only; copy it for a worker. */
inline Bytes to_bytes(Napi::Value value, const char *name)
{
	if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
		throw Napi::TypeError::New(value.Env(), std::string(name) + " must be a Uint8Array");
	auto array = value.As<Napi::Uint8Array>();
	return {array.Data(), array.ElementLength()};
}

/* As to_bytes(), and it has this length. */
inline Bytes to_bytes(Napi::Value value, const char *name, size_t size)
{
	Bytes bytes = to_bytes(value, name);
	if (bytes.size() != size)
		throw Napi::RangeError::New(value.Env(), std::string(name) + " has " +
							     std::to_string(bytes.size()) +
							     " bytes, must have " + std::to_string(size));
	return bytes;
}

inline bool is_set(Napi::Value value)
{
	return !value.IsUndefined() && !value.IsNull();
}

/* A Uint8Array with a copy of the bytes. */
inline Napi::Value from_bytes(Napi::Env env, Bytes bytes)
{
	auto array = Napi::Uint8Array::New(env, bytes.size());
	std::copy(bytes.begin(), bytes.end(), array.Data());
	return array;
}

/* A Uint8Array that takes the vector over without copying. */
Napi::Value from_vector(Napi::Env env, std::vector<uint8_t> &&bytes);
