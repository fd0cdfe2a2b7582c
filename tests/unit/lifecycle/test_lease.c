/* test_lease.c - what is held, and when it is let go: with a journal and an engine that the test
 * plays. */
#include "lease_rig.h"

static struct loop loop;
static struct mailbox mailbox;
static struct leases *ls;

/* --- the rig ---------------------------------------------------------------------------------- */

/* A process that has just begun; its journal is opened at once only where it is given. */
static void begin(bool given)
{
    ls = leases_new(&loop, &mailbox, NULL);
    assert_non_null(ls);
    ls->journal_path = mem_strndup(STR("/no/such/journal"));
    ls->journal_given = given;
    ls->configured = true;
    leases_start(ls);
}

static void begin_again(bool given)
{
    ls = leases_free(ls);
    begin(given);
}

static int set_up(UNUSED void **state)
{
    assert_int_equal(loop_init(&loop), 0);
    mailbox_init(&mailbox, &loop, NULL);
    begin(true);
    return 0;
}

static int tear_down(UNUSED void **state)
{
    ls = leases_free(ls);
    rig_written(-ETIMEDOUT);
    for (size_t i = 0; i < RIG_MOST; i++)
        free(rig_disk[i].text);
    memset(rig_disk, 0, sizeof(rig_disk));
    rig_n_runs = rig_n_writes = rig_cancelled = rig_drops = 0;
    rig_open_error = rig_put_error = rig_start_error = rig_replay_error = 0;
    rig_unread = 0;
    mailbox_free(&mailbox);
    loop_free(&loop);
    return 0;
}

static int last_rc;
static uint64_t last_id;
static unsigned answers;
static void answered(UNUSED void *ctx, uint64_t id, int rc)
{
    last_rc = rc;
    last_id = id;
    answers++;
}

static int acquire(enum lease_kind kind, const char *name, const char *key,
                   enum lease_duplicate duplicate)
{
    char url[64];
    (void)snprintf(url, sizeof(url), "http://x/%s", name);
    const struct cleanup_action a = {.method = "POST", .url = url, .timeout = USEC_PER_SEC};
    const struct lease_new n = {.kind = kind,
                                .name = str_of(name),
                                .key = str_of(key),
                                .duplicate = duplicate,
                                .action = &a};
    return leases_acquire(ls, &n, answered, NULL);
}

static uint64_t hold(const char *name, const char *key)
{
    assert_int_equal(acquire(LEASE_LEARNED, name, key, LEASE_DUPLICATE_REPLACES), 0);
    rig_written(0);
    assert_int_equal(last_rc, 0);
    return last_id;
}

static struct lease_stats stats(void)
{
    struct lease_stats s;
    leases_stats(ls, &s);
    return s;
}

static uint64_t n_held(void)
{
    struct lease_stats s = stats();
    return s.held[LEASE_LEASED] + s.held[LEASE_LEARNED];
}

static bool cleaned;
static void on_cleaned(UNUSED void *ctx)
{
    cleaned = true;
}

/* --- held ------------------------------------------------------------------------------------- */

static void test_told_when_it_is_on_disk(UNUSED void **state)
{
    answers = 0;
    assert_int_equal(acquire(LEASE_LEASED, "a", "k", LEASE_DUPLICATE_ADDS), 0);
    assert_int_equal(answers, 0);
    assert_int_equal(n_held(), 1);
    rig_written(0);
    assert_int_equal(answers, 1);
    assert_int_equal(last_rc, 0);
    assert_int_equal(lease_find(ls, last_id)->state, LEASE_HELD);
    assert_int_equal(rig_on_disk(), 1);
}

static void test_disk_fails_refuse(UNUSED void **state)
{
    assert_int_equal(acquire(LEASE_LEASED, "a", "k", LEASE_DUPLICATE_ADDS), 0);
    rig_written(-ENOSPC);
    assert_int_equal(last_rc, -ENOSPC);
    assert_int_equal(n_held(), 0);
    assert_int_equal(rig_n_runs, 0);
    /* A learned one has been given by the other side: it goes back at once. */
    assert_int_equal(acquire(LEASE_LEARNED, "b", "k", LEASE_DUPLICATE_ADDS), 0);
    rig_written(-EIO);
    assert_int_equal(last_rc, -EIO);
    assert_int_equal(rig_n_runs, 1);
    rig_end(rig_runs[0], CLEANUP_RELEASED);
    assert_int_equal(n_held(), 0);
    assert_int_equal(stats().journal_refused, 2);
}

