/* fuzz_journal.c - any bytes as a journal: what is found is inside, in order, and the same when it
 * is written again. And the bytes as a script of appends, of which some are torn or damaged: every
 * one that is intact is found. */
#include "base/check.h"
#include "lifecycle/journal_format.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char script_mark[JOURNAL_MARK_BYTES] = "fuzzing";

static void check_record(const char *p, const struct journal_record *r, const char *mark)
{
    char header[JOURNAL_RECORD_HEADER];
    CHECK(r->body.p == p + r->at + JOURNAL_RECORD_HEADER);
    CHECK(r->body.n <= JOURNAL_BODY_MAX && r->bytes == JOURNAL_RECORD_HEADER + r->body.n);
    journal_format_record(header, mark, r);
    CHECK(memcmp(header, p + r->at, sizeof(header)) == 0);
}

static size_t find_all(const char *p, size_t n, char *mark, size_t *at)
{
    struct journal_record r;
    size_t count = 0, behind = *at;
    while (journal_find(p, n, mark, at, &r)) {
        CHECK(r.at >= behind && *at == r.at + r.bytes && *at <= n);
        check_record(p, &r, mark);
        behind = *at;
        count++;
    }
    CHECK(*at >= behind && *at <= n);
    return count;
}

static void any_bytes(const char *p, size_t n)
{
    char mark[JOURNAL_MARK_BYTES] = {0};
    size_t at = 0, pieces_at = 0;

    (void)journal_read_file(p, n, mark);
    (void)find_all(p, n, mark, &at);
    memcpy(mark, script_mark, sizeof(mark));
    at = 0;
    size_t count = find_all(p, n, mark, &at);
    /* As a file that grows while it is read: nothing less. */
    size_t pieces = find_all(p, n / 2, mark, &pieces_at);
    CHECK(pieces + find_all(p, n, mark, &pieces_at) >= count);
}

struct script {
    char out[64 * 1024];
    size_t n;
    uint64_t intact[4096];
    size_t n_intact;
};

static void append(struct script *s, uint64_t id, unsigned how, size_t where, struct str body)
{
    struct journal_record r = {.id = id, .writer = 1, .seq = id, .kind = JOURNAL_PUT, .body = body};
    char *p = s->out + s->n;
    size_t n = JOURNAL_RECORD_HEADER + body.n;

    journal_format_record(p, script_mark, &r);
    for (size_t i = 0; i < body.n; i++)
        p[JOURNAL_RECORD_HEADER + i] = body.p[i];
    if (how == 1) /* torn */
        n = where % n;
    else if (how == 2) /* damaged */
        p[where % n] = (char)(p[where % n] ^ 0x55);
    else
        s->intact[s->n_intact++] = id;
    s->n += n;
}

static void run_script(const uint8_t *data, size_t size)
{
    static struct script s;
    char mark[JOURNAL_MARK_BYTES];
    struct journal_record r;
    size_t at = 0, seen = 0;

    s.n = s.n_intact = 0;
    for (size_t i = 0; i + 3 < size && s.n + 1024 < sizeof(s.out) && s.n_intact < 4096;) {
        char body[256];
        size_t n = data[i + 1];
        if (n > size - i - 3)
            n = size - i - 3;
        for (size_t b = 0; b < n; b++) /* nothing that begins a record */
            body[b] = (char)(data[i + 3 + b] & 0x7f);
        append(&s, i + 1, data[i] % 3, data[i + 2], (struct str){body, n});
        i += 3 + n;
    }
    memcpy(mark, script_mark, sizeof(mark));
    while (journal_find(s.out, s.n, mark, &at, &r))
        seen += seen < s.n_intact && r.id == s.intact[seen];
    CHECK(seen == s.n_intact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 16384)
        return 0;
    any_bytes((const char *)data, size);
    run_script(data, size);
    return 0;
}
