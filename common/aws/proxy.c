/* SPDX-License-Identifier: MIT */
#include "common/aws/proxy.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/backend.h"
#include "common/cleanup.h"
#include "common/env.h"
#include "common/explain.h"
#include "common/parse.h"

#define BLANKS    " \t\r\n\v\f"
#define PORT_MAX  65535
#define ENTRY_MAX 256 /* bytes of one name in no_proxy; a longer one names no host */

/* Where a request goes, or what no_proxy says of one: lower case, no brackets. */
struct address {
	char host[ENTRY_MAX];
	char port[6]; /* "": any */
	bool is_ip;
	int family;
	unsigned char ip[16];
};

/* --- whose settings ------------------------------------------------------------------------ */

static const char *from_env(char *const *env, const char *upper, const char *lower)
{
	const char *value = env_get_filled(env, upper);

	return value ? value : env_get_filled(env, lower);
}

void proxy_settings_find(struct proxy_settings *ret, const struct backend *backend,
			 char *const *env)
{
	*ret = (struct proxy_settings){
		.http = from_env(env, "HTTP_PROXY", "http_proxy"),
		.https = from_env(env, "HTTPS_PROXY", "https_proxy"),
		.no_proxy = from_env(env, "NO_PROXY", "no_proxy"),
	};
	if (!backend)
		return;
	/* An http_proxy stands in for the https_proxy that nobody names; "" switches one off. */
	if (backend->http_proxy) {
		ret->http = backend->http_proxy;
		if (!ret->https)
			ret->https = backend->http_proxy;
	}
	if (backend->https_proxy)
		ret->https = backend->https_proxy;
	if (backend->no_proxy)
		ret->no_proxy = backend->no_proxy;
}

/* --- addresses ----------------------------------------------------------------------------- */

static bool take_ip(struct address *address, const char *text)
{
	struct in6_addr ip6;

	if (inet_pton(AF_INET, text, address->ip) == 1) {
		address->family = AF_INET;
		return true;
	}
	if (inet_pton(AF_INET6, text, &ip6) != 1)
		return false;
	address->family = AF_INET6;
	memcpy(address->ip, &ip6, sizeof(ip6));
	if (IN6_IS_ADDR_V4MAPPED(&ip6)) {
		address->family = AF_INET;
		memcpy(address->ip, ip6.s6_addr + 12, 4);
	}
	return true;
}

static bool is_port(const char *text)
{
	uint64_t port;

	return parse_u64(text, PORT_MAX, &port) == 0;
}

/* "host", "host:port", "1.2.3.4:80", "::1", "[::1]:80"; @text of @len bytes. */
static bool parse_address(struct address *ret, const char *text, size_t len)
{
	char copy[ENTRY_MAX];
	char *host = copy;
	char *colon;

	*ret = (struct address){ 0 };
	if (len == 0 || len >= sizeof(copy))
		return false;
	for (size_t i = 0; i < len; i++)
		copy[i] = (char)tolower((unsigned char)text[i]);
	copy[len] = '\0';

	colon = strrchr(copy, ':');
	if (colon && (strchr(copy, ':') == colon || colon[-1] == ']') && is_port(colon + 1) &&
	    strlen(colon + 1) < sizeof(ret->port)) {
		(void)snprintf(ret->port, sizeof(ret->port), "%s", colon + 1);
		*colon = '\0';
	}
	if (host[0] == '[' && host[strlen(host) - 1] == ']') {
		host[strlen(host) - 1] = '\0';
		host++;
	}
	if (!*host)
		return false;
	(void)snprintf(ret->host, sizeof(ret->host), "%s", host);
	ret->is_ip = take_ip(ret, host);
	return true;
}

static bool is_loopback(const struct address *address)
{
	static const struct in6_addr loopback6 = IN6ADDR_LOOPBACK_INIT;

	if (!address->is_ip)
		return strcmp(address->host, "localhost") == 0;
	return address->family == AF_INET ? address->ip[0] == 127
					  : memcmp(address->ip, &loopback6, 16) == 0;
}

/* --- no_proxy ------------------------------------------------------------------------------ */

