// SPDX-License-Identifier: MIT
/*
 * Ring buffers. A thread of our own waits for records and copies them into a bounded queue; JavaScript gets
 * the whole queue at once through a thread-safe function that never has more than one call under way and does
 * not keep the process alive.
 *
 * Waking JavaScript for one record costs far more than the record, and the CPU is the traffic's. So with
 * deliver_interval deliveries are at least that far apart, unless the queue fills up; the first record after
 * a rest is delivered at once. The ring itself is emptied more often, since what it has no room for is lost.
 */
#include "bpf_addon.h"

#include "args.h"
#include "bpf_resources.h"

#include <algorithm>
#include <atomic>
#include <bpf/libbpf.h>
#include <chrono>
#include <cstring>
#include <mutex>
#include <poll.h>
#include <sys/eventfd.h>
#include <thread>

namespace
{

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

/* Between two looks at the ring, where deliveries are spaced; the ring has room for what comes meanwhile. */
constexpr milliseconds CONSUME_INTERVAL{20};

struct RingDeleter {
	void operator()(ring_buffer *ring) const
	{
		ring_buffer__free(ring);
	}
};

/* Shared by the poller, the calls on their way to JavaScript, and the handle. */
struct Queue {
	std::mutex mutex;
	std::vector<uint8_t> bytes; /* records one after another, each at a multiple of 8 */
	std::vector<uint32_t> sizes;
	bool delivery_under_way = false;
	size_t records_max;
	std::atomic<uint64_t> dropped = 0;
	std::atomic<bool> stopping = false;

	/* Room for the record, or counts it as dropped. */
	void push(const void *data, size_t size)
	{
		std::lock_guard lock(mutex);
		if (sizes.size() >= records_max) {
			dropped++;
			return;
		}
		size_t start = bytes.size();
		bytes.resize(start + (size + 7) / 8 * 8);
		memcpy(bytes.data() + start, data, size);
		sizes.push_back(size);
	}
	/* Records wait, and nothing is on its way that will take them. */
	bool needs_delivery()
	{
		std::lock_guard lock(mutex);
		return !sizes.empty() && !delivery_under_way;
	}
	bool is_filling_up()
	{
		std::lock_guard lock(mutex);
		return sizes.size() >= records_max / 2;
	}
};

void deliver(Napi::Env env, Napi::Function on_records, Queue &queue)
{
	std::vector<uint8_t> bytes;
	std::vector<uint32_t> sizes;
	{
		std::lock_guard lock(queue.mutex);
		bytes.swap(queue.bytes);
		sizes.swap(queue.sizes);
		queue.delivery_under_way = false;
	}
	if (sizes.empty() || queue.stopping)
		return;
	auto all = from_vector(env, std::move(bytes)).As<Napi::Uint8Array>();
	auto records = Napi::Array::New(env, sizes.size());
	size_t offset = 0;
	for (size_t i = 0; i < sizes.size(); i++) {
		records.Set(i, Napi::Uint8Array::New(env, sizes[i], all.ArrayBuffer(), offset));
		offset += (sizes[i] + 7) / 8 * 8;
	}
	on_records.Call({records});
}

class RingBuffer final : public Handle
{
      public:
	static constexpr const char *NAME = "ring buffer";

	RingBuffer(Napi::Env env, std::shared_ptr<Map> map, Napi::Function on_records, uint32_t records_max,
		   milliseconds deliver_interval)
	    : env_(env), queue_(std::make_shared<Queue>()), deliver_interval_(deliver_interval)
	{
		queue_->records_max = records_max;
		stop_ = UniqueFd(check_errno(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "create", "eventfd"));
		ring_.reset(ring_buffer__new(map->fd.get(), on_record, queue_.get(), nullptr));
		if (!ring_)
			throw Failure{errno, "open", "ring buffer"};
		to_javascript_ = Napi::ThreadSafeFunction::New(env, on_records, "quantum ring buffer", 0, 1);
		to_javascript_.Unref(env);
		try {
			poller_ = std::thread([this] { poll_records(); });
		} catch (const std::system_error &error) {
			to_javascript_.Abort();
			throw Failure{error.code().value(), "start", "ring buffer's poller"};
		}
		/* Hooks run in reverse order: the poller stops before the thread-safe function goes. */
		napi_add_env_cleanup_hook(env, on_environment_end, this);
	}
	~RingBuffer() override
	{
		close();
	}

