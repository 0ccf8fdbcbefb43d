/* SPDX-License-Identifier: MIT */
/* clang-format off */
/*
 * The protocol between tfqd, its clients and its runners: names and limits.
 *
 * Framing is varlink's (https://varlink.org): JSON objects, each ended by a NUL
 * byte, over an AF_UNIX stream socket. File descriptors travel by SCM_RIGHTS with
 * the message that speaks of them. wire_interface holds the interface in varlink's
 * own language; what follows shows a conversation.
 *
 *   tfq    {"method":"io.tfqd.Submit","more":true,"parameters":{"argv":["apply"],...}}   + [attach, stdin]
 *   tfqd   {"continues":true,"parameters":{"job":{"id":42,"status":"queued",...}}}
 *   tfqd   {"continues":true,"parameters":{"job":{"id":42,"status":"running",...}}}
 *   tfqd   {"parameters":{"job":{"id":42,"status":"done","exit_code":0,...}}}
 *
 *   runner {"method":"io.tfqd.Hello","more":true,"parameters":{"job":42,"phase":"new",...}}
 *   tfqd   {"continues":true,"parameters":{"order":"prepare","spec":{"argv":[...],...}}} + [recording, reports, stdin]
 *   runner {"method":"io.tfqd.Report","oneway":true,"parameters":{"job":42,"event":"ready"}}
 *   tfqd   {"continues":true,"parameters":{"order":"attach"}}                            + [attach]
 *   tfqd   {"continues":true,"parameters":{"order":"go","hold_lock":true,"deadline":...,"stop_grace":...}}
 *   runner {"method":"io.tfqd.Report","oneway":true,"parameters":{"job":42,"event":"started",...}}
 *   tfqd   {"continues":true,"parameters":{"order":"deadline","deadline":...}}
 *   runner {"method":"io.tfqd.Report","oneway":true,"parameters":{"job":42,"event":"exited",...}}
 *   tfqd   {"parameters":{"order":"end"}}
 */
/* clang-format on */
#pragma once

#include <stdint.h>

#define WIRE_PROTOCOL  1 /* raised when an older peer could no longer make sense of a newer one */

#define WIRE_INTERFACE "io.tfqd"
#define WIRE_SERVICE   "org.varlink.service"
#define WIRE_URL       "https://varlink.org/"

/* Methods. Append only. */
#define WIRE_SUBMIT          WIRE_INTERFACE ".Submit"
#define WIRE_LIST            WIRE_INTERFACE ".List"
#define WIRE_INFO            WIRE_INTERFACE ".Info"
#define WIRE_CANCEL          WIRE_INTERFACE ".Cancel"
#define WIRE_RESUME          WIRE_INTERFACE ".Resume"
#define WIRE_HELLO           WIRE_INTERFACE ".Hello"
#define WIRE_REPORT          WIRE_INTERFACE ".Report"
#define WIRE_WHO             WIRE_INTERFACE ".Who"
#define WIRE_UNLOCK          WIRE_INTERFACE ".Unlock"
#define WIRE_ATTACH          WIRE_INTERFACE ".Attach"
#define WIRE_LOGS            WIRE_INTERFACE ".Logs"
#define WIRE_PAUSE           WIRE_INTERFACE ".Pause"
#define WIRE_UP              WIRE_INTERFACE ".Up"
#define WIRE_HISTORY         WIRE_INTERFACE ".History"
#define WIRE_EVENTS          WIRE_INTERFACE ".Events"
#define WIRE_METRICS         WIRE_INTERFACE ".Metrics"
#define WIRE_GET_INFO        WIRE_SERVICE ".GetInfo"
#define WIRE_GET_DESCRIPTION WIRE_SERVICE ".GetInterfaceDescription"

/* Errors, ours with {"message": a sentence for the user}. Append only. */
#define WIRE_E_BAD_REQUEST WIRE_INTERFACE ".BadRequest" /* the parameters make no sense */
#define WIRE_E_BAD_STATE \
	WIRE_INTERFACE ".BadState" /* the terraform state cannot be told, or has no lock */
#define WIRE_E_NOT_ALLOWED   WIRE_INTERFACE ".NotAllowed"
#define WIRE_E_NO_SUCH_JOB   WIRE_INTERFACE ".NoSuchJob"
#define WIRE_E_NO_SUCH_STATE WIRE_INTERFACE ".NoSuchState"
#define WIRE_E_FULL          WIRE_INTERFACE ".QueueFull"
#define WIRE_E_BUSY          WIRE_INTERFACE ".Busy" /* asked not to wait, and would have to */
#define WIRE_E_STOPPING      WIRE_INTERFACE ".Stopping"
#define WIRE_E_VERSION       WIRE_INTERFACE ".VersionMismatch"
#define WIRE_E_INTERNAL      WIRE_INTERFACE ".Internal"
#define WIRE_E_NO_METHOD     WIRE_SERVICE ".MethodNotFound"
#define WIRE_E_NO_INTERFACE  WIRE_SERVICE ".InterfaceNotFound"
#define WIRE_E_BAD_PARAMETER WIRE_SERVICE ".InvalidParameter"

/* Limits. */
#define WIRE_MESSAGE_MAX 1048576 /* bytes of one message, without its NUL */
#define WIRE_BACKLOG_MAX \
	4194304             /* bytes waiting for a peer that does not read; then it is dropped */
#define WIRE_FDS_MAX   4    /* descriptors with one message */
#define WIRE_ARGV_MAX  4096 /* words */
#define WIRE_ENV_MAX   8192 /* variables */
#define WIRE_TEXT_MAX  512  /* bytes of a label or a reason */
#define WIRE_PATH_MAX  4096 /* bytes, with the NUL, as Linux's PATH_MAX */
#define WIRE_LIST_PAGE 500  /* jobs in one answer of List */

/*
 * A runner kills what is left of its job so long before the deadline of the lock's lease: time for
 * everything to be dead, and known to be. Microseconds.
 */
#define WIRE_KILL_MARGIN_USEC UINT64_C(5000000)

/* The interface description, as GetInterfaceDescription answers it. */
extern const char wire_interface[];
