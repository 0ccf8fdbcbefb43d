/* SPDX-License-Identifier: MIT */
/*
 * Which proxy a URL is asked through, as terraform's SDK decides it: Go's
 * golang.org/x/net/http/httpproxy over what aws-sdk-go-base makes of the backend's
 * http_proxy, https_proxy and no_proxy and of the environment. Pure.
 */
#pragma once

struct backend;

/* All lent; NULL: none. */
struct proxy_settings {
	const char *http, *https, *no_proxy;
};

/* What @backend (may be NULL) and @env say, the backend first (terraform-locking.md 4.3). */
void proxy_settings_find(struct proxy_settings *ret, const struct backend *backend,
			 char *const *env);

/*
 * The proxy for @url. Loopback hosts are never asked through one.
 * Return: 0 and a URL for libcurl in *@ret, the caller's to free, or NULL there for "direct";
 * -EINVAL for a proxy that is no URL, with a sentence for the user in *@ret_error that
 * shows no password; -ENOMEM.
 */
int proxy_choose(char **ret, const struct proxy_settings *settings, const char *url,
		 char **ret_error);
