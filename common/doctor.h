/* SPDX-License-Identifier: MIT */
/*
 * What tfq asks of tfq-doctor, and what that tells: two JSON objects, by standard input (a file, or
 * a memfd) and output.
 *
 * The question is that for a state in common/wire.c (state_directory, backend, profile_endpoints,
 * workspace, environment), and:
 *   probe          true: it may write, and remove, a small object beside the state
 *
 * The answer holds facts and no judgement:
 *   credentials    {source}: whose they are; or {error}: a sentence that says why there are none
 *   aws            is it S3 of AWS itself?
 *   clock          seconds by which the server is ahead of this machine; absent if it did not say
 *   asked          by name, each request that was made: {status, code, message, region, said}.
 *                  status: of HTTP, 0 if no answer came, and message says why then. said: of a 2xx
 *                  with a body, what stands in it: JSON as it is; of XML the texts by their
 *                  elements' names, the first of each. A name that is absent was not asked.
 *
 * Names: list, versioning, encryption, public, logging; state, lock (HEAD); write (a
 * condition that cannot hold, on the lock file); create, create_again, swap_wrong, remove (--probe,
 * in this order, on an object of its own); table, get, put, delete (put and delete with a condition
 * that cannot hold).
 */
#pragma once

#define DOCTOR_PROGRAM      "tfq-doctor"
#define DOCTOR_QUESTION_MAX ((size_t)16 * 1024 * 1024) /* bytes */
#define DOCTOR_ANSWER_MAX   ((size_t)1024 * 1024)      /* bytes */
#define DOCTOR_SECONDS      150 /* for everything together, credentials included */
