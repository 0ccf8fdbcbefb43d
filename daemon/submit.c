/* SPDX-License-Identifier: MIT */
#include "daemon/submit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/explain.h"
#include "common/text.h"
#include "common/tfargs.h"
#include "common/wire.h"

#define COMMAND_LINE_MAX 1024 /* before it was made printable */
#define COMMAND_MAX      512  /* bytes of the command line as shown, with the NUL */

/* --- parameters ---------------------------------------------------------------------------- */

static int take_strv(char ***ret, const json_t *list, size_t max, const char *name,
		     char **ret_error)
{
	const size_t count = json_array_size(list);
	char **strv;

	if (!json_is_array(list) || count > max)
		return explain(ret_error, -EBADMSG, "%s is no list of at most %zu strings", name,
			       max);
	strv = calloc(count + 1, sizeof(*strv));
	if (!strv)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const char *word = json_string_value(json_array_get(list, i));

		strv[i] = word ? strdup(word) : NULL;
		if (!strv[i]) {
			tfargs_strv_free(strv);
			return word ? -ENOMEM
				    : explain(ret_error, -EBADMSG,
					      "%s holds something that is no string", name);
		}
	}
	*ret = strv;
	return 0;
}

/* A text of at most @max bytes. @is_needed: it may not be absent. */
static int take_text(char **ret, const json_t *parameters, const char *name, size_t max,
		     bool is_needed, char **ret_error)
{
	const json_t *value = json_object_get(parameters, name);
	const char *text = json_string_value(value);

	if (!value || json_is_null(value))
		return is_needed ? explain(ret_error, -EBADMSG, "%s is missing", name) : 0;
	if (!text || strlen(text) > max)
		return explain(ret_error, -EBADMSG, "%s is no string of at most %zu bytes", name,
			       max);
	*ret = strdup(text);
	return *ret ? 0 : -ENOMEM;
}

static int take_path(char **ret, const json_t *parameters, const char *name, char **ret_error)
{
	const int r = take_text(ret, parameters, name, WIRE_PATH_MAX - 1, true, ret_error);

	if (r >= 0 && (!*ret || **ret != '/'))
		return explain(ret_error, -EBADMSG, "%s is no absolute path", name);
	return r;
}

/* People's words: into logs, locks and other people's terminals. */
static int take_words(char **ret, const json_t *parameters, const char *name, char **ret_error)
{
	AUTO_FREE char *text = NULL;
	int r;

	r = take_text(&text, parameters, name, WIRE_TEXT_MAX, false, ret_error);
	if (r < 0 || !text || !*text)
		return r;
	*ret = malloc(strlen(text) + 1);
	if (!*ret)
		return -ENOMEM;
	(void)text_printable(*ret, strlen(text) + 1, text);
	return 0;
}

static int take_priority(struct job *job, const json_t *parameters, char **ret_error)
{
	const char *name = json_string_value(json_object_get(parameters, "priority"));

	if (!name)
		return 0;
	if (job_priority_parse(&job->priority, name) < 0)
		return explain(ret_error, -EBADMSG, "priority is high, normal or low");
	job->is_priority_asked = true;
	return 0;
}

