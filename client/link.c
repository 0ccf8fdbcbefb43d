/* SPDX-License-Identifier: MIT */
#include "client/link.h"

#include <stdlib.h>

#include "client/rpc.h"
#include "common/cleanup.h"
#include "common/parse.h"
#include "common/paths.h"

#define DELAY_MIN (100 * USEC_PER_MSEC)
#define DELAY_MAX (2 * USEC_PER_SEC)

int link_open(struct link *link)
{
	const int r = rpc_connect(&link->varlink);

	if (r == 0)
		link->path = paths_client_socket();
	return r;
}

void link_clear(struct link *link)
{
	link->varlink = varlink_free(link->varlink);
	free(TAKE_PTR(link->path));
}

void link_lose(struct link *link, uint64_t now_usec)
{
	link->varlink = varlink_free(link->varlink);
	if (link->away_usec == 0)
		link->away_usec = now_usec;
	if (link->delay_usec == 0)
		link->delay_usec = DELAY_MIN;
	link->next_usec = now_usec + link->delay_usec;
	link->delay_usec = link->delay_usec * 3 / 2;
	if (link->delay_usec > DELAY_MAX)
		link->delay_usec = DELAY_MAX;
}

void link_close(struct link *link)
{
	link->varlink = varlink_free(link->varlink);
	link_found(link);
}

void link_found(struct link *link)
{
	link->away_usec = link->next_usec = link->delay_usec = 0;
}

int link_retry(struct link *link, uint64_t now_usec)
{
	if (link->varlink || link->next_usec == 0 || now_usec < link->next_usec)
		return 0;
	if (!link->path || varlink_connect(&link->varlink, link->path) < 0) {
		link_lose(link, now_usec);
		return 0;
	}
	link->next_usec = 0;
	return 1;
}
