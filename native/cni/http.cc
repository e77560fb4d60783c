// SPDX-License-Identifier: MIT
#include "http.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "unique_fd.h"

namespace cni
{

namespace
{

constexpr size_t HEADER_BYTES_MAX = 16 * 1024;
constexpr size_t BODY_BYTES_MAX = 4 * 1024 * 1024;
constexpr const char *HEADER_END = "\r\n\r\n";

Reply unanswered(Reach reach, const std::string &what, int error = 0)
{
	return {reach, 0, error == 0 ? what : what + ": " + strerror(error)};
}

// A connected socket, or the reply that says why there is none.
std::optional<Reply> connect_to(const std::string &path, const Deadline &deadline, UniqueFd &connection)
{
	struct sockaddr_un address = {};
	address.sun_family = AF_UNIX;
	memcpy(address.sun_path, path.data(), path.size());

	UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	if (!fd)
		return unanswered(Reach::BROKEN, "socket", errno);
	// A Unix socket whose queue is full cannot be polled for: connect blocks instead, and this bounds it.
	const int remaining = deadline.remaining_ms();
	const struct timeval timeout = {remaining / 1000, remaining % 1000 * 1000 + 1};
	setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	while (connect(fd.get(), reinterpret_cast<struct sockaddr *>(&address), sizeof(address)) != 0) {
		if (errno == EINTR)
			continue;
		if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR)
			return unanswered(Reach::ABSENT, "nothing listens at " + path);
		if (errno == EACCES || errno == EPERM)
			return unanswered(Reach::DENIED, "connect to " + path, errno);
		return unanswered(errno == EAGAIN ? Reach::LATE : Reach::BROKEN, "connect to " + path, errno);
	}

	// Whoever listens decides what the container gets: it must be root, or the user that runs the plugin.
	struct ucred peer = {};
	socklen_t length = sizeof(peer);
	if (getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
		return unanswered(Reach::BROKEN, "SO_PEERCRED", errno);
	if (peer.uid != 0 && peer.uid != geteuid())
		return unanswered(Reach::DENIED, path + " belongs to user " + std::to_string(peer.uid));
	if (fcntl(fd.get(), F_SETFL, O_NONBLOCK) != 0)
		return unanswered(Reach::BROKEN, "fcntl", errno);
	connection = std::move(fd);
	return std::nullopt;
}

std::optional<Reply> send_request(int fd, const std::string &body, const Deadline &deadline)
{
	const std::string request =
	    "POST /cni HTTP/1.1\r\nHost: quantum\r\nContent-Type: application/json\r\n"
	    "Connection: close\r\nContent-Length: " +
	    std::to_string(body.size()) + HEADER_END + body;
	size_t done = 0;
	while (done < request.size()) {
		if (!deadline.wait(fd, POLLOUT))
			return unanswered(Reach::LATE, "the request could not be sent in time");
		const ssize_t count = send(fd, request.data() + done, request.size() - done, MSG_NOSIGNAL);
		if (count < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		// The other side may have answered (too large, not now) without reading to the end.
		if (count < 0)
			break;
		done += static_cast<size_t>(count);
	}
	return std::nullopt;
}

// Digits alone, at most BODY_BYTES_MAX.
std::optional<size_t> parse_length(const std::string &text)
{
	size_t value = 0;
	for (const char c : text) {
		if (c < '0' || c > '9')
			return std::nullopt;
		value = value * 10 + static_cast<size_t>(c - '0');
		if (value > BODY_BYTES_MAX)
			return std::nullopt;
	}
	return text.empty() ? std::nullopt : std::optional(value);
}

std::string trimmed(const std::string &text)
{
	const size_t first = text.find_first_not_of(" \t");
	return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

struct Head {
	int status = 0;
	std::optional<size_t> length; // of the body; without it the body ends with the connection
};

// The head of an answer, HEADER_END excluded. Nothing when it is not HTTP/1 or frames the body in another
// way.
std::optional<Head> parse_head(const std::string &text)
{
	Head head;
	size_t line_end = text.find("\r\n");
	const std::string first = text.substr(0, line_end);
	if (first.size() < 12 || first.compare(0, 7, "HTTP/1.") != 0 || first[8] != ' ')
		return std::nullopt;
	const std::optional<size_t> status = parse_length(first.substr(9, 3));
	if (!status)
		return std::nullopt;
	head.status = static_cast<int>(*status);
	while (line_end != std::string::npos) {
		const size_t start = line_end + 2;
		line_end = text.find("\r\n", start);
		const std::string line =
		    text.substr(start, line_end == std::string::npos ? line_end : line_end - start);
		const size_t colon = line.find(':');
		const std::string name = line.substr(0, colon);
		if (colon == std::string::npos || strcasecmp(name.c_str(), "transfer-encoding") == 0)
			return std::nullopt;
		if (strcasecmp(name.c_str(), "content-length") != 0)
			continue;
		head.length = parse_length(trimmed(line.substr(colon + 1)));
		if (!head.length)
			return std::nullopt;
	}
	return head;
}

Reply receive_answer(int fd, const Deadline &deadline)
{
	std::string text;
	std::optional<Head> head;
	size_t body_start = 0;
	for (;;) {
		char chunk[16384];
		if (!deadline.wait(fd, POLLIN))
			return unanswered(Reach::LATE, "no answer in time");
		const ssize_t count = recv(fd, chunk, sizeof(chunk), 0);
		if (count < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (count < 0)
			return unanswered(Reach::BROKEN, "receive", errno);
		text.append(chunk, static_cast<size_t>(count));

		if (!head) {
			const size_t end = text.find(HEADER_END);
			if (end == std::string::npos ? text.size() > HEADER_BYTES_MAX
						     : end > HEADER_BYTES_MAX)
				return unanswered(Reach::BROKEN, "the head of the answer is too large");
			if (end != std::string::npos) {
				head = parse_head(text.substr(0, end));
				body_start = end + strlen(HEADER_END);
				if (!head)
					return unanswered(Reach::BROKEN, "the answer is not the daemon's");
			}
		}
		if (head && head->length && text.size() - body_start >= *head->length)
			return {Reach::ANSWERED, head->status, text.substr(body_start, *head->length)};
		if (count == 0 && head && !head->length)
			return {Reach::ANSWERED, head->status, text.substr(body_start)};
		if (count == 0)
			return unanswered(Reach::BROKEN, "the connection was closed without an answer");
		if (text.size() > HEADER_BYTES_MAX + BODY_BYTES_MAX)
			return unanswered(Reach::BROKEN, "the answer is too large");
	}
}

} // namespace

std::optional<Reply> unreachable(const std::string &socket_path, const Deadline &deadline)
{
	UniqueFd connection;
	return connect_to(socket_path, deadline, connection);
}

Reply post(const std::string &socket_path, const std::string &body, const Deadline &deadline)
{
	UniqueFd connection;
	if (std::optional<Reply> failed = connect_to(socket_path, deadline, connection))
		return *failed;
	if (std::optional<Reply> failed = send_request(connection.get(), body, deadline))
		return *failed;
	return receive_answer(connection.get(), deadline);
}

} // namespace cni
