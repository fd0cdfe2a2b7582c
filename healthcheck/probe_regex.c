/* probe_regex.c - a pattern in the body of an answer, with a bound on what looking for it costs. */
#include "healthcheck/probe.h"

#include "base/check.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum {
    MATCH_LIMIT = 200000, /* steps, of which a byte that is passed over takes one */
    DEPTH_LIMIT = 5000,
    HEAP_LIMIT_KIB = 4096,
    PATTERN_MAX = 4096,
    WRAPPED_MAX = PATTERN_MAX + 32,
};

/* pcre2 counts steps from each place at which it begins to look. So it begins at one place only,
 * the first, and the way to where the pattern matches is a part of the pattern. */
static const char before[] = "(?s:.*?)(?:", behind[] = ")";

struct probe_regex {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *limits;
};

static int compile(struct str pattern, uint32_t options, pcre2_code **ret, char *why,
                   size_t why_cap)
{
    int error = 0;
    PCRE2_SIZE offset = 0;
    char what[120];
    *ret =
        mem_should_fail()
            ? NULL
            : pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n,
                            options | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C,
                            &error, &offset, NULL);
    if (*ret)
        return 0;
    if (error == 0 || error == PCRE2_ERROR_HEAP_FAILED)
        return -ENOMEM;
    if (pcre2_get_error_message(error, (PCRE2_UCHAR *)what, sizeof(what)) < 0)
        (void)snprintf(what, sizeof(what), "error %d", error);
    (void)snprintf(why, why_cap, "%s at offset %zu", what, (size_t)offset);
    return -EINVAL;
}

/* By itself first: its mistakes are told at its own places. */
static int compile_both(struct str pattern, pcre2_code **ret, char *why, size_t why_cap)
{
    char wrapped[WRAPPED_MAX];
    pcre2_code *alone = NULL;
    int rc = compile(pattern, 0, &alone, why, why_cap);
    if (rc < 0)
        return rc;
    pcre2_code_free(alone);
    int n = snprintf(wrapped, sizeof(wrapped), "%s%.*s%s", before, STR_FMT(pattern), behind);
    return compile((struct str){wrapped, (size_t)n}, PCRE2_ANCHORED | PCRE2_DOTALL, ret, why,
                   why_cap);
}

int probe_regex_new(struct str pattern, struct probe_regex **ret, char *why, size_t why_cap)
{
    if (pattern.n > PATTERN_MAX || memchr(pattern.p, '\0', pattern.n)) {
        (void)snprintf(why, why_cap, "longer than %d bytes, or with a NUL in it", PATTERN_MAX);
        return -EINVAL;
    }
    struct probe_regex *r = mem_zalloc(sizeof(*r));
    if (!r)
        return -ENOMEM;
    int rc = compile_both(pattern, &r->code, why, why_cap);
    if (rc == 0) {
        r->data = pcre2_match_data_create(1, NULL);
        r->limits = pcre2_match_context_create(NULL);
        rc = r->data && r->limits ? 0 : -ENOMEM;
    }
    if (rc < 0) {
        (void)probe_regex_free(r);
        return rc;
    }
    (void)pcre2_set_match_limit(r->limits, MATCH_LIMIT);
    (void)pcre2_set_depth_limit(r->limits, DEPTH_LIMIT);
    (void)pcre2_set_heap_limit(r->limits, HEAP_LIMIT_KIB);
    *ret = r;
    return 0;
}

struct probe_regex *probe_regex_free(struct probe_regex *r)
{
    if (!r)
        return NULL;
    pcre2_code_free(r->code);
    pcre2_match_data_free(r->data);
    pcre2_match_context_free(r->limits);
    free(r);
    return NULL;
}

bool probe_regex_match(const struct probe_regex *r, struct str text)
{
    return pcre2_match(r->code, (PCRE2_SPTR)(text.p ? text.p : ""), text.n, 0, 0, r->data,
                       r->limits) >= 0;
}