static bool is_stream(int fd)
{
	socklen_t size = sizeof(int);
	int domain = -1;

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

int submit_take_socket(struct varlink *fds)
{
	const int fd = varlink_take_fd(fds);

	if (fd < 0)
		return -EBADMSG;
	if (is_stream(fd))
		return fd;
	varlink_close_foreign(fd);
	return -EBADMSG;
}

static int take_viewer(struct job *job, struct varlink *fds, char **ret_error)
{
	const int fd = submit_take_socket(fds);

	if (fd < 0)
		return explain(ret_error, fd, "attach is set, but no AF_UNIX socket came");
	return job_add_viewer(job, fd, 0, true);
}

int submit_take_stdin(struct job *job, struct varlink *fds, char **ret_error)
{
	const int fd = varlink_take_fd(fds);

	if (fd < 0)
		return explain(ret_error, -EBADMSG, "stdin is set, but no descriptor came");
	if (job->stdin_fd >= 0)
		varlink_close_foreign(job->stdin_fd);
	job->stdin_fd = fd;
	return 0;
}

/* What came with the message; @fds NULL: it is an old one, they are gone. */
static int take_fds(struct job *job, const json_t *parameters, struct varlink *fds,
		    char **ret_error)
{
	int r = 0;

	job->wants_stdin = json_is_true(json_object_get(parameters, "stdin"));
	if (fds && json_is_true(json_object_get(parameters, "attach")))
		r = take_viewer(job, fds, ret_error);
	if (r >= 0 && fds && job->wants_stdin)
		r = submit_take_stdin(job, fds, ret_error);
	return r;
}

static int take_tty(struct job *job, const json_t *parameters, char **ret_error)
{
	const json_int_t rows = json_integer_value(json_object_get(parameters, "rows"));
	const json_int_t columns = json_integer_value(json_object_get(parameters, "columns"));

	job->has_tty = json_is_true(json_object_get(parameters, "tty"));
	if (rows < 0 || rows > UINT16_MAX || columns < 0 || columns > UINT16_MAX)
		return explain(ret_error, -EBADMSG, "rows and columns are at most %d", UINT16_MAX);
	job->rows = (unsigned)rows;
	job->columns = (unsigned)columns;
	return 0;
}

/* --- what it is about ------------------------------------------------------------------------- */

/* The length of "-var=" or "-backend-config=", with one dash or two, at the start of @word; 0:
 * neither. */
static size_t secret_flag(const char *word)
{
	static const char *const flags[] = { "var=", "backend-config=" };
	const size_t dashes = strspn(word, "-");

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (dashes > 0 && strncmp(word + dashes, flags[i], strlen(flags[i])) == 0)
			return dashes + strlen(flags[i]);
	return 0;
}

static bool is_secret_flag_word(const char *word)
{
	const size_t dashes = strspn(word, "-");

	return dashes > 0 &&
	       (strcmp(word + dashes, "var") == 0 || strcmp(word + dashes, "backend-config") == 0);
}

/* A copy of @argv for other people's eyes: of a variable, its name, but not its value. */
static int hide_values(char ***ret, char *const *argv)
{
	size_t count = 0;
	char **shown;

	while (argv[count])
		count++;
	shown = calloc(count + 1, sizeof(*shown));
	if (!shown)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const size_t flag =
			i > 0 && is_secret_flag_word(argv[i - 1]) ? 0 : secret_flag(argv[i]);
		const bool is_hidden = flag > 0 || (i > 0 && is_secret_flag_word(argv[i - 1]));
		const char *equals = is_hidden ? strchr(argv[i] + flag, '=') : NULL;
		const int len = equals ? (int)(equals - argv[i]) + 1 : 0;

		if ((equals ? asprintf(&shown[i], "%.*s...", len, argv[i])
			    : asprintf(&shown[i], "%s", argv[i])) < 0) {
			shown[i] = NULL;
			tfargs_strv_free(shown);
			return -ENOMEM;
		}
	}
	*ret = shown;
	return 0;
}

static bool are_same(char *const *a, char *const *b)
{
	for (; *a && *b; a++, b++)
		if (strcmp(*a, *b) != 0)
			return false;
	return !*a && !*b;
}

static int take_command(struct job *job, struct tfargs *args, char **ret_error)
{
	char line[COMMAND_LINE_MAX], clean[COMMAND_MAX];
	char **shown = NULL;
	int r;

	r = tfargs_parse(args, job->argv, job->env, ret_error);
	if (r < 0)
		return r;
	if (args->class != TFARGS_LOCKS && args->class != TFARGS_CHILD_LOCKS)
		return explain(ret_error, -EINVAL, "'%.60s' is no subcommand that is queued",
			       args->subcommand ? args->subcommand : "");
	job->operation = args->operation;
	job->why_child = args->class == TFARGS_CHILD_LOCKS ? args->why_child : NULL;
	if (args->class == TFARGS_CHILD_LOCKS && !job->why_child)
		job->why_child = "this subcommand takes the lock itself";
	if (job->is_plan && !args->plan_file[0])
		return explain(ret_error, -EBADMSG, "plan is set, but argv names no plan file");
	if (args->plan_file[0] && !job->is_plan && !job->why_child)
		job->why_child = "tfq cannot tell which backend the saved plan names";

	job->subcommand = args->subcommand;
	r = hide_values(&shown, job->argv);
	if (r < 0)
		return r;
	(void)text_command(line, sizeof(line), shown);
	job->is_argv_plain = are_same(shown, job->argv);
	tfargs_strv_free(shown);
	(void)text_printable(clean, sizeof(clean), line);
	job->command = strdup(clean);
	return job->command ? 0 : -ENOMEM;
}

