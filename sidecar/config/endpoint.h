/* endpoint.h - where requests go, as operators write it: an address, a name or an SRV name. */
#ifndef SLUICE_CONFIG_ENDPOINT_H
#define SLUICE_CONFIG_ENDPOINT_H

#include "config/config.h"

/* 127.0.0.1:80, [::1]:80, unix:/run/x.sock, app.example:80, srv:_http._tcp.app.example. All but
 * ret->text is set; ret->host points into text. What ends in a number is an address or a mistake,
 * never a name (RFC 1123 §2.1). 0, or -EINVAL with two literals: what was expected, and what is
 * wrong. */
int endpoint_parse(struct str text, struct conf_endpoint *ret, const char **ret_expected,
                   const char **ret_why);
/* NULL: a host name (RFC 1123 §2.1; underscores and a trailing dot are taken). Otherwise a literal
 * that says what is wrong. */
const char *endpoint_check_name(struct str name);
/* They lead to the same place. */
bool endpoint_equal(const struct conf_endpoint *a, const struct conf_endpoint *b);

#endif
