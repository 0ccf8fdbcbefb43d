/* SPDX-License-Identifier: MIT */
/* What tfqd's order to systemd could not settle. */
#pragma once

/*
 * Have the supplementary groups @list ("4,27", or ""), for which systemd has lent us CAP_SETGID,
 * and give that up for good. Return: 0; -EINVAL for what is no such list; or what setgroups(2) and
 * capset(2) say.
 */
int rights_settle(const char *list);
