// SPDX-License-Identifier: MIT
/* Network namespaces for JavaScript. */
#include "args.h"
#include "net_parts.h"
#include "netns.h"

#include <mutex>

static Napi::Value netns_current(const Napi::CallbackInfo &info)
{
	return wrap(info.Env(), std::make_unique<Netns>(open_current_netns()));
}

static Napi::Value netns_open(const Napi::CallbackInfo &info)
{
	return wrap(info.Env(), std::make_unique<Netns>(open_netns(to_text(info[0], "path"))));
}

static Napi::Value netns_create(const Napi::CallbackInfo &info)
{
	return wrap(info.Env(), std::make_unique<Netns>(create_netns()));
}

static Napi::Value netns_info(const Napi::CallbackInfo &info)
{
	NetnsId id = unwrap<Netns>(info, 0).id();
	Napi::Object result = Napi::Object::New(info.Env());
	result.Set("inode", static_cast<double>(id.inode));
	result.Set("device", static_cast<double>(id.device));
	return result;
}

static Napi::Value netns_cookie_value(const Napi::CallbackInfo &info)
{
	return Napi::BigInt::New(info.Env(), netns_cookie(unwrap<Netns>(info, 0).fd()));
}

static Napi::Value netns_fd(const Napi::CallbackInfo &info)
{
	return Napi::Number::New(info.Env(), unwrap<Netns>(info, 0).fd());
}

static Napi::Value netns_shares_user(const Napi::CallbackInfo &info)
{
	return Napi::Boolean::New(info.Env(), shares_user_namespace(unwrap<Netns>(info, 0).fd()));
}

static Napi::Value netns_pin(const Napi::CallbackInfo &info)
{
	pin_netns(unwrap<Netns>(info, 0).fd(), to_text(info[1], "path"));
	return info.Env().Undefined();
}

static Napi::Value netns_unpin(const Napi::CallbackInfo &info)
{
	unpin_netns(to_text(info[0], "path"));
	return info.Env().Undefined();
}

static Napi::Value netns_share_directory(const Napi::CallbackInfo &info)
{
	share_netns_directory(to_text(info[0], "path"));
	return info.Env().Undefined();
}

/*
 * libuv starts its thread pool at its first use. Threads inherit the namespace of the thread that starts
 * them, so a pool that starts within netnsRun() would stay in the other namespace for the rest of the
 * process.
 */
static void start_thread_pool(Napi::Env env)
{
	class Nothing final : public Napi::AsyncWorker
	{
	      public:
		explicit Nothing(Napi::Env env) : Napi::AsyncWorker(env)
		{
		}
		void Execute() override
		{
		}
	};
	static std::once_flag once;
	std::call_once(once, [&] { (new Nothing(env))->Queue(); });
}

/* The scope ends, and the thread is back, before an exception of the function goes on. */
static Napi::Value netns_run(const Napi::CallbackInfo &info)
{
	int fd = unwrap<Netns>(info, 0).fd();
	if (!info[1].IsFunction())
		throw Napi::TypeError::New(info.Env(), "what runs in a network namespace must be a function");
	start_thread_pool(info.Env());
	NetnsScope scope(fd);
	return info[1].As<Napi::Function>().Call({});
}

static Napi::Value netns_close(const Napi::CallbackInfo &info)
{
	unwrap<Netns>(info, 0).close();
	return info.Env().Undefined();
}

void define_netns(Napi::Env env, Napi::Object exports)
{
	define<netns_current>(env, exports, "netnsCurrent");
	define<netns_open>(env, exports, "netnsOpen");
	define<netns_create>(env, exports, "netnsCreate");
	define<netns_info>(env, exports, "netnsInfo");
	define<netns_cookie_value>(env, exports, "netnsCookie");
	define<netns_fd>(env, exports, "netnsFd");
	define<netns_shares_user>(env, exports, "netnsSharesUser");
	define<netns_pin>(env, exports, "netnsPin");
	define<netns_unpin>(env, exports, "netnsUnpin");
	define<netns_share_directory>(env, exports, "netnsShareDirectory");
	define<netns_run>(env, exports, "netnsRun");
	define<netns_close>(env, exports, "netnsClose");
}
