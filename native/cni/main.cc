// SPDX-License-Identifier: MIT
// quantum-cni: hands a CNI call to the daemon's socket and gives the daemon's answer back. VERSION is
// answered here, and a DEL is kept in a file while the daemon is away; everything else is decided by the
// daemon.
#include <csignal>
#include <cstring>
#include <new>
#include <string>
#include <unistd.h>

#include "attachment.h"
#include "config.h"
#include "deadline.h"
#include "delegate.h"
#include "environment.h"
#include "failure.h"
#include "http.h"
#include "json.h"
#include "spool.h"

namespace cni
{

namespace
{

bool is_command(const std::string &command)
{
	for (const char *known : {"ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"})
		if (command == known)
			return true;
	return false;
}

int print(const std::string &text, int exit_code)
{
	return write_all(STDOUT_FILENO, text) ? exit_code : 1;
}

int answer_version(const std::string &version)
{
	const Json result(json_object());
	const Json versions(json_array());
	for (const char *supported : SUPPORTED_VERSIONS)
		json_array_append_new(versions.get(), json_string(supported));
	json_object_set_new(result.get(), "cniVersion", json_text(version));
	json_object_set(result.get(), "supportedVersions", versions.get());
	return print(json_line(result.get()) + "\n", 0);
}

// `ipam`: what the delegated IPAM plugin printed, empty when there is none.
std::string request_body(const Config &config, const std::string &ipam = std::string())
{
	const Json request(json_object());
	const Json environment = forwarded_environment();
	json_object_set(request.get(), "env", environment.get());
	if (json_object_set_new(request.get(), "stdin", json_text(config.text)) != 0)
		throw Failure{DECODING_FAILURE, "the network configuration is not UTF-8", ""};
	if (!ipam.empty() && json_object_set_new(request.get(), "ipam", json_text(ipam)) != 0)
		throw Failure{DECODING_FAILURE, "the answer of the IPAM plugin is not UTF-8", ""};
	return json_line(request.get());
}

// What the runtime is told when there is no answer. For STATUS the specification has a code of its own.
Failure no_answer(const std::string &command, const Reply &reply)
{
	const Code later = command == "STATUS" ? NOT_AVAILABLE : TRY_AGAIN_LATER;
	switch (reply.reach) {
	case Reach::ABSENT:
		return {later, "the Quantum daemon is not running: " + printable(reply.text),
			"Start it (systemctl start quantum-api), or set \"socket\" in the network "
			"configuration to its "
			"cni.sock."};
	case Reach::LATE:
		return {later, "the Quantum daemon did not answer in time: " + printable(reply.text),
			"Look at its log; \"timeout\" in the network configuration sets the limit."};
	case Reach::DENIED:
		return {command == "STATUS" ? NOT_AVAILABLE : IO_FAILURE,
			"the socket of the Quantum daemon cannot be used: " + printable(reply.text),
			"The plugin must run as root, and the socket must be root's."};
	default:
		return {later, "the Quantum daemon broke off: " + printable(reply.text), "Look at its log."};
	}
}

// Prints what the daemon decided. Throws Failure when that is not a decision.
int pass_on(const std::string &command, const Reply &reply)
{
	const bool status = command == "STATUS";
	if (reply.status == 503)
		throw Failure{status ? NOT_AVAILABLE : TRY_AGAIN_LATER,
			      "the Quantum daemon cannot serve at the moment", printable(reply.text)};
	if (reply.status != 200)
		throw Failure{reply.status == 413 ? DECODING_FAILURE : IO_FAILURE,
			      "the Quantum daemon answered with HTTP status " + std::to_string(reply.status),
			      printable(reply.text)};
	json_error_t error;
	const Json answer(json_loadb(reply.text.data(), reply.text.size(), JSON_ALLOW_NUL, &error));
	const json_t *exit_code = answer ? json_object_get(answer.get(), "exit_code") : nullptr;
	const json_t *text = answer ? json_object_get(answer.get(), "stdout") : nullptr;
	const json_int_t code = json_integer_value(exit_code);
	if (!json_is_integer(exit_code) || !json_is_string(text) || code < 0 || code > 255)
		throw Failure{status ? NOT_AVAILABLE : IO_FAILURE,
			      "the answer of the Quantum daemon cannot be read", printable(reply.text)};
	return print(json_bytes(text), static_cast<int>(code));
}

// Throws Failure when there is no answer.
int ask(const std::string &command, const Config &config, const std::string &body, const Deadline &deadline)
{
	const Reply reply = post(config.socket, body, deadline);
	if (reply.reach != Reach::ANSWERED)
		throw no_answer(command, reply);
	return pass_on(command, reply);
}

// What the IPAM plugin gave is taken back when it is sure that nobody uses it. Where the daemon may yet carry
// the ADD out, that is left to the DEL which the runtime must send after every ADD that failed.
int run_add(const Config &config, const Delegate &ipam, const Deadline &deadline)
{
	if (!ipam.exists())
		return ask("ADD", config, request_body(config), deadline);
	// Without a daemon an address would be asked for in vain.
	if (const std::optional<Reply> absent = unreachable(config.socket, deadline))
		throw no_answer("ADD", *absent);
	std::string given;
	try {
		given = ipam.run("ADD");
	} catch (...) {
		ipam.run_quietly("DEL");
		throw;
	}
	std::string body;
	try {
		body = request_body(config, given);
	} catch (...) {
		ipam.run_quietly("DEL");
		throw;
	}
	const Reply reply = post(config.socket, body, deadline);
	const bool refused = reply.reach == Reach::ABSENT || reply.reach == Reach::DENIED ||
			     (reply.reach == Reach::ANSWERED && reply.status != 200);
	if (refused)
		ipam.run_quietly("DEL");
	if (reply.reach != Reach::ANSWERED)
		throw no_answer("ADD", reply);
	const int exit_code = pass_on("ADD", reply);
	if (exit_code != 0)
		ipam.run_quietly("DEL");
	return exit_code;
}

// DEL must succeed without the daemon, and must not be lost.
int run_del(const Config &config, const std::string &body, const Deadline &deadline)
{
	Reply reply = post(config.socket, body, deadline);
	if (reply.reach == Reach::ANSWERED)
		return pass_on("DEL", reply);
	if (reply.reach == Reach::DENIED)
		throw no_answer("DEL", reply);

	const Attachment attachment = attachment_of(config);
	if (!attachment.is_possible())
		return 0;
	defer(config, attachment);
	// The daemon may have come between: it has read the directory before the file was in it, but then it
	// listens.
	reply = post(config.socket, body, deadline);
	if (reply.reach != Reach::ANSWERED || reply.status != 200)
		return 0;
	const int exit_code = pass_on("DEL", reply);
	forget(config, attachment);
	return exit_code;
}

int run_command(const std::string &command, std::string &version)
{
	Deadline deadline(default_timeout());
	if (command == "VERSION") {
		// A person at a terminal gives no input.
		version = isatty(STDIN_FILENO) ? CURRENT_VERSION : version_of(read_stdin(deadline));
		return answer_version(version);
	}
	std::string text = read_stdin(deadline);
	version = version_of(text);
	const Config config = parse_config(std::move(text));
	deadline.set(config.timeout);
	const Delegate ipam(config, deadline);
	if (command == "ADD")
		return run_add(config, ipam, deadline);
	const std::string body = request_body(config);
	if (command == "CHECK") {
		ipam.run("CHECK");
		return ask(command, config, body, deadline);
	}
	// In this order an address is free only when no interface has it any more; a DEL that is kept for the
	// daemon is carried out before anybody can ask for the address again.
	const int exit_code =
	    command == "DEL" ? run_del(config, body, deadline) : ask(command, config, body, deadline);
	if (exit_code == 0)
		ipam.run(command.c_str());
	return exit_code;
}

int run()
{
	std::string version = CURRENT_VERSION;
	try {
		const std::string command = variable("CNI_COMMAND");
		if (!is_command(command))
			throw Failure{INVALID_ENVIRONMENT,
				      command.empty() ? "CNI_COMMAND is missing" : "CNI_COMMAND is not known",
				      command.empty() ? "This is a CNI plugin; container runtimes call it."
						      : printable(command)};
		return run_command(command, version);
	} catch (const Failure &failure) {
		return report(failure, version);
	} catch (const Refusal &refusal) {
		return print(refusal.text, 1);
	} catch (const std::bad_alloc &) {
		return report({IO_FAILURE, "out of memory", ""}, version);
	}
}

} // namespace

} // namespace cni

int main()
{
	signal(SIGPIPE, SIG_IGN);
	return cni::run();
}