static void test_disk_fails_allow(UNUSED void **state)
{
    ls->on_failure_allow = true;
    assert_int_equal(acquire(LEASE_LEASED, "a", "k", LEASE_DUPLICATE_ADDS), 0);
    rig_written(-ENOSPC);
    assert_int_equal(last_rc, 0);
    rig_put_error = -ENOBUFS;
    assert_int_equal(acquire(LEASE_LEASED, "b", "k", LEASE_DUPLICATE_ADDS), 0);
    assert_int_equal(last_rc, 0);
    assert_int_equal(n_held(), 2);
}

static void test_no_room(UNUSED void **state)
{
    ls->max = 1;
    (void)hold("a", "k");
    assert_int_equal(acquire(LEASE_LEASED, "b", "k", LEASE_DUPLICATE_ADDS), -EUSERS);
    assert_int_equal(rig_n_runs, 0);
    assert_int_equal(acquire(LEASE_LEARNED, "b", "k", LEASE_DUPLICATE_ADDS), -EUSERS);
    assert_int_equal(rig_n_runs, 1); /* what was given goes back */
    assert_int_equal(acquire(LEASE_LEARNED, "a", "k", LEASE_DUPLICATE_REPLACES), 0);
    rig_end(rig_runs[0], CLEANUP_FAILED); /* nor is it kept for another time */
    assert_int_equal(stats().refused, 2);
}

static void test_replaced_only_when_the_new_one_is_on_disk(UNUSED void **state)
{
    uint64_t old = hold("a", "k");
    assert_int_equal(acquire(LEASE_LEARNED, "a", "k", LEASE_DUPLICATE_REPLACES), 0);
    assert_non_null(lease_find(ls, old));
    rig_written(-EIO);
    assert_non_null(lease_find(ls, old));
    rig_end(rig_runs[0], CLEANUP_RELEASED); /* the new one's, which could not be held */
    assert_int_equal(acquire(LEASE_LEARNED, "a", "k", LEASE_DUPLICATE_REPLACES), 0);
    rig_written(0);
    assert_null(lease_find(ls, old));
    assert_int_equal(n_held(), 1);
    assert_int_equal(rig_on_disk(), 2 - 1);
}

/* A release that is due, of what has been acquired again, would take it from its new holder. */
static void test_acquired_again_while_its_release_is_due(UNUSED void **state)
{
    uint64_t old = hold("a", "k");
    leases_holder_gone(ls, LEASE_PROOF_PIDFD);
    rig_end(rig_runs[0], CLEANUP_FAILED);
    assert_int_equal(lease_find(ls, old)->state, LEASE_RETRYING);
    (void)hold("a", "k");
    assert_null(lease_find(ls, old));
    assert_int_equal(n_held(), 1);
    leases_holder_gone(ls, LEASE_PROOF_PIDFD);
    assert_int_equal(rig_n_runs, 1);
    (void)hold("a", "k");
    assert_int_equal(rig_n_runs, 0);
    assert_int_equal(rig_cancelled, 1);
    assert_int_equal(n_held(), 1);
    rig_written(0);
    assert_int_equal(rig_on_disk(), 1);
}

static void test_counted(UNUSED void **state)
{
    for (int i = 0; i < 3; i++) {
        assert_int_equal(acquire(LEASE_LEARNED, "a", "k", LEASE_DUPLICATE_COUNTS), 0);
        rig_written(0);
    }
    assert_int_equal(n_held(), 1);
    leases_forget(ls, STR("a"), STR("k"));
    leases_forget(ls, STR("a"), STR("other"));
    assert_int_equal(lease_find_key(ls, STR("a"), STR("k"))->refs, 2);
    leases_forget(ls, STR("a"), STR("k"));
    leases_forget(ls, STR("a"), STR("k"));
    assert_int_equal(n_held(), 0);
    assert_int_equal(rig_on_disk(), 0);
    rig_written(0);
}

