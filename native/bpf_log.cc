// SPDX-License-Identifier: MIT
#include "bpf_log.h"

#include <bpf/libbpf.h>
#include <cstdio>
#include <mutex>
#include <new>
#include <vector>

static thread_local LogCapture *innermost = nullptr;

LogCapture::LogCapture() : outer_(innermost)
{
	innermost = this;
}

LogCapture::~LogCapture()
{
	innermost = outer_;
}

void LogCapture::append(std::string_view text)
{
	text_ += text;
}

/*
 * libbpf 1.1 (bpf_object_load_prog) prints, after it has repeated the load with a log buffer that grew until
 * the log fitted: libbpf: prog 'NAME': BPF program load failed: REASON libbpf: prog 'NAME': -- BEGIN PROG
 * LOAD LOG -- …
 *   -- END PROG LOAD LOG --
 */
std::optional<LogCapture::Refusal> LogCapture::refusal() const
{
	static constexpr std::string_view NAME = "prog '", FAILED = "': BPF program load failed";
	static constexpr std::string_view BEGIN = "-- BEGIN PROG LOAD LOG --\n",
					  END = "-- END PROG LOAD LOG --";

	size_t failed = text_.find(FAILED);
	if (failed == std::string::npos)
		return {};
	size_t name = text_.rfind(NAME, failed);
	if (name == std::string::npos)
		return {};
	name += NAME.size();
	Refusal refusal{text_.substr(name, failed - name), ""};
	size_t begin = text_.find(BEGIN, failed);
	if (begin == std::string::npos)
		return refusal;
	begin += BEGIN.size();
	size_t end = text_.rfind(END);
	refusal.log = text_.substr(begin, end > begin && end != std::string::npos ? end - begin : end);
	return refusal;
}

std::string LogCapture::first_message() const
{
	static constexpr std::string_view PREFIX = "libbpf: ";
	size_t start = text_.starts_with(PREFIX) ? PREFIX.size() : 0;
	return text_.substr(start, text_.find('\n') - start);
}

static int on_print(enum libbpf_print_level level, const char *format, va_list arguments)
{
	if (level == LIBBPF_DEBUG || !innermost)
		return 0;
	va_list again;
	va_copy(again, arguments);
	int size = vsnprintf(nullptr, 0, format, again);
	va_end(again);
	if (size <= 0)
		return 0;
	try {
		std::vector<char> text(size + 1);
		vsnprintf(text.data(), text.size(), format, arguments);
		innermost->append({text.data(), static_cast<size_t>(size)});
	} catch (const std::bad_alloc &) {
		/* The caller's error stands without its text. */
	}
	return 0;
}

void install_log_capture()
{
	static std::once_flag once;
	std::call_once(once, [] { libbpf_set_print(on_print); });
}
