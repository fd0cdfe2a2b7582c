/* route_regex.h - regular expressions over whole texts, with a bound on what one may cost.
 *
 * pcre2 on bytes (no UTF, no JIT: its pages would be the largest part of a small sidecar). A peer
 * chooses the subject, so every match has a limit on steps, depth and heap. */
#ifndef SLUICE_POLICIES_ROUTE_REGEX_H
#define SLUICE_POLICIES_ROUTE_REGEX_H

#include "policies/route.h"

struct route_regex; /* pcre2's compiled code */

/* 0; -EINVAL with why_out filled; -ENOMEM. */
int route_regex_new(struct str pattern, struct route_regex **ret, char *why_out, size_t why_cap);
struct route_regex *route_regex_free(struct route_regex *r);

enum route_answer { ROUTE_NO, ROUTE_YES, ROUTE_UNDECIDED };

/* Does all of the subject match? UNDECIDED at a limit, or when memory is short. */
enum route_answer route_regex_match(const struct route_regex *r, struct str subject,
                                    struct route_scratch *scratch);

/* Room for n bytes that lasts until the next call; NULL when memory is short. */
char *route_scratch_bytes(struct route_scratch *s, size_t n);

#endif
