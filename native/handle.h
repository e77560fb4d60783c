/* SPDX-License-Identifier: MIT */
/*
 * Native objects that JavaScript holds. JavaScript sees an opaque External, kept private by the TypeScript
 * class around it; the garbage collector and the end of the environment delete it, close() empties it before
 * that.
 */
#pragma once

#include "status.h"

#include <memory>

/* Each handle class derives from Handle and has `static constexpr const char *NAME`. */
struct Handle {
	virtual ~Handle() = default;
	/* Lets go of what the handle owns; repeating it is harmless. What works on it at the moment finishes
	 * first. */
	virtual void close()
	{
	}
};

template <class T> Napi::Value wrap(Napi::Env env, std::unique_ptr<T> handle)
{
	auto external =
	    Napi::External<Handle>::New(env, handle.get(), [](Napi::Env, Handle *h) { delete h; });
	handle.release();
	return external;
}

/* The handle in an argument. TypeError when it is none or one of another class. */
template <class T> T &unwrap(const Napi::CallbackInfo &info, size_t index)
{
	T *handle = nullptr;
	if (info[index].IsExternal())
		handle = dynamic_cast<T *>(info[index].As<Napi::External<Handle>>().Data());
	if (!handle)
		throw Napi::TypeError::New(info.Env(), std::string("argument is not a ") + T::NAME);
	return *handle;
}
