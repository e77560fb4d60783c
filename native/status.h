/* SPDX-License-Identifier: MIT */
/*
 * How errors travel. C++ code that talks to the kernel throws a Failure (plain data, no env, so that worker
 * threads may throw it too). The boundary (define<>() below for functions, run_async() in async.h for
 * promises) catches it and calls the factory that src/native/addon.ts handed over with setErrorFactory(); the
 * factory makes a KernelError, VerifierError or ClosedError of it. So error classes live in TypeScript alone,
 * and check() and check_errno() are the only places that turn a return value into an error. Wrong arguments
 * are TypeError or RangeError, thrown where arguments are read (args.h).
 */
#pragma once

#include <napi.h>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>

struct Failure {
	int error;			     /* positive errno */
	std::string operation;		     /* what was tried, e.g. "attach TCX" */
	std::string object;		     /* on what, e.g. "ifindex 7" */
	std::optional<uint32_t> count = {};  /* elements done before the failure, for batches */
	std::optional<std::string> log = {}; /* the verifier's complete log: makes it a VerifierError */
	std::string program = {};	     /* the program that the verifier refused */
};

/* Use of a handle after close(). */
struct Closed {
	const char *what; /* "map", "link", … */
};

/* For libbpf and libnl style returns: >= 0 is the result, < 0 is -errno. A stale errno is never consulted. */
template <class T> T check(T result, const char *operation, const std::string &object)
{
	if (result < 0)
		throw Failure{static_cast<int>(-result), operation, object};
	return result;
}

/* For system calls: -1 and errno. */
template <class T> T check_errno(T result, const char *operation, const std::string &object)
{
	if (result < 0)
		throw Failure{errno, operation, object};
	return result;
}

/* State of one environment (main thread or worker thread). */
struct AddonData {
	Napi::FunctionReference error_factory;
};

/* The JavaScript error object for a failure. Only on the environment's own thread. */
Napi::Error to_error(Napi::Env env, const Failure &failure);
Napi::Error to_error(Napi::Env env, const Closed &closed);

/* Calls Fn and turns what it throws into JavaScript exceptions. */
template <Napi::Value (*Fn)(const Napi::CallbackInfo &)> Napi::Value guarded(const Napi::CallbackInfo &info)
{
	try {
		return Fn(info);
	} catch (const Failure &failure) {
		throw to_error(info.Env(), failure);
	} catch (const Closed &closed) {
		throw to_error(info.Env(), closed);
	} catch (const std::bad_alloc &) {
		throw to_error(info.Env(), Failure{ENOMEM, "allocate", "memory"});
	}
}

/* exports[name] = Fn, guarded. */
template <Napi::Value (*Fn)(const Napi::CallbackInfo &)>
void define(Napi::Env env, Napi::Object exports, const char *name)
{
	exports.Set(name, Napi::Function::New<guarded<Fn>>(env, name));
}
