/* fuzz_lease.c - any bytes as the body of POST /v1/leases, as a heartbeat's, and as a record of the
 * journal.
 *
 * A body is taken or refused with a reason that says nothing of a header's value, a key or a body;
 * what is taken makes a record that reads back as the same; a record of any bytes is taken or
 * refused, and what was taken is written and read as the same again. */
#include "admin/lease_api.h"
#include "lifecycle/lease_parts.h"

#include "base/check.h"
#include "base/log.h"
#include "config/format.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop loop;
static struct leases *ls;

/* A record of it, and what that says. */
static void check_record(struct lease *l)
{
    size_t n = 0, again_n = 0;
    uint64_t id = l->id;
    char *text = lease_text(l, 1000, 5000, &n);
    CHECK(text != NULL);
    if (n > JOURNAL_BYTES_MAX) {
        free(text); /* the journal would not take it */
        return;
    }
    CHECK(lease_from_text(ls, id, (struct str){text, n}, 1000, 5000) == 0);
    l = lease_find(ls, id);
    CHECK(l != NULL);
    char *again = lease_text(l, 1000, 5000, &again_n);
    CHECK(again && again_n == n && memcmp(text, again, n) == 0);
    free(again);
    free(text);
}

static void drop_all(void)
{
    while (!list_empty(&ls->all))
        lease_free(LIST_ENTRY(ls->all.next, struct lease, by_age));
}

static void as_body(struct str text)
{
    struct lease_body b;
    char why[LEASE_WHY_MAX];
    const usec_t most = 3600 * USEC_PER_SEC;
    const char *wrong = lease_body_read(text, most, &b, why);
    if (wrong) {
        CHECK(wrong[0] && strlen(wrong) < LEASE_WHY_MAX);
        CHECK(!strstr(wrong, "Zq7") || strstr(wrong, "unknown member")); /* its name, not a value */
        return;
    }
    const struct lease_new *n = &b.lease;
    CHECK(!format_check(FORMAT_NAME, n->name) && n->key.n <= LEASE_KEY_MAX);
    CHECK(n->ttl > 0 && n->ttl <= most && n->n_after <= LEASE_AFTER_MAX);
    CHECK(!format_check(FORMAT_URL, str_of(n->action->url)));
    CHECK(!format_check(FORMAT_METHOD, str_of(n->action->method)));
    CHECK(n->action->n_fields <= LEASE_FIELDS_MAX && n->action->retries <= 20);
    for (uint32_t i = 0; i < n->action->n_fields; i++) {
        CHECK(!format_check(FORMAT_TOKEN, str_of(n->action->fields[i].name)));
        CHECK(!format_check(FORMAT_VALUE, str_of(n->action->fields[i].value)));
    }
    struct lease *l = lease_add(ls, 0, n->kind, n->name, n->key);
    CHECK(l && lease_set_action(l, n->action, NULL) == 0);
    CHECK(lease_set_after(l, n->after, n->n_after) == 0);
    l->state = LEASE_HELD;
    l->ttl = n->ttl;
    l->expires = 1000 + n->ttl;
    lease_body_free(&b);
    check_record(l);
}

static void as_renewal(struct str text)
{
    char why[LEASE_WHY_MAX];
    usec_t ttl;
    const char *wrong = lease_renewal_read(text, 1000000, &ttl, why);
    CHECK(wrong ? wrong[0] != '\0' : ttl <= 1000000);
}

static void as_record(struct str text)
{
    int rc = lease_from_text(ls, 7, text, 1000, 5000);
    struct lease *l = lease_find(ls, 7);
    CHECK((rc == 0) == (l != NULL));
    if (l)
        check_record(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    if (!ls) {
        log_set_level(LOG_ERROR);
        CHECK(loop_init(&loop) == 0 && (ls = leases_new(&loop, NULL, NULL)) != NULL);
    }
    as_body(text);
    as_renewal(text);
    drop_all();
    as_record(text);
    drop_all();
    return 0;
}
