/* route.h - which route a request takes. The first in the file whose every condition holds.
 *
 * Pure: no fd, no clock, base only. Built once for a snapshot, then read only, so that all
 * workers share it. Exact paths and prefixes are found by hash (one look-up for each segment of
 * the path), never by a scan; regular expressions (pcre2, with a match limit) are tried only where
 * no route earlier in the file has matched. */
#ifndef SLUICE_POLICIES_ROUTE_H
#define SLUICE_POLICIES_ROUTE_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum route_text_match {
    ROUTE_TEXT_PRESENT, /* header or query parameter is there */
    ROUTE_TEXT_EXACT,
    ROUTE_TEXT_PREFIX,
    ROUTE_TEXT_REGEX,
};

/* One header or query condition. Strings are the caller's and outlive the table. `invert` turns the
 * answer round, also where there is no such field: "not equal to x" holds then. Regular expressions
 * match whole texts, here and in paths. */
struct route_condition {
    struct str name; /* headers: any case */
    enum route_text_match how;
    struct str value;
    bool invert;
};

enum route_path_match { ROUTE_PATH_ANY, ROUTE_PATH_EXACT, ROUTE_PATH_PREFIX, ROUTE_PATH_REGEX };

struct route_match {
    /* Empty: any. "example.com" exact; "*.example.com" one or more labels in front; without port;
     * compared without case; "*" any. Any one of them. */
    const struct str *hosts;
    uint32_t n_hosts;
    enum route_path_match path_how;
    struct str path;           /* prefix: whole segments, a trailing '/' makes no difference */
    const struct str *methods; /* any one of them; none: any */
    uint32_t n_methods;
    const struct route_condition *headers; /* all of them */
    uint32_t n_headers;
    const struct route_condition *query; /* all of them; first of a name, decoded ('+' kept) */
    uint32_t n_query;
};

struct route_table;

/* Compiles n matches; index i answers as i. NULL on failure with *ret_bad = the match at fault
 * (UINT32_MAX: memory was short) and why_out filled ("missing ) at offset 4"). */
struct route_table *route_table_new(const struct route_match *matches, uint32_t n,
                                    uint32_t *ret_bad, char *why_out, size_t why_cap);
struct route_table *route_table_free(struct route_table *t);

/* What is matched. `header` gives the value of a field by name (several of one name joined by the
 * caller or first only), with .p == NULL when there is none. */
struct route_request {
    struct str method;
    struct str host;  /* with or without :port */
    struct str path;  /* normalised */
    struct str query; /* without '?' */
    struct str (*header)(const void *ctx, struct str name);
    const void *ctx;
};

enum { ROUTE_NONE = -1, ROUTE_LIMIT = -2 };

/* The index of the route, ROUTE_NONE, or ROUTE_LIMIT when a regular expression reached its match
 * limit, or memory was short, before it could tell. `scratch` is per worker (route_scratch_new); it
 * may be NULL when the table holds no regex. */
struct route_scratch;
struct route_scratch *route_scratch_new(void);
struct route_scratch *route_scratch_free(struct route_scratch *s);
int route_table_match(const struct route_table *t, const struct route_request *r,
                      struct route_scratch *scratch);

#endif