static void test_added_ones_go_newest_first(UNUSED void **state)
{
    uint64_t ids[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(acquire(LEASE_LEARNED, "a", "k", LEASE_DUPLICATE_ADDS), 0);
        rig_written(0);
        ids[i] = last_id;
    }
    leases_forget(ls, STR("a"), STR("k"));
    assert_null(lease_find(ls, ids[2]));
    leases_forget(ls, STR("a"), STR("k"));
    assert_null(lease_find(ls, ids[1]));
    assert_non_null(lease_find(ls, ids[0]));
}

static void test_forgotten_before_it_is_on_disk(UNUSED void **state)
{
    assert_int_equal(acquire(LEASE_LEARNED, "a", "k", LEASE_DUPLICATE_REPLACES), 0);
    leases_forget(ls, STR("a"), STR("k"));
    assert_int_equal(n_held(), 0);
    answers = 0;
    rig_written(0);
    assert_int_equal(answers, 1);
    assert_int_equal(last_rc, 0);
    assert_int_equal(rig_on_disk(), 0);
}

static void test_forgotten_while_it_is_released(UNUSED void **state)
{
    (void)hold("a", "k");
    leases_holder_gone(ls, LEASE_PROOF_PIDFD);
    assert_int_equal(rig_n_runs, 1);
    leases_forget(ls, STR("a"), STR("k"));
    assert_int_equal(rig_n_runs, 0);
    assert_int_equal(rig_cancelled, 1);
    assert_int_equal(n_held(), 0);
}

/* --- let go ----------------------------------------------------------------------------------- */

static void test_holder_gone(UNUSED void **state)
{
    usec_t before = clock_mono();
    (void)hold("a", "1");
    (void)hold("b", "1");
    assert_int_equal(acquire(LEASE_LEARNED, "c", "1", LEASE_DUPLICATE_REPLACES), 0); /* pending */
    leases_holder_gone(ls, LEASE_PROOF_PIDFD);
    assert_int_equal(rig_n_runs, 3);
    assert_string_equal(rig_url(0), "c");
    assert_string_equal(rig_url(2), "a");
    rig_written(0);
    (void)hold("new", "1"); /* of a new application */
    assert_int_equal(rig_n_runs, 3);
    /* The old one had asked for this before it ended. */
    const struct cleanup_action action = {.method = "POST", .url = "http://x/late"};
    const struct lease_new late = {.kind = LEASE_LEARNED,
                                   .name = STR("late"),
                                   .key = STR("1"),
                                   .action = &action,
                                   .began = before};
    assert_int_equal(leases_acquire(ls, &late, answered, NULL), 0);
    assert_int_equal(rig_n_runs, 4);
    assert_string_equal(rig_url(3), "late");
    rig_written(0);
    while (rig_n_runs > 0)
        rig_end(rig_runs[0], CLEANUP_RELEASED);
    assert_int_equal(n_held(), 1);
    assert_int_equal(rig_on_disk(), 1);
    assert_int_equal(stats().results[LEASE_LEARNED][CLEANUP_RELEASED], 4);
}

static void test_failed_is_tried_again_and_given_up(UNUSED void **state)
{
    uint64_t id = hold("a", "1");
    usec_t pause = LEASE_RETRY_FIRST;
    leases_holder_gone(ls, LEASE_PROOF_PORTS);
    for (int round = 1; round < LEASE_ROUNDS; round++) {
        rig_end(rig_runs[0], CLEANUP_FAILED);
        struct lease *l = lease_find(ls, id);
        assert_int_equal(l->state, LEASE_RETRYING);
        assert_int_equal(l->rounds, round);
        assert_true(l->retry_at <= clock_mono() + pause &&
                    l->retry_at + USEC_PER_SEC > clock_mono() + pause);
        pause *= 2;
        l->retry_at = 1; /* time passes */
        leases_on_timer(&ls->timer);
        assert_int_equal(rig_n_runs, 1);
    }
    rig_end(rig_runs[0], CLEANUP_FAILED);
    assert_int_equal(n_held(), 0);
    assert_int_equal(rig_on_disk(), 0);
    rig_written(0);
}