	void close() override
	{
		if (!stop_poller())
			return;
		napi_remove_env_cleanup_hook(env_, on_environment_end, this);
		to_javascript_.Abort();
	}
	uint64_t dropped() const
	{
		return queue_->dropped;
	}

      private:
	/* A negative answer ends the reading, else a steady stream of records could hold up the close. */
	static int on_record(void *context, void *data, size_t size)
	{
		auto *queue = static_cast<Queue *>(context);
		try {
			queue->push(data, size);
		} catch (const std::bad_alloc &) {
			queue->dropped++;
		}
		return queue->stopping ? -ECANCELED : 0;
	}

	static void on_environment_end(void *self)
	{
		static_cast<RingBuffer *>(self)->stop_poller();
	}

	bool stop_poller()
	{
		if (!poller_.joinable())
			return false;
		queue_->stopping = true;
		eventfd_write(stop_.get(), 1);
		poller_.join();
		ring_.reset();
		stop_.reset();
		return true;
	}

	void poll_records()
	{
		Clock::time_point due{}; /* before which there is no delivery */
		while (!queue_->stopping) {
			if (!wait(queue_->needs_delivery() ? until(due) : -1))
				return;
			if (queue_->stopping)
				return;
			ring_buffer__consume(ring_.get());
			auto now = Clock::now();
			if (queue_->needs_delivery() && (now >= due || queue_->is_filling_up())) {
				request_delivery();
				due = now + deliver_interval_;
			}
			rest();
		}
	}

	/* For records, the stop, or the time (-1: none). False: it cannot wait. */
	bool wait(int timeout_ms)
	{
		pollfd sources[] = {{ring_buffer__epoll_fd(ring_.get()), POLLIN, 0},
				    {stop_.get(), POLLIN, 0}};
		return poll(sources, 2, timeout_ms) >= 0 || errno == EINTR;
	}

	/* As long as more records may gather in the ring. */
	void rest()
	{
		pollfd stop = {stop_.get(), POLLIN, 0};
		auto time = std::min(CONSUME_INTERVAL, deliver_interval_);
		if (time.count() > 0)
			poll(&stop, 1, static_cast<int>(time.count()));
	}

	static int until(Clock::time_point due)
	{
		auto left = std::chrono::ceil<milliseconds>(due - Clock::now()).count();
		return left > 0 ? static_cast<int>(left) : 0;
	}

	void request_delivery()
	{
		{
			std::lock_guard lock(queue_->mutex);
			queue_->delivery_under_way = true;
		}
		to_javascript_.NonBlockingCall([queue = queue_](Napi::Env env, Napi::Function on_records) {
			deliver(env, on_records, *queue);
		});
	}

	napi_env env_;
	std::shared_ptr<Queue> queue_;
	milliseconds deliver_interval_;
	UniqueFd stop_;
	std::unique_ptr<ring_buffer, RingDeleter> ring_;
	Napi::ThreadSafeFunction to_javascript_;
	std::thread poller_;
};

/* arguments: map, onRecords, maxQueued, deliverIntervalMs */
Napi::Value ring_buffer_open(const Napi::CallbackInfo &info)
{
	std::shared_ptr<Map> map = resource<Map>(info, 0);
	if (map->info.type != BPF_MAP_TYPE_RINGBUF)
		throw Napi::TypeError::New(info.Env(), "the map is not a ring buffer");
	if (!info[1].IsFunction())
		throw Napi::TypeError::New(info.Env(), "onRecords must be a function");
	return wrap(info.Env(),
		    std::make_unique<RingBuffer>(info.Env(), map, info[1].As<Napi::Function>(),
						 to_u32(info[2], "maxQueued"),
						 milliseconds(to_u32(info[3], "deliverIntervalMs"))));
}

Napi::Value ring_buffer_dropped(const Napi::CallbackInfo &info)
{
	return Napi::Number::New(info.Env(), unwrap<RingBuffer>(info, 0).dropped());
}

} // namespace

void init_bpf_ringbuf(Napi::Env env, Napi::Object exports)
{
	define<ring_buffer_open>(env, exports, "ringBufferOpen");
	define<ring_buffer_dropped>(env, exports, "ringBufferDropped");
}
