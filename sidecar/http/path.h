/* path.h - one reading of a path: what is routed is what is forwarded. */
#ifndef SLUICE_HTTP_PATH_H
#define SLUICE_HTTP_PATH_H

#include "base/outcome.h"
#include "http/message.h"

enum path_policy {
    PATH_NORMALISE, /* dot segments removed, unreserved octets decoded, %2f kept; the default */
    PATH_REFUSE,    /* a path that normalising would change is a bad request */
    PATH_AS_IS,     /* %00 and controls are refused all the same */
};

/* Applies the policy to req->path in place (RFC 3986 §6.2.2). Percent-encoding is checked: a '%'
 * without two hex digits, %00, and dot segments that climb above the root are bad requests;
 * "%2e" counts as a dot; hex digits become upper case; empty segments ("//") are kept.
 * A path that is already normal is not touched: that is found out in one pass without writing.
 * REASON_NONE, or REASON_BAD_REQUEST with *ret_detail. */
enum reason path_apply(struct message *req, enum path_policy policy, const char **ret_detail);

#endif