static void test_times(UNUSED void **state)
{
    uint64_t ttl = hold("ttl", "1"), grace = hold("grace", "1"), back = hold("back", "1");
    assert_int_equal(leases_renew(ls, ttl, USEC_PER_SEC, NULL, NULL), 0);
    lease_find(ls, grace)->disconnect_grace = lease_find(ls, back)->disconnect_grace = USEC_PER_SEC;
    lease_find(ls, grace)->holder = lease_find(ls, back)->holder = 7;
    leases_disconnected(ls, 0); /* nobody's */
    leases_disconnected(ls, 8);
    assert_true(lease_due(lease_find(ls, grace)) == USEC_NEVER);
    leases_disconnected(ls, 7);
    assert_true(lease_due(lease_find(ls, grace)) <= clock_mono() + USEC_PER_SEC);
    leases_reconnected(ls, STR("back"), STR("1"), 9);
    assert_true(lease_due(lease_find(ls, back)) == USEC_NEVER);
    leases_on_timer(&ls->timer);
    assert_int_equal(rig_n_runs, 0);
    lease_find(ls, ttl)->expires = lease_find(ls, grace)->grace_at = 1;
    leases_on_timer(&ls->timer);
    assert_int_equal(rig_n_runs, 2);
    assert_string_equal(rig_url(0), "grace");
    assert_int_equal(stats().expired, 1);
    assert_int_equal(leases_renew(ls, ttl, 0, NULL, NULL), -ENOENT); /* too late */
    rig_written(0);
    rig_end(rig_runs[0], CLEANUP_RELEASED);
    rig_end(rig_runs[0], CLEANUP_ALREADY_GONE);
    leases_disconnected(ls, 9); /* its new connection */
    assert_true(lease_due(lease_find(ls, back)) != USEC_NEVER);
}

static void test_cleanup(UNUSED void **state)
{
    usec_t end = clock_mono() + 10 * USEC_PER_SEC;
    ls->concurrency = 2;
    (void)hold("a", "1");
    (void)hold("b", "1");
    (void)hold("c", "1");
    leases_holder_gone(ls, LEASE_PROOF_PIDFD); /* c and b run, by their own time */
    cleaned = false;
    leases_cleanup(ls, end, on_cleaned, NULL);
    assert_int_equal(rig_n_runs, 2);
    for (unsigned i = 0; i < 2; i++)
        assert_true(rig_runs[i]->inner->deadline < end);
    leases_cleanup(ls, end - 5 * USEC_PER_SEC, on_cleaned, NULL); /* sooner */
    for (unsigned i = 0; i < 2; i++)
        assert_true(rig_runs[i]->inner->deadline < end - 5 * USEC_PER_SEC);
    assert_int_equal(acquire(LEASE_LEASED, "late", "1", LEASE_DUPLICATE_ADDS), -ESHUTDOWN);
    rig_end(rig_runs[0], CLEANUP_RELEASED);
    assert_string_equal(rig_url(1), "a");
    rig_end(rig_runs[0], CLEANUP_FAILED);
    assert_false(cleaned);
    rig_end(rig_runs[0], CLEANUP_RELEASED);
    assert_true(cleaned);
    /* What failed stays on disk for the next process. */
    assert_int_equal(rig_on_disk(), 1);
    rig_written(0);
    json_t *o = leases_results_json(ls);
    assert_int_equal(json_integer_value(json_object_get(o, "released")), 2);
    const json_t *first = json_array_get(json_object_get(o, "runs"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "result")), "failed");
    assert_string_equal(json_string_value(json_object_get(first, "name")), "b");
    json_decref(o);
}

static void test_nothing_to_clean(UNUSED void **state)
{
    cleaned = false;
    leases_cleanup(ls, clock_mono() + USEC_PER_SEC, on_cleaned, NULL);
    assert_true(cleaned);
    json_t *o = leases_results_json(ls);
    assert_true(json_is_null(o));
    json_decref(o);
}

static void test_run_that_cannot_start(UNUSED void **state)
{
    (void)hold("a", "1");
    rig_start_error = -ENOMEM;
    cleaned = false;
    leases_cleanup(ls, clock_mono() + USEC_PER_SEC, on_cleaned, NULL);
    assert_true(cleaned);
    assert_int_equal(n_held(), 0);
    rig_written(0);
}

