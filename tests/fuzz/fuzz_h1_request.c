/* fuzz_h1_request.c - any bytes as a request: one reading however they are cut, and what is
 * forwarded of it is read as the same request again. */
#include "fuzz_h1.h"

#include "http/hop.h"
#include "http/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What hop_request() and the writer leave out or write themselves. */
static const uint64_t aside = FUZZ_BIT(FIELD_HOST) | FUZZ_BIT(FIELD_CONTENT_LENGTH) |
                              FUZZ_BIT(FIELD_TRANSFER_ENCODING) | FUZZ_BIT(FIELD_CONNECTION) |
                              FUZZ_BIT(FIELD_TE);

static void written_is_read_again(struct fuzz_h1 *f)
{
    struct h1_framing framing = {
        .body = (enum body_kind)f->m.body,
        .content_length = f->m.content_length,
        .connection_close = f->m.connection_close,
        .upgrade = f->m.connection_upgrade,
        .te_trailers = f->m.te_trailers,
    };
    struct buf out = {0};
    struct fuzz_h1 again;
    CHECK(h1_write_request(&fuzz_pool, &out, &f->m, &framing) == 0);
    fuzz_write_body(f, &out);
    fuzz_read(&again, true, METHOD_OTHER, &fuzz_large, 0, buf_data(&out), buf_len(&out));
    if (f->m.authority.len == 0) {
        CHECK(again.head == H1_ERROR); /* HTTP/1.0 without Host, which 1.1 must have */
    } else {
        CHECK(again.head == H1_DONE && again.body == H1_DONE && again.taken == buf_len(&out));
        CHECK(f->m.method == again.m.method && f->m.body == again.m.body);
        CHECK(f->m.content_length == again.m.content_length);
        CHECK(f->m.has_query == again.m.has_query && f->m.asterisk == again.m.asterisk);
        CHECK(f->m.connection_close == again.m.connection_close);
        CHECK(f->m.connection_upgrade == again.m.connection_upgrade);
        CHECK(f->m.te_trailers == again.m.te_trailers);
        fuzz_same_text(&f->m, f->m.method_text, &again.m, again.m.method_text);
        fuzz_same_text(&f->m, f->m.path, &again.m, again.m.path);
        fuzz_same_text(&f->m, f->m.query, &again.m, again.m.query);
        fuzz_same_text(&f->m, f->m.authority, &again.m, again.m.authority);
        fuzz_same_fields(&f->m, &again.m, aside);
        fuzz_same_fields(&f->trailers, &again.trailers, 0);
        fuzz_same_payload(f, &again);
    }
    fuzz_free(&again);
    buf_clear(&fuzz_pool, &out);
}

static void is_forwarded(struct fuzz_h1 *f, uint32_t seed)
{
    struct rng rng;
    const char *detail;
    rng_init(&rng, seed);
    struct hop_request hop = {
        .peer = seed & 2 ? STR("192.0.2.1") : STR("2001:db8::1"),
        .scheme = STR("http"),
        .via = STR("sluice"),
        .peer_trusted = (seed & 4) != 0,
        .keep_upgrade = (seed & 8) != 0,
        .rng = &rng,
    };
    if (path_apply(&f->m, PATH_NORMALISE, &detail) != REASON_NONE)
        return;
    CHECK(path_apply(&f->m, PATH_REFUSE, &detail) == REASON_NONE);
    (void)hop_client_address(&f->m, hop.peer, 2);
    CHECK(hop_request(&f->m, &hop) == 0);
    CHECK(hop_trace_id(&f->m).n == 32);
    CHECK(!message_find(&f->m, FIELD_CONNECTION) && !message_find(&f->m, FIELD_KEEP_ALIVE));
    CHECK(message_find(&f->m, FIELD_X_FORWARDED_FOR) && message_find(&f->m, FIELD_X_REQUEST_ID));
    written_is_read_again(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_choice c;
    struct fuzz_h1 whole, pieces;
    if (!fuzz_choose(&data, &size, &c))
        return 0;
    fuzz_read(&whole, true, METHOD_OTHER, &c.limits, 0, (const char *)data, size);
    fuzz_read(&pieces, true, METHOD_OTHER, &c.limits, c.seed, (const char *)data, size);
    fuzz_same(&whole, &pieces);
    fuzz_free(&pieces);
    if (whole.body == H1_DONE) {
        if (whole.m.version_minor == 0)
            (void)message_drop(&whole.m, FIELD_EXPECT); /* means nothing there, but would in 1.1 */
        written_is_read_again(&whole);
        is_forwarded(&whole, c.seed);
    }
    fuzz_free(&whole);
    return 0;
}
