/* cmd_drain.c - `sluice drain`: takes a running sidecar out of service, and shows how it went. */
#include "cmd_drain.h"

#include "admin/client.h"
#include "base/clock.h"
#include "config/scalar.h"
#include "show.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define POLL_EVERY (200 * USEC_PER_MSEC)
#define PATIENCE   (2 * USEC_PER_SEC) /* for another serving process to take over */

enum { OPTION_DEADLINE = OPTION_LONG, OPTION_ADMIN, OPTION_TOKEN_FILE };

static const struct command_option options[] = {
    {'w', "wait", NULL, "waits for the end, and shows the report", 0},
    {OPTION_DEADLINE, "deadline", "TIME", "shortens the drain (20s, 500ms)", 0},
    {'o', "output", "text|json", "json: the report as it came", 0},
    {OPTION_ADMIN, "admin", "PATH|URL", "its admin socket or address (" ADMIN_DEFAULT_SOCKET ")",
     0},
    {OPTION_TOKEN_FILE, "token-file", "FILE", "sent as Bearer token: a drain over TCP needs one",
     0},
    {0},
};

struct options {
    struct admin_target target;
    usec_t deadline; /* 0: as configured */
    bool wait, json;
};

/* --- the report -------------------------------------------------------------------------- */

static void show_classes(const json_t *classes)
{
    struct table t;
    const char *name, *how;
    json_t *c, *n;
    char align[TABLE_COLUMNS_MAX] = "l";
    size_t columns = 1;
    /* Whatever ways to end it tells of; all classes tell of the same. */
    json_t *first = json_object_iter_value(json_object_iter((json_t *)(uintptr_t)classes));

    json_object_foreach(first, how, n)
    {
        if (columns + 1 < sizeof(align))
            align[columns++] = 'r';
    }
    if (columns == 1)
        return;
    (void)putchar('\n');
    table_init(&t, align);
    table_cell(&t, "CLASS");
    size_t shown = 1;
    json_object_foreach(first, how, n)
    {
        if (shown++ < columns)
            table_cell(&t, "%s", how);
    }
    json_object_foreach((json_t *)(uintptr_t)classes, name, c)
    {
        shown = 1;
        table_cell(&t, "%s", name);
        json_object_foreach(first, how, n)
        {
            if (shown++ < columns)
                table_cell(&t, "%lld", json_count(c, how));
        }
    }
    table_print(&t, stdout);
}

static void show_forced(const json_t *forced)
{
    struct table t;
    char age[SHOW_TEXT_MAX];
    size_t i;
    json_t *f;

    if (json_array_size(forced) == 0)
        return;
    (void)putchar('\n');
    table_init(&t, "llrll");
    table_head(&t, "FORCED|REASON|AGE|PEER|ROUTE");
    json_array_foreach(forced, i, f)
    {
        table_cell(&t, "%s", json_text(f, "class"));
        table_cell(&t, "%s", json_text(f, "reason"));
        table_cell(&t, "%s", show_millis(json_number(f, "age_ms"), age));
        table_cell(&t, "%s", json_text(f, "peer"));
        table_cell(&t, "%s", json_text(f, "route"));
    }
    table_print(&t, stdout);
}

static void show_cleanups(const json_t *cleanups)
{
    struct table t;
    char took[SHOW_TEXT_MAX];
    size_t i;
    json_t *run;
    const json_t *runs = json_object_get(cleanups, "runs");
    long long all = json_count(cleanups, "released") + json_count(cleanups, "already_gone") +
                    json_count(cleanups, "failed");

    if (json_array_size(runs) == 0)
        return;
    (void)putchar('\n');
    table_init(&t, "llrrll");
    table_head(&t, "CLEANUP|RESULT|TRIES|TOOK|KIND|WHY");
    json_array_foreach(runs, i, run)
    {
        table_cell(&t, "%s", json_text(run, "name"));
        table_cell(&t, "%s", json_text(run, "result"));
        table_cell(&t, "%lld", json_count(run, "tries"));
        table_cell(&t, "%s", show_millis(json_number(run, "took_ms"), took));
        table_cell(&t, "%s", json_text(run, "kind"));
        table_cell(&t, "%s%s%s", json_text(run, "why"), *json_text(run, "error") ? ": " : "",
                   json_text(run, "error"));
    }
    table_print(&t, stdout);
    if (all > (long long)json_array_size(runs))
        (void)printf("and %lld more\n", all - (long long)json_array_size(runs));
}