/* --- over processes --------------------------------------------------------------------------- */

static void test_retired(UNUSED void **state)
{
    uint64_t id = hold("a", "1");
    leases_retire(ls);
    lease_find(ls, id)->expires = 1;
    leases_on_timer(&ls->timer);
    leases_holder_gone(ls, LEASE_PROOF_PIDFD);
    assert_int_equal(acquire(LEASE_LEARNED, "b", "1", LEASE_DUPLICATE_ADDS), 0); /* on its way */
    rig_written(0);
    assert_int_equal(last_rc, 0);
    leases_forget(ls, STR("a"), STR("1"));
    assert_int_equal(rig_on_disk(), 1);
    cleaned = false;
    leases_cleanup(ls, clock_mono() + USEC_PER_SEC, on_cleaned, NULL);
    assert_true(cleaned);
    assert_int_equal(rig_n_runs, 0);
}

static void test_dropped_by_the_other_process(UNUSED void **state)
{
    rig_other_dropped = hold("a", "1");
    leases_tick(ls);
    assert_int_equal(n_held(), 0);
}

static void test_text_there_and_back(UNUSED void **state)
{
    struct cleanup_field fields[] = {{"X-Raw", "\xff\xfe"}, {"Empty", ""}};
    const struct str after[] = {STR("one"), STR("two")};
    const struct cleanup_action a = {.method = "DELETE",
                                     .url = "https://h:1/x?y",
                                     .connect_to = "h:1:2:3",
                                     .unix_path = "/socket",
                                     .http2 = true,
                                     .sans = "a.test 192.0.2.1",
                                     .spiffe_ids = "spiffe://td/a spiffe://td/b/*",
                                     .insecure = true,
                                     .tls_1_3 = true,
                                     .ca_file = "/ca",
                                     .cert_file = "/cert",
                                     .key_file = "/key",
                                     .fields = fields,
                                     .n_fields = 2,
                                     .body = STR("a\0b\x80"),
                                     .timeout = 123,
                                     .retries = 0};
    const struct lease_new n = {.kind = LEASE_LEARNED,
                                .name = STR("name"),
                                .key = STR("k\0\xc3"),
                                .duplicate = LEASE_DUPLICATE_COUNTS,
                                .after = after,
                                .n_after = 2,
                                .action = &a,
                                .ttl = 3600 * USEC_PER_SEC,
                                .holder = 5,
                                .disconnect_grace = 17};
    assert_int_equal(leases_acquire(ls, &n, answered, NULL), 0);
    rig_written(0);
    uint64_t id = last_id;
    struct lease *l = lease_find(ls, id);
    usec_t now = clock_mono();
    size_t len;
    char *text = lease_text(l, now, 1000000 + now, &len), key[64];
    assert_non_null(text);
    (void)snprintf(key, sizeof(key), "%s", l->action->idempotency_key);
    lease_free(l);
    /* Ten minutes later, on a machine that has just started. */
    assert_int_equal(
        lease_from_text(ls, id, (struct str){text, len}, 5, 1000000 + now + 600 * USEC_PER_SEC), 0);
    l = lease_find_key(ls, n.name, n.key);
    assert_non_null(l);
    assert_int_equal(l->id, id);
    assert_int_equal(l->kind, LEASE_LEARNED);
    assert_int_equal(l->duplicate, LEASE_DUPLICATE_COUNTS);
    assert_true(l->expires <= 5 + 3000 * USEC_PER_SEC && l->expires > 5 + 2999 * USEC_PER_SEC);
    assert_int_equal(l->disconnect_grace, 17);
    assert_int_equal(l->grace_at, 0);
    assert_int_equal(l->item.n_after, 2);
    assert_true(str_eq(l->after[1], STR("two")));
    assert_true(cleanup_action_equal(l->action, &a));
    assert_string_equal(l->action->idempotency_key, key);
    /* The clock was set back: no more than its TTL. */
    assert_int_equal(lease_from_text(ls, id, (struct str){text, len}, 5, 1), 0);
    assert_int_equal(lease_find(ls, id)->expires, 5 + 3600 * USEC_PER_SEC);
    assert_int_equal(n_held(), 1);
    /* Cut anywhere it is refused, and changes nothing. */
    for (size_t i = 0; i < len; i++)
        assert_int_equal(lease_from_text(ls, id + 1, (struct str){text, i}, 5, 1), -EBADMSG);
    assert_int_equal(n_held(), 1);
    free(text);
}

