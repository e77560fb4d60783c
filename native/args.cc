// SPDX-License-Identifier: MIT
#include "args.h"

Napi::Value from_vector(Napi::Env env, std::vector<uint8_t> &&bytes)
{
	if (bytes.empty())
		return Napi::Uint8Array::New(env, 0);
	auto *owned = new std::vector<uint8_t>(std::move(bytes));
	auto buffer = Napi::ArrayBuffer::New(
	    env, owned->data(), owned->size(), [](Napi::Env, void *, std::vector<uint8_t> *v) { delete v; },
	    owned);
	return Napi::Uint8Array::New(env, owned->size(), buffer, 0);
}