/* "notice_ms" stands as "notice". */
static void show_phases(struct table *t, const json_t *budget)
{
    const char *key;
    json_t *ms;
    char line[81] = "", took[SHOW_TEXT_MAX];

    json_object_foreach((json_t *)(uintptr_t)budget, key, ms)
    {
        size_t n = strlen(line), k = strlen(key);
        if (k > 3 && strcmp(key + k - 3, "_ms") == 0)
            k -= 3;
        if (json_is_number(ms) && n < sizeof(line))
            (void)snprintf(line + n, sizeof(line) - n, "%s%.*s %s", n > 0 ? ", " : "", (int)k, key,
                           show_millis(json_number_value(ms), took));
    }
    if (line[0] == '\0')
        return;
    table_cell(t, "phases");
    table_cell(t, "%s", line);
}

static void show_report(const json_t *o)
{
    struct table t;
    char a[SHOW_TEXT_MAX], b[SHOW_TEXT_MAX];
    const json_t *forced = json_object_get(o, "forced"), *longest = json_object_get(o, "longest");
    long long n_forced = json_object_get(o, "forced_total") ? json_count(o, "forced_total")
                                                            : (long long)json_array_size(forced);

    table_init(&t, "ll");
    table_cell(&t, "phase");
    table_cell(&t, "%s", json_text(o, "phase"));
    table_cell(&t, "drained");
    table_cell(&t, "in %s of %s, by %s%s%s", show_millis(json_number(o, "elapsed_ms"), a),
               show_millis(json_number(o, "deadline_ms"), b), json_text(o, "trigger"),
               *json_text(o, "started") ? ", begun " : "", json_text(o, "started"));
    show_phases(&t, json_object_get(o, "budget"));
    table_cell(&t, "forced");
    table_cell(&t, "%lld", n_forced);
    if (json_is_object(longest)) {
        table_cell(&t, "longest");
        table_cell(&t, "%s, %s, route %s%s%s", json_text(longest, "class"),
                   show_millis(json_number(longest, "age_ms"), a), json_text(longest, "route"),
                   *json_text(longest, "reason") ? ", " : "", json_text(longest, "reason"));
    }
    table_print(&t, stdout);
    show_classes(json_object_get(o, "classes"));
    show_forced(forced);
    if (n_forced > (long long)json_array_size(forced))
        (void)printf("and %lld more\n", n_forced - (long long)json_array_size(forced));
    show_cleanups(json_object_get(o, "cleanups"));
}

/* --- waiting ----------------------------------------------------------------------------- */

static bool is_serving(const json_t *o)
{
    return strcasecmp(json_text(o, "phase"), "serving") == 0;
}

static bool is_over(const json_t *o)
{
    return strcasecmp(json_text(o, "phase"), "drained") == 0 ||
           strcasecmp(json_text(o, "phase"), "exit") == 0;
}

/* One line that is written over; nothing where nobody looks. */
static void show_progress(const json_t *o)
{
    char left[SHOW_TEXT_MAX];

    if (!isatty(STDERR_FILENO))
        return;
    if (!o)
        (void)fputs("\r\033[K", stderr);
    else
        (void)fprintf(stderr, "\r\033[K%.24s: %lld open, %s left", json_text(o, "phase"),
                      json_count(o, "open"), show_millis(json_number(o, "remaining_ms"), left));
    (void)fflush(stderr);
}

static void pause_for(usec_t time)
{
    struct timespec ts = {.tv_sec = (time_t)(time / USEC_PER_SEC),
                          .tv_nsec = (long)(time % USEC_PER_SEC) * 1000};
    (void)nanosleep(&ts, NULL);
}

static void show_end(const struct options *o, const json_t *report)
{
    show_progress(NULL);
    if (o->json) {
        (void)json_dumpf(report, stdout, JSON_COMPACT);
        (void)putchar('\n');
    } else {
        show_report(report);
    }
}

