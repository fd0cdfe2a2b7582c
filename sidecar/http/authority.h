/* authority.h - host [":" port], as Host and an absolute-form target carry it. */
#ifndef SLUICE_HTTP_AUTHORITY_H
#define SLUICE_HTTP_AUTHORITY_H

#include "base/str.h"

/* RFC 3986 §3.2 without userinfo, and not empty. An IPv6 address stands in brackets, without a
 * zone; a port is at most 65535 or empty. */
bool http_authority_valid(struct str authority);

#endif
