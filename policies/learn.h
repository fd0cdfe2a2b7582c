/* learn.h - learned sessions, the deciding part: does this exchange acquire or release something,
 * which values name it, and what request gives it back (DESIGN §4)? Pure: bytes in, bytes out.
 *
 * A rule (compiled with the configuration) on an outbound route:
 *
 *   learn:
 *     - name: device
 *       acquire: { method: POST, path: /login, status: 2xx }
 *       take: { session: { json: $.session }, node: { header: x-node } }   # or cookie:, query:,
 * path: hold: { method: POST, path: "/logout?session={session}", headers: {…}, body: "…" } release:
 * { method: POST, path: /logout, key: { query: session } }  # which one goes key: "{session}" #
 * what names it; all taken values where it is not there onDuplicate: replace      # add, count ttl:
 * 1h                   # and disconnectGrace
 *
 * Values come from a JSON body (streaming, bounded; a path of names and indices), a header, a
 * cookie or the URL. Templates escape for where they stand: URL (percent), header (no CR, LF,
 * NUL: refused), JSON string. A value that is missing or too long: nothing is learned, counted. */
#ifndef SLUICE_POLICIES_LEARN_H
#define SLUICE_POLICIES_LEARN_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    LEARN_VALUES_MAX = 8,     /* of a rule */
    LEARN_VALUE_MAX = 1024,   /* bytes of one */
    LEARN_BODY_MAX = 1 << 20, /* a response's body is looked at that far */
    LEARN_DEPTH_MAX = 32,     /* of nested JSON */
};

#endif