/* Who takes the lock: tfqd where it knows how, otherwise terraform. */
static const char *why_child(const struct backend *backend)
{
	if (backend->kind == BACKEND_LOCAL)
		return "the state is a local file";
	if (backend->kind != BACKEND_S3)
		return "the backend has a lock of its own kind";
	if (!backend->use_lockfile && !backend->dynamodb_table)
		return "no lock is configured";
	return NULL;
}

static enum job_priority priority_of(enum config_priority priority)
{
	switch (priority) {
	case CONFIG_PRIORITY_HIGH: return JOB_HIGH;
	case CONFIG_PRIORITY_NORMAL: return JOB_NORMAL;
	case CONFIG_PRIORITY_LOW: return JOB_LOW;
	}
	return JOB_NORMAL;
}

/* What the client found on disk. */
static int take_source(struct backend_source **ret, const struct job *job, const json_t *parameters,
		       char **ret_error)
{
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;
	int r;

	source = calloc(1, sizeof(*source));
	if (!source)
		return -ENOMEM;
	r = take_path(&source->directory, parameters, "state_directory", ret_error);
	if (r >= 0)
		r = take_text(&source->file, parameters, "backend", BACKEND_FILE_MAX, false,
			      ret_error);
	if (r >= 0)
		r = take_text(&source->profile_endpoints, parameters, "profile_endpoints",
			      BACKEND_PROFILE_MAX, false, ret_error);
	if (r >= 0)
		r = take_text(&source->workspace, parameters, "workspace", BACKEND_WORKSPACE_MAX,
			      true, ret_error);
	if (r >= 0 && job->is_plan && !source->file)
		r = explain(ret_error, -EBADMSG, "plan is set, but backend is missing");
	if (r < 0)
		return r;
	*ret = TAKE_PTR(source);
	return 0;
}

static int take_state(struct job *job, const json_t *parameters, const struct config *config,
		      char **ret_error)
{
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;
	const struct config_state *state;
	int r;

	r = take_source(&source, job, parameters, ret_error);
	if (r < 0)
		return r;

	/* Whether a lock is required may depend on the state, which only the parse tells. */
	r = backend_parse(&job->backend, source, job->env, false, ret_error);
	if (r < 0)
		return r == -ENOMEM ? r : -ENXIO;
	state = config_state_match(config, job->backend->name);
	if (state && state->has_require_lock ? state->require_lock : config->require_lock) {
		CLEANUP(backend_freep) struct backend *again = NULL;

		r = backend_parse(&again, source, job->env, true, ret_error);
		if (r < 0)
			return r == -ENOMEM ? r : -ENXIO;
	}
	if (state && state->has_priority &&
	    !json_is_string(json_object_get(parameters, "priority")))
		job->priority = priority_of(state->priority);
	job->state_directory = TAKE_PTR(source->directory);
	if (!job->why_child)
		job->why_child = why_child(job->backend);
	job->is_state_known = strcmp(job->backend->workspace, "default") == 0;
	return 0;
}

int submit_parse_again(struct job *job, const json_t *parameters, char **ret_error)
{
	CLEANUP(backend_source_freep) struct backend_source *source = NULL;
	CLEANUP(backend_freep) struct backend *backend = NULL;
	char **env = NULL;
	int r;

	r = take_strv(&env, json_object_get(parameters, "environment"), WIRE_ENV_MAX, "environment",
		      ret_error);
	if (r >= 0)
		r = take_source(&source, job, parameters, ret_error);
	if (r >= 0)
		r = backend_parse(&backend, source, env, false, ret_error);
	if (r >= 0 && strcmp(backend->identity, job->backend->identity) != 0)
		r = explain(ret_error, -EBADMSG, "it is of another state");
	if (r < 0) {
		tfargs_strv_free(env);
		return r;
	}
	job_reduce(job, TAKE_PTR(backend));
	job->env = env;
	return 0;
}

/* --- the job --------------------------------------------------------------------------------- */

