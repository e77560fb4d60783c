/* SPDX-License-Identifier: MIT */
/*
 * Slow calls. `work` runs on a thread of libuv's pool and must not touch env or any Napi object: it owns
 * plain C++ data (copies of buffers, shared_ptr to handles). `convert` runs on the environment's thread.
 */
#pragma once

#include "status.h"

#include <functional>
#include <utility>

template <class T> class PromiseWorker final : public Napi::AsyncWorker
{
      public:
	using Work = std::function<T()>;
	using Convert = std::function<Napi::Value(Napi::Env, T &)>;

	PromiseWorker(Napi::Env env, Work work, Convert convert)
	    : Napi::AsyncWorker(env), deferred_(Napi::Promise::Deferred::New(env)), work_(std::move(work)),
	      convert_(std::move(convert))
	{
	}
	Napi::Promise promise() const
	{
		return deferred_.Promise();
	}

      protected:
	void Execute() override
	{
		try {
			result_.emplace(work_());
		} catch (const Failure &failure) {
			failure_ = failure;
		} catch (const std::bad_alloc &) {
			failure_ = Failure{ENOMEM, "allocate", "memory"};
		}
		/* What the work holds (descriptors, copies) need not wait for the garbage collector. */
		work_ = nullptr;
	}
	void OnOK() override
	{
		Napi::Env env = Env();
		if (failure_)
			deferred_.Reject(to_error(env, *failure_).Value());
		else
			settle(env);
	}

      private:
	void settle(Napi::Env env)
	{
		try {
			deferred_.Resolve(convert_(env, *result_));
		} catch (const Napi::Error &error) {
			deferred_.Reject(error.Value());
		}
	}

	Napi::Promise::Deferred deferred_;
	Work work_;
	Convert convert_;
	std::optional<T> result_;
	std::optional<Failure> failure_;
};

template <class T>
Napi::Value run_async(Napi::Env env, std::function<T()> work,
		      std::function<Napi::Value(Napi::Env, T &)> convert)
{
	auto *worker = new PromiseWorker<T>(env, std::move(work), std::move(convert));
	Napi::Promise promise = worker->promise();
	worker->Queue();
	return promise;
}