static void test_replayed(UNUSED void **state)
{
    (void)hold("a", "1");
    uint64_t failed = hold("b", "1");
    lease_find(ls, failed)->rounds = 2;
    lease_record_again(lease_find(ls, failed));
    rig_written(0);
    begin_again(true);
    assert_int_equal(n_held(), 2);
    assert_int_equal(lease_find_key(ls, STR("a"), STR("1"))->state, LEASE_HELD);
    assert_int_equal(lease_find(ls, failed)->state, LEASE_RETRYING);
}

static void test_part_of_it_unread(UNUSED void **state)
{
    struct lease_stats stats;
    (void)hold("a", "1");
    rig_replay_error = -EIO;
    rig_unread = 3;
    begin_again(true);
    leases_stats(ls, &stats);
    assert_int_equal(stats.unread, 3);
    assert_int_equal(n_held(), 1); /* the others are held all the same */
    assert_int_equal(rig_on_disk(), 1);
}

/* --- opening ---------------------------------------------------------------------------------- */

static void wait_for_opening(void)
{
    while (ls->opening)
        ev_run(loop.ev, EVRUN_ONCE);
}

/* While it is opened nothing waits but who asked. */
static void test_opened_elsewhere(UNUSED void **state)
{
    begin_again(false);
    answers = 0;
    (void)pthread_mutex_lock(&rig_opens);
    assert_int_equal(acquire(LEASE_LEARNED, "a", "1", LEASE_DUPLICATE_ADDS), 0);
    assert_int_equal(acquire(LEASE_LEARNED, "b", "1", LEASE_DUPLICATE_ADDS), 0);
    assert_int_equal(acquire(LEASE_LEARNED, "b", "1", LEASE_DUPLICATE_COUNTS), 0);
    leases_forget(ls, STR("a"), STR("1"));
    assert_int_equal(answers, 0);
    (void)pthread_mutex_unlock(&rig_opens);
    wait_for_opening();
    assert_int_equal(answers, 1); /* the one that was forgotten */
    rig_written(0);
    assert_int_equal(answers, 3);
    assert_int_equal(last_rc, 0);
    assert_int_equal(rig_on_disk(), 1);
    assert_int_equal(n_held(), 1);
    assert_int_equal(lease_find(ls, last_id)->refs, 2);
}

static void test_opening_that_fails(UNUSED void **state)
{
    rig_open_error = -EBUSY;
    begin_again(false);
    answers = 0;
    assert_int_equal(acquire(LEASE_LEARNED, "a", "1", LEASE_DUPLICATE_ADDS), 0);
    assert_int_equal(acquire(LEASE_LEASED, "b", "1", LEASE_DUPLICATE_ADDS), 0);
    wait_for_opening();
    assert_int_equal(answers, 2);
    assert_int_equal(last_rc, -EBUSY);
    assert_int_equal(rig_n_runs, 1); /* what was learned goes back */
    assert_int_equal(n_held(), 1);
    rig_end(rig_runs[0], CLEANUP_RELEASED);
    /* The next ones are told at once, and cause no opening. */
    (void)pthread_mutex_lock(&rig_opens);
    assert_int_equal(acquire(LEASE_LEASED, "b", "1", LEASE_DUPLICATE_ADDS), 0);
    assert_int_equal(answers, 3);
    assert_int_equal(last_rc, -EBUSY);
    ls->on_failure_allow = true;
    assert_int_equal(acquire(LEASE_LEASED, "b", "1", LEASE_DUPLICATE_ADDS), 0);
    assert_int_equal(answers, 4);
    assert_int_equal(last_rc, 0);
    leases_tick(ls);
    assert_null(ls->opening);
    (void)pthread_mutex_unlock(&rig_opens);
    /* After a pause it is tried again. */
    ls->open_again = clock_mono();
    leases_tick(ls);
    wait_for_opening();
    assert_true(ls->open_again > clock_mono() + USEC_PER_SEC);
    rig_open_error = 0;
    ls->open_again = clock_mono();
    leases_tick(ls);
    wait_for_opening();
    assert_non_null(ls->journal);
    assert_int_equal(n_held(), 1);
}

