/* route_regex.c - regular expressions over whole texts. */
#include "policies/route_regex.h"

#include "base/check.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum {
    MATCH_LIMIT = 10000, /* steps: some 100 us */
    DEPTH_LIMIT = 5000,  /* open choices */
    HEAP_LIMIT_KIB = 1024,
    PATTERN_MAX = 4096,
};

/* A pattern cannot turn UTF on for itself: what is matched is bytes, and may be any. */
static const uint32_t compile_options = PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOTALL |
                                        PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C;

struct route_scratch {
    pcre2_match_data *data;
    pcre2_match_context *limits;
    char *bytes;
    size_t cap;
};

static void *regex_alloc(size_t bytes, UNUSED void *ctx)
{
    return mem_alloc(bytes);
}

static void regex_release(void *p, UNUSED void *ctx)
{
    free(p);
}

int route_regex_new(struct str pattern, struct route_regex **ret, char *why_out, size_t why_cap)
{
    pcre2_general_context *heap = pcre2_general_context_create(regex_alloc, regex_release, NULL);
    pcre2_compile_context *how = heap ? pcre2_compile_context_create(heap) : NULL;
    pcre2_code *code = NULL;
    int error = 0;
    PCRE2_SIZE offset = 0;
    int rc = -ENOMEM;

    if (!how)
        goto out;
    (void)pcre2_set_max_pattern_length(how, PATTERN_MAX);
    code = pcre2_compile((PCRE2_SPTR)(pattern.p ? pattern.p : ""), pattern.n, compile_options,
                         &error, &offset, how);
    if (code) {
        *ret = (struct route_regex *)code;
        rc = 0;
    } else if (error != PCRE2_ERROR_HEAP_FAILED) {
        char what[120];
        if (pcre2_get_error_message(error, (PCRE2_UCHAR *)what, sizeof(what)) < 0)
            (void)snprintf(what, sizeof(what), "error %d", error);
        (void)snprintf(why_out, why_cap, "%s at offset %zu", what, offset);
        rc = -EINVAL;
    }
out:
    pcre2_compile_context_free(how);
    pcre2_general_context_free(heap);
    return rc;
}

struct route_regex *route_regex_free(struct route_regex *r)
{
    pcre2_code_free((pcre2_code *)r);
    return NULL;
}

enum route_answer route_regex_match(const struct route_regex *r, struct str subject,
                                    struct route_scratch *scratch)
{
    if (!scratch)
        return ROUTE_UNDECIDED;
    int rc = pcre2_match((const pcre2_code *)r, (PCRE2_SPTR)(subject.p ? subject.p : ""), subject.n,
                         0, 0, scratch->data, scratch->limits);
    if (rc >= 0)
        return ROUTE_YES;
    return rc == PCRE2_ERROR_NOMATCH ? ROUTE_NO : ROUTE_UNDECIDED;
}

struct route_scratch *route_scratch_new(void)
{
    struct route_scratch *s = mem_zalloc(sizeof(*s));
    pcre2_general_context *heap = NULL;

    if (!s)
        return NULL;
    heap = pcre2_general_context_create(regex_alloc, regex_release, NULL);
    if (!heap)
        return route_scratch_free(s);
    s->data = pcre2_match_data_create(1, heap); /* the whole match only, which nobody reads */
    s->limits = pcre2_match_context_create(heap);
    pcre2_general_context_free(heap);
    if (!s->data || !s->limits)
        return route_scratch_free(s);
    (void)pcre2_set_match_limit(s->limits, MATCH_LIMIT);
    (void)pcre2_set_depth_limit(s->limits, DEPTH_LIMIT);
    (void)pcre2_set_heap_limit(s->limits, HEAP_LIMIT_KIB);
    return s;
}

struct route_scratch *route_scratch_free(struct route_scratch *s)
{
    if (!s)
        return NULL;
    pcre2_match_data_free(s->data);
    pcre2_match_context_free(s->limits);
    free(s->bytes);
    free(s);
    return NULL;
}

char *route_scratch_bytes(struct route_scratch *s, size_t n)
{
    if (n > s->cap) {
        size_t cap = n < 256 ? 256 : n;
        char *bytes = mem_realloc(s->bytes, cap);
        if (!bytes)
            return NULL;
        s->bytes = bytes;
        s->cap = cap;
    }
    return s->bytes;
}
