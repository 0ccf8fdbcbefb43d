/* SPDX-License-Identifier: MIT */
/*
 * Which terraform state a saved plan is about. `terraform apply FILE` heeds neither the
 * directory's backend nor its configuration, and needs none of them (seen with 1.11.4 in an
 * empty directory): it configures the backend that is written in the plan, and works on the
 * workspace that is selected in the directory now, whatever it was when the plan was made.
 *
 * A saved plan is a zip file; its member "tfplan" names the backend. Linked into tfq and
 * tfq-runner, which read it as the submitting user, and not into tfqd.
 */
#pragma once

#include "common/backend.h"

#define PLAN_FILE_MAX   ((off_t)256 << 20) /* bytes of the zip file */
#define PLAN_MEMBER_MAX ((size_t)64 << 20) /* bytes of its member "tfplan", uncompressed */

/*
 * As backend_source_read(), but (*@ret)->file is what the saved plan @plan_file, relative to
 * @directory, says, and never NULL. @directory must be there, and that is all of it.
 *
 * Return: 0; -EOPNOTSUPP for a plan of which only terraform can tell: one of HCP Terraform,
 * of an unknown format, or over the limits above; then *@ret_error ends in no advice, as
 * there may be nothing wrong. -ENOENT, -EACCES (or what open(2) or stat(2) said), -EISDIR,
 * and -EINVAL for what is no regular file; -EBADMSG for what is no plan, or a damaged one:
 * terraform would refuse all of these. For the directory and the workspace as
 * backend_source_read(). -ENOMEM. *@ret_error as there.
 */
int plan_source_read(struct backend_source **ret, const char *directory, const char *plan_file,
		     char *const *env, char **ret_error);