static int copy_owner(struct job_owner *to, const struct job_owner *from)
{
	*to = *from;
	to->groups = NULL;
	to->name = strdup(from->name);
	if (!to->name)
		return -ENOMEM;
	if (from->group_count == 0)
		return 0;
	to->groups = malloc(from->group_count * sizeof(*to->groups));
	if (!to->groups)
		return -ENOMEM;
	memcpy(to->groups, from->groups, from->group_count * sizeof(*to->groups));
	return 0;
}

static int take_parameters(struct job *job, const json_t *parameters, struct varlink *fds,
			   char **ret_error)
{
	const json_t *umask = json_object_get(parameters, "umask");
	int r;

	r = take_strv(&job->argv, json_object_get(parameters, "argv"), WIRE_ARGV_MAX, "argv",
		      ret_error);
	if (r >= 0)
		r = take_strv(&job->env, json_object_get(parameters, "environment"), WIRE_ENV_MAX,
			      "environment", ret_error);
	if (r >= 0)
		r = take_path(&job->directory, parameters, "directory", ret_error);
	if (r >= 0)
		r = take_text(&job->client, parameters, "client", WIRE_PATH_MAX - 1, false,
			      ret_error);
	if (r >= 0)
		r = take_words(&job->label, parameters, "label", ret_error);
	if (r >= 0)
		r = take_words(&job->reason, parameters, "reason", ret_error);
	if (r >= 0)
		r = take_priority(job, parameters, ret_error);
	if (r >= 0)
		r = take_tty(job, parameters, ret_error);
	if (r >= 0)
		r = take_fds(job, parameters, fds, ret_error);
	if (r < 0)
		return r;
	if (!job->client)
		job->client = strdup("");
	if (!job->client)
		return -ENOMEM;
	if (!json_is_integer(umask) || json_integer_value(umask) < 0 ||
	    json_integer_value(umask) > 0777)
		return explain(ret_error, -EBADMSG,
			       "umask is no number between 0 and 511 (octal 777)");
	job->umask = (mode_t)json_integer_value(umask);
	job->no_wait = json_is_true(json_object_get(parameters, "no_wait"));
	job->is_plan = json_is_true(json_object_get(parameters, "plan"));
	job->supersedes = json_is_true(json_object_get(parameters, "supersede"));
	return 0;
}

static size_t bytes_of(char *const *strv)
{
	size_t bytes = 0;

	for (; strv && *strv; strv++)
		bytes += strlen(*strv) + 1;
	return bytes;
}

int submit_parse(struct job **ret, const json_t *parameters, const struct submit_source *source,
		 const struct config *config, char **ret_error)
{
	CLEANUP(job_freep) struct job *job = NULL;
	const json_int_t protocol = json_integer_value(json_object_get(parameters, "protocol"));
	struct tfargs args;
	int r;

	if (protocol != WIRE_PROTOCOL) {
		return explain(ret_error, -EPROTO,
			       "tfq speaks protocol %lld, tfqd %s speaks %d: update the %s one",
			       (long long)protocol, VERSION, WIRE_PROTOCOL,
			       protocol < WIRE_PROTOCOL ? "first" : "second");
	}
	r = job_new(&job);
	if (r < 0)
		return r;
	r = copy_owner(&job->owner, source->owner);
	if (r < 0)
		return r;
	r = take_parameters(job, parameters, source->fds, ret_error);
	if (r < 0)
		return r;
	r = take_command(job, &args, ret_error);
	if (r < 0)
		return r;
	r = take_state(job, parameters, config, ret_error);
	if (r < 0)
		return r;
	job->secret_bytes = bytes_of(job->argv) + bytes_of(job->env);
	*ret = TAKE_PTR(job);
	return 0;
}

int submit_parse_state(struct job **ret, const json_t *parameters, struct peer *peer,
		       const struct config *config, char **ret_error)
{
	CLEANUP(job_freep) struct job *job = NULL;
	int r;

	r = job_new(&job);
	if (r < 0)
		return r;
	job->is_inquiry = true;
	r = copy_owner(&job->owner, &peer->owner);
	if (r >= 0)
		r = take_strv(&job->env, json_object_get(parameters, "environment"), WIRE_ENV_MAX,
			      "environment", ret_error);
	if (r >= 0)
		r = take_state(job, parameters, config, ret_error);
	if (r < 0)
		return r;
	job->is_state_known = true;
	*ret = TAKE_PTR(job);
	return 0;
}
