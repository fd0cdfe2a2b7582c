/* authz.h - may this request pass? The first rule that fits decides; where none does, it is refused
 * if there is a rule that allows, and passes if there are none but rules that refuse.
 *
 * A rule fits when each of its conditions holds: the method is one of its methods, the path one of
 * its paths, the client one of its SPIFFE ids, its address in one of its networks, and of each of
 * its claims there is one of the values.
 *
 * An address that is not known is in no network of a rule that allows, and in each of one that
 * denies.
 *
 * Paths are compared in two readings, because servers differ in what they take for one: as it was
 * routed, without empty segments; and besides with what is percent-encoded decoded, \ read as /,
 * and without what stands behind a ; in a segment and a slash at its end, as of the rule's own. A
 * rule that allows has to fit both, one that denies either; and a path whose second reading has dot
 * segments fits every rule that denies and none that allows. */
#ifndef SLUICE_POLICIES_AUTHZ_H
#define SLUICE_POLICIES_AUTHZ_H

#include "base/cidr.h"
#include "policies/jwt.h"

struct authz_claim {
    struct str claim; /* as written */
    struct json_path path;
    bool words; /* a string is a list of words, as of `scope` (RFC 8693 §4.2) */
    uint32_t n_values;
    struct str *values; /* one of which it is, or has; of a number, a whole one's digits */
};

struct authz_rule {
    bool allow;
    /* Of each: 0 of them: no condition. */
    uint32_t n_methods, n_paths, n_spiffe_ids, n_cidrs, n_claims;
    struct str *methods;
    struct str *paths;      /* whole ones; with "/" and "*" in its end: that path and all below */
    struct str *spiffe_ids; /* likewise, but not the id itself: all below */
    struct cidr *cidrs;     /* networks of the client */
    struct authz_claim *claims;
};

struct authz_rules {
    uint32_t n;
    struct authz_rule *rules;
};

struct authz_request {
    struct str method, path;
    struct str spiffe_id;            /* empty: the client has proved none */
    struct ip source;                /* the client's */
    const struct jwt_claims *claims; /* NULL: no token */
};

bool authz_allows(const struct authz_rules *r, const struct authz_request *q);

/* A path in a rule: begins with "/", no empty or dot segments, "*" only as its last segment. */
bool authz_is_path(struct str s);
/* A string claim of this name has words in it. */
bool authz_has_words(struct str claim);

#endif
