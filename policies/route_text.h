/* route_text.h - conditions on header fields and query parameters. */
#ifndef SLUICE_POLICIES_ROUTE_TEXT_H
#define SLUICE_POLICIES_ROUTE_TEXT_H

#include "policies/route_regex.h"

struct route_text {
    struct route_condition cond;
    struct route_regex *regex; /* where cond.how is ROUTE_TEXT_REGEX */
};

/* 0; -EINVAL with why_out filled; -ENOMEM. On failure too, route_text_done() may be called. */
int route_text_init(struct route_text *t, const struct route_condition *c, char *why_out,
                    size_t why_cap);
void route_text_done(struct route_text *t);

/* `invert` turns the answer round, also where the field or parameter is absent: "not equal to x"
 * holds for a request that has none. */
enum route_answer route_text_header(const struct route_text *t, const struct route_request *r,
                                    struct route_scratch *scratch);
/* Of several parameters of one name, the first. Names and values are compared percent-decoded. */
enum route_answer route_text_query(const struct route_text *t, const struct route_request *r,
                                   struct route_scratch *scratch);

#endif