/* The report so far, NULL when there is none; `answered` tells whether somebody is there. */
static json_t *ask(const struct options *o, struct admin_answer *a, bool *answered)
{
    json_t *report = NULL;

    *answered = admin_call(&o->target, "GET", "/v1/drain", NULL, a) == 0;
    if (*answered && a->status == 200)
        report = json_loadb(a->body, a->n, 0, NULL);
    if (!json_is_object(report)) {
        json_decref(report);
        return NULL;
    }
    return report;
}

static int wait_for_end(const struct options *o)
{
    json_t *last = NULL; /* the newest report */
    usec_t heard = clock_mono();
    char problem[512];
    int rc = -1;

    while (rc < 0) {
        struct admin_answer a;
        bool answered;
        json_t *now = ask(o, &a, &answered);
        if (now) {
            bool begun = last && !is_serving(last);
            json_decref(last);
            last = now;
            heard = clock_mono();
            show_progress(now);
            if (is_over(now)) {
                show_end(o, now);
                rc = EXIT_DONE;
            } else if (begun && is_serving(now)) {
                show_progress(NULL);
                (void)fputs("sluice drain: it went back to serving\n", stderr);
                rc = EXIT_NO;
            }
        } else if (answered) {
            show_progress(NULL);
            (void)fprintf(stderr, "sluice drain: %s\n",
                          a.status == 200 ? "the answer is not understood"
                                          : admin_answer_problem(&a, problem, sizeof(problem)));
            rc = a.status == 200 ? EXIT_FAULT : EXIT_NO;
        } else if (clock_mono() - heard >= PATIENCE) {
            /* A signal ends it as soon as it has drained: then this is what was seen last. */
            show_progress(NULL);
            (void)fprintf(stderr, "sluice drain: it has exited; this is what was seen last (%s)\n",
                          a.error);
            if (last)
                show_end(o, last);
            rc = last ? EXIT_DONE : EXIT_NO;
        }
        admin_answer_free(&a);
        if (rc < 0)
            pause_for(POLL_EVERY);
    }
    json_decref(last);
    return rc;
}

static int drain(const struct options *o)
{
    struct admin_answer a;
    char body[64], problem[512];
    bool accepted = false;

    (void)snprintf(body, sizeof(body), "{\"deadline_ms\":%" PRIu64 "}",
                   (o->deadline + USEC_PER_MSEC - 1) / USEC_PER_MSEC);
    if (admin_call(&o->target, "POST", "/v1/drain", o->deadline ? body : NULL, &a) < 0)
        (void)fprintf(stderr, "sluice drain: %s\n", a.error);
    else if (a.status / 100 != 2)
        (void)fprintf(stderr, "sluice drain: %s\n",
                      admin_answer_problem(&a, problem, sizeof(problem)));
    else
        accepted = true;
    if (accepted && !o->wait) {
        if (o->json)
            (void)printf("%s%s", a.body, a.n > 0 && a.body[a.n - 1] == '\n' ? "" : "\n");
        else
            (void)puts("draining");
    }
    admin_answer_free(&a);
    if (!accepted)
        return EXIT_NO;
    return o->wait ? wait_for_end(o) : EXIT_DONE;
}

static int cmd_drain(int argc, char **argv)
{
    struct options o = {0};
    struct command_line l;
    int key;

    command_line_init(&l, &command_drain, argc, argv);
    while ((key = command_next_only(&l)) > 0) {
        if (key == 'w')
            o.wait = true;
        else if (key == OPTION_ADMIN)
            o.target.where = optarg;
        else if (key == OPTION_TOKEN_FILE)
            o.target.token_file = optarg;
        else if (key == OPTION_DEADLINE) {
            if (!scalar_duration(str_of(optarg), &o.deadline) || o.deadline == 0)
                return command_misuse(&command_drain, "--deadline: \"%s\" is no time (20s, 500ms)",
                                      optarg);
        } else if (!command_output(optarg, &o.json))
            return command_misuse(&command_drain, "--output is text or json");
    }
    return key < 0 ? l.exit_code : drain(&o);
}

const struct command command_drain = {
    .name = "drain",
    .fn = cmd_drain,
    .does = "Takes a running sidecar out of service, softly",
    .description = "Tells a running sidecar to drain: what it has accepted is answered, its peers "
                   "are told to leave, and it all ends by one deadline. It stays up, unready; a "
                   "signal ends it.",
    .options = options,
    .exits = {"it drains, or with --wait: has drained, even when connections had to be closed",
              "it is not there, refused or went back to serving"},
};