/* Another process holds it at the start: what is in it is held when it can be read. */
static void test_opened_late(UNUSED void **state)
{
    (void)hold("a", "1");
    (void)hold("b", "1");
    rig_open_error = -EBUSY;
    begin_again(true);
    assert_non_null(ls->opening);
    wait_for_opening();
    assert_int_equal(n_held(), 0);
    rig_open_error = 0;
    ls->open_again = clock_mono();
    leases_tick(ls);
    wait_for_opening();
    assert_int_equal(n_held(), 2);
    assert_int_equal(rig_n_runs, 0);
}

static void test_holder_gone_before_it_is_opened(UNUSED void **state)
{
    (void)hold("a", "1");
    rig_open_error = -EBUSY;
    begin_again(true);
    wait_for_opening();
    leases_holder_gone(ls, LEASE_PROOF_PIDFD);
    rig_open_error = 0;
    ls->open_again = clock_mono();
    leases_tick(ls);
    wait_for_opening();
    assert_int_equal(rig_n_runs, 1);
}

static void test_freed_while_it_is_opened(UNUSED void **state)
{
    begin_again(false);
    answers = 0;
    unsigned closed = rig_closed;
    (void)pthread_mutex_lock(&rig_opens);
    assert_int_equal(acquire(LEASE_LEASED, "a", "1", LEASE_DUPLICATE_ADDS), 0);
    ls = leases_free(ls);
    (void)pthread_mutex_unlock(&rig_opens);
    while (rig_closed < closed + 2) /* ours, which there was none of, and the thread's */
        (void)usleep(1000);
    assert_int_equal(answers, 0);
    /* And behind its end. */
    begin(false);
    assert_int_equal(acquire(LEASE_LEASED, "a", "1", LEASE_DUPLICATE_ADDS), 0);
    for (bool posted = false; !posted; (void)usleep(1000)) {
        (void)pthread_mutex_lock(&mailbox.lock);
        posted = !list_empty(&mailbox.waiting);
        (void)pthread_mutex_unlock(&mailbox.lock);
    }
    ls = leases_free(ls);
}

/* Each allocation fails once: nothing is lost that was told to be held, and nothing leaks. */
static void test_failing_allocations(UNUSED void **state)
{
    for (uint64_t nth = 1; nth < 60; nth++) {
        answers = 0;
        mem_fail_at(nth, false);
        int rc = acquire(LEASE_LEASED, "a", "k", LEASE_DUPLICATE_ADDS);
        mem_fail_at(0, false);
        rig_written(0);
        if (rc == 0) {
            assert_int_equal(answers, 1);
            assert_int_equal(leases_drop(ls, last_id), 0);
        }
        assert_int_equal(n_held(), 0);
    }
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_told_when_it_is_on_disk),
        TEST(test_disk_fails_refuse),
        TEST(test_disk_fails_allow),
        TEST(test_no_room),
        TEST(test_replaced_only_when_the_new_one_is_on_disk),
        TEST(test_acquired_again_while_its_release_is_due),
        TEST(test_counted),
        TEST(test_added_ones_go_newest_first),
        TEST(test_forgotten_before_it_is_on_disk),
        TEST(test_forgotten_while_it_is_released),
        TEST(test_holder_gone),
        TEST(test_failed_is_tried_again_and_given_up),
        TEST(test_times),
        TEST(test_cleanup),
        TEST(test_nothing_to_clean),
        TEST(test_run_that_cannot_start),
        TEST(test_retired),
        TEST(test_dropped_by_the_other_process),
        TEST(test_text_there_and_back),
        TEST(test_replayed),
        TEST(test_part_of_it_unread),
        TEST(test_opened_elsewhere),
        TEST(test_opening_that_fails),
        TEST(test_opened_late),
        TEST(test_holder_gone_before_it_is_opened),
        TEST(test_freed_while_it_is_opened),
        TEST(test_failing_allocations),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
