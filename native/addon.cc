// SPDX-License-Identifier: MIT
/* Registration only: one init per half. Runs once per environment (main thread, worker threads). */
#include "handle.h"

void init_bpf(Napi::Env env, Napi::Object exports);
void init_memory(Napi::Env env, Napi::Object exports);
void init_net(Napi::Env env, Napi::Object exports);
void init_rcu(Napi::Env env, Napi::Object exports);
void init_sd_notify(Napi::Env env, Napi::Object exports);

static Napi::Value set_error_factory(const Napi::CallbackInfo &info)
{
	if (!info[0].IsFunction())
		throw Napi::TypeError::New(info.Env(), "the error factory must be a function");
	info.Env().GetInstanceData<AddonData>()->error_factory =
	    Napi::Persistent(info[0].As<Napi::Function>());
	return info.Env().Undefined();
}

static Napi::Value close_handle(const Napi::CallbackInfo &info)
{
	if (!info[0].IsExternal())
		throw Napi::TypeError::New(info.Env(), "argument is not a handle");
	info[0].As<Napi::External<Handle>>().Data()->close();
	return info.Env().Undefined();
}

static Napi::Object init(Napi::Env env, Napi::Object exports)
{
	env.SetInstanceData(new AddonData);
	define<set_error_factory>(env, exports, "setErrorFactory");
	define<close_handle>(env, exports, "closeHandle");
	init_bpf(env, exports);
	init_memory(env, exports);
	init_net(env, exports);
	init_rcu(env, exports);
	init_sd_notify(env, exports);
	return exports;
}

NODE_API_MODULE(quantum, init)
