// SPDX-License-Identifier: MIT
#include "status.h"

#include <cstring>

/* ENOTSUPP of the kernel's own errno space; bpf(2) lets it through, C libraries do not know it. */
static constexpr int KERNEL_ENOTSUPP = 524;

static std::string error_name(int error)
{
	if (error == KERNEL_ENOTSUPP)
		return "ENOTSUPP";
	const char *name = strerrorname_np(error);
	return name ? name : "E" + std::to_string(error);
}

static std::string error_text(int error)
{
	if (error == KERNEL_ENOTSUPP)
		return "Operation is not supported";
	const char *text = strerrordesc_np(error);
	return text ? text : "Unknown error";
}

static Napi::Error make(Napi::Env env, Napi::Object description, const std::string &fallback)
{
	AddonData *data = env.GetInstanceData<AddonData>();
	if (!data || data->error_factory.IsEmpty())
		return Napi::Error::New(env, fallback);
	return Napi::Error(env, data->error_factory.Call({description}));
}

Napi::Error to_error(Napi::Env env, const Failure &failure)
{
	Napi::Object description = Napi::Object::New(env);
	description.Set("kind", failure.log ? "verifier" : "kernel");
	description.Set("errno", failure.error);
	description.Set("code", error_name(failure.error));
	description.Set("text", error_text(failure.error));
	description.Set("operation", failure.operation);
	description.Set("object", failure.object);
	if (failure.count)
		description.Set("count", *failure.count);
	if (failure.log) {
		description.Set("log", *failure.log);
		description.Set("program", failure.program);
	}
	return make(env, description, failure.operation + " " + failure.object);
}

Napi::Error to_error(Napi::Env env, const Closed &closed)
{
	Napi::Object description = Napi::Object::New(env);
	description.Set("kind", "closed");
	description.Set("object", closed.what);
	return make(env, description, std::string(closed.what) + " is closed");
}
