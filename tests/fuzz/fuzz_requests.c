/* SPDX-License-Identifier: MIT */
/*
 * What a client says to tfqd, to the whole of it: queue, database, vault. Only HTTP is not there,
 * and jobs' runners are /bin/false.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>

#include "common/varlink.h"
#include "common/wire.h"
#include "daemon/daemon.h"
#include "daemon/http.h"
#include "tests/fuzz/fuzz.h"

#define INPUTS_MAX 2000 /* of one daemon: what it keeps would grow for ever */
#define TURNS_MAX  64   /* of the loop, for one message */

/* --- http.h in the place of the real one ------------------------------------------------------ */

struct http {
	int none;
};

int http_new(struct http **ret, sd_event *event)
{
	(void)event;
	*ret = calloc(1, sizeof(**ret));
	return *ret ? 0 : -ENOMEM;
}

struct http *http_free(struct http *http)
{
	free(http);
	return NULL;
}

int64_t http_clock(const struct http *http, const char *host)
{
	(void)http;
	(void)host;
	return 0;
}

void http_set_clock(struct http *http, const char *host, int64_t ahead_sec)
{
	(void)http;
	(void)host;
	(void)ahead_sec;
}

int http_start(struct http_transfer **ret, struct http *http, const struct http_request *request,
	       http_done_fn done, void *userdata)
{
	(void)ret;
	(void)http;
	(void)request;
	(void)done;
	(void)userdata;
	return -EINVAL;
}

struct http_transfer *http_cancel(struct http_transfer *transfer)
{
	FUZZ_CHECK(!transfer);
	return NULL;
}

/* --- the daemon ------------------------------------------------------------------------------ */

static char folder[32];
static struct config *config;
static struct daemon *daemon_here;
static sd_event *event;

static void remove_folder(void)
{
	char command[64];

	(void)snprintf(command, sizeof(command), "rm -rf %s", folder);
	if (*folder && system(command) != 0) // NOLINT(cert-env33-c,concurrency-mt-unsafe)
		(void)fprintf(stderr, "%s stays\n", folder);
}

static void end_daemon(void)
{
	daemon_here = daemon_free(daemon_here);
	config = config_free(config);
	event = sd_event_unref(event);
	remove_folder();
}

static char *below(const char *name)
{
	char *path = NULL;

	if (asprintf(&path, "%s/%s", folder, name) < 0)
		abort();
	return path;
}

/* tfqd looks for its runner beside itself. */
static void make_runner(void)
{
	char self[PATH_MAX];
	const ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - sizeof("tfq-runner"));

	FUZZ_CHECK(len > 0);
	self[len] = '\0';
	memcpy(strrchr(self, '/') + 1, "tfq-runner", sizeof("tfq-runner"));
	FUZZ_CHECK(symlink("/bin/false", self) == 0 || errno == EEXIST);
}

static void begin_daemon(void)
{
	static char *const env[] = { NULL };
	static const struct config_options options; /* nobody reloads here */
	static bool was_here;

	if (!was_here) {
		was_here = true;
		make_runner();
		(void)atexit(end_daemon);
	}
	(void)snprintf(folder, sizeof(folder), "/dev/shm/tfq-fuzz-XXXXXX");
	FUZZ_CHECK(mkdtemp(folder));
	FUZZ_CHECK(config_new(&config) == 0);
	free(config->socket);
	free(config->state_dir);
	free(config->runtime_dir);
	config->socket = below("sock");
	config->state_dir = below("state");
	config->runtime_dir = below("run");
	config->max_queued = 20;
	FUZZ_CHECK(daemon_new(&daemon_here, config, &options, env) == 0);
	FUZZ_CHECK(sd_event_default(&event) == 0 || event);
}

/* --- a client -------------------------------------------------------------------------------- */

static void turn(void)
{
	for (int i = 0; i < TURNS_MAX && sd_event_run(event, 0) > 0; i++)
		;
}

static void read_answers(struct varlink *varlink)
{
	json_t *message = NULL;

	while (varlink_read(varlink) > 0)
		;
	while (varlink_next(varlink, &message) > 0) {
		FUZZ_CHECK(json_object_get(message, "error") ||
			   json_object_get(message, "parameters"));
		json_decref(message);
	}
}

/* Bytes as they are, up to each NUL, from one connection. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned count;
	CLEANUP(varlink_freep) struct varlink *varlink = NULL;

	if (count++ % INPUTS_MAX == 0) {
		end_daemon();
		begin_daemon();
	}
	FUZZ_CHECK(varlink_connect(&varlink, config->socket) == 0);
	while (size > 0) {
		const uint8_t *end = memchr(data, '\0', size);
		const size_t len = end ? (size_t)(end - data) + 1 : size;

		if (send(varlink_fd(varlink), data, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			break;
		turn();
		read_answers(varlink);
		data += len;
		size -= len;
	}
	varlink = varlink_free(varlink);
	turn();
	return 0;
}