/* Is @entry a network, such as "10.0.0.0/8" or "fd00::/8", and is @to in it? */
static bool is_in_network(const char *entry, size_t len, const struct address *to)
{
	const char *slash = memchr(entry, '/', len);
	struct address net = { 0 };
	char host[ENTRY_MAX], bits_text[4];
	uint64_t bits;

	if (!slash || !to->is_ip || (size_t)(slash - entry) >= sizeof(host) ||
	    len - (size_t)(slash - entry) - 1 >= sizeof(bits_text))
		return false;
	(void)snprintf(host, sizeof(host), "%.*s", (int)(slash - entry), entry);
	(void)snprintf(bits_text, sizeof(bits_text), "%.*s",
		       (int)(len - (size_t)(slash - entry) - 1), slash + 1);
	if (!take_ip(&net, host) || net.family != to->family ||
	    parse_u64(bits_text, net.family == AF_INET ? 32 : 128, &bits) < 0)
		return false;
	if (memcmp(net.ip, to->ip, bits / 8) != 0)
		return false;
	return bits % 8 == 0 || ((net.ip[bits / 8] ^ to->ip[bits / 8]) & (0xff00 >> bits % 8)) == 0;
}

static bool is_below(const char *host, const char *domain)
{
	const size_t len = strlen(host), domain_len = strlen(domain);

	return len >= domain_len && strcmp(host + len - domain_len, domain) == 0;
}

/* "example.com" is that and all below; ".example.com" and "*.example.com" all below. */
static bool is_excepted(const char *entry, size_t len, const struct address *to)
{
	struct address except;
	const char *host = except.host;
	size_t above;

	if (len == 1 && *entry == '*')
		return true;
	if (memchr(entry, '/', len))
		return is_in_network(entry, len, to);
	if (!parse_address(&except, entry, len) ||
	    (except.port[0] && strcmp(except.port, to->port) != 0))
		return false;
	if (except.is_ip)
		return to->is_ip && except.family == to->family &&
		       memcmp(except.ip, to->ip, except.family == AF_INET ? 4 : 16) == 0;
	if (host[0] == '*' && host[1] == '.')
		host++;
	if (host[0] == '.')
		return is_below(to->host, host);
	if (!is_below(to->host, host))
		return false;
	above = strlen(to->host) - strlen(host);
	return above == 0 || to->host[above - 1] == '.';
}

static bool is_direct(const char *no_proxy, const struct address *to)
{
	if (is_loopback(to))
		return true;
	while (no_proxy && *no_proxy) {
		const size_t whole = strcspn(no_proxy, ",");
		const char *entry = no_proxy + strspn(no_proxy, BLANKS);
		size_t len = entry < no_proxy + whole ? (size_t)(no_proxy + whole - entry) : 0;

		while (len > 0 && strchr(BLANKS, entry[len - 1]))
			len--;
		if (len > 0 && is_excepted(entry, len, to))
			return true;
		no_proxy += whole + (no_proxy[whole] == ',');
	}
	return false;
}

/* --- which proxy --------------------------------------------------------------------------- */

/* Without a scheme it is an HTTP proxy. Go lets a SOCKS proxy look the host up. */
static int make_url(char **ret, const char *proxy, char **ret_error)
{
	static const char *const schemes[][2] = {
		{ "http", "http" },
		{ "https", "https" },
		{ "socks5", "socks5h" },
		{ "socks5h", "socks5h" },
	};
	const char *rest = strstr(proxy, "://");
	const size_t scheme_len = rest ? (size_t)(rest - proxy) : 0;
	const char *scheme = rest ? NULL : "http";
	const char *host;
	struct address address;

	for (size_t i = 0; rest && i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (strlen(schemes[i][0]) == scheme_len &&
		    strncasecmp(proxy, schemes[i][0], scheme_len) == 0)
			scheme = schemes[i][1];
	}
	rest = rest ? rest + 3 : proxy;
	host = rest + strcspn(rest, "/?#");
	while (host > rest && host[-1] != '@')
		host--;
	for (const char *s = proxy; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == 0x7f)
			scheme = NULL;
	if (!scheme || !parse_address(&address, host, strcspn(host, "/?#"))) {
		return explain(ret_error, -EINVAL,
			       "The proxy is no URL of the form http://host:port (https:// and "
			       "socks5:// are fine too); correct http_proxy or https_proxy in the "
			       "backend block or in the environment.");
	}
	if (asprintf(ret, "%s://%.*s", scheme, (int)strcspn(rest, "/?#"), rest) < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

int proxy_choose(char **ret, const struct proxy_settings *settings, const char *url,
		 char **ret_error)
{
	const bool is_https = strncasecmp(url, "https://", 8) == 0;
	const char *proxy = is_https ? settings->https : settings->http;
	const char *at = strstr(url, "://");
	struct address to;

	*ret = NULL;
	at = at ? at + 3 : url;
	if (!proxy || !*proxy || !parse_address(&to, at, strcspn(at, "/?#")))
		return 0;
	if (!to.port[0])
		(void)snprintf(to.port, sizeof(to.port), "%s", is_https ? "443" : "80");
	if (is_direct(settings->no_proxy, &to))
		return 0;
	return make_url(ret, proxy, ret_error);
}
