/* fuzz_h1_response.c - any bytes as a response: one reading however they are cut, and what is
 * forwarded of it is read as the same response again. */
#include "fuzz_h1.h"

#include "http/hop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint64_t aside = FUZZ_BIT(FIELD_CONTENT_LENGTH) | FUZZ_BIT(FIELD_TRANSFER_ENCODING) |
                              FUZZ_BIT(FIELD_CONNECTION) | FUZZ_BIT(FIELD_TE);

static void written_is_read_again(struct fuzz_h1 *f, enum http_method method)
{
    struct h1_framing framing = {
        .body = (enum body_kind)f->m.body,
        .content_length = f->m.content_length,
        .declare_length = f->m.body == BODY_NONE && f->m.content_length > 0,
        .connection_close = f->m.connection_close,
        .upgrade = f->m.connection_upgrade,
    };
    struct buf out = {0};
    struct fuzz_h1 again;
    CHECK(h1_write_response(&fuzz_pool, &out, &f->m, &framing) == 0);
    fuzz_write_body(f, &out);
    fuzz_read(&again, false, method, &fuzz_large, 0, buf_data(&out), buf_len(&out));
    CHECK(again.head == H1_DONE && again.taken == buf_len(&out));
    CHECK(again.body == (f->m.body == BODY_CLOSE ? H1_MORE : H1_DONE));
    CHECK(f->m.status == again.m.status && f->m.body == again.m.body);
    CHECK(f->m.content_length == again.m.content_length);
    CHECK(f->m.connection_close == again.m.connection_close);
    CHECK(f->m.connection_upgrade == again.m.connection_upgrade);
    if (f->m.reason.len > 0)
        fuzz_same_text(&f->m, f->m.reason, &again.m, again.m.reason);
    fuzz_same_fields(&f->m, &again.m, aside);
    fuzz_same_fields(&f->trailers, &again.trailers, 0);
    fuzz_same_payload(f, &again);
    fuzz_free(&again);
    buf_clear(&fuzz_pool, &out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_choice c;
    struct fuzz_h1 whole, pieces;
    if (!fuzz_choose(&data, &size, &c))
        return 0;
    fuzz_read(&whole, false, c.method, &c.limits, 0, (const char *)data, size);
    fuzz_read(&pieces, false, c.method, &c.limits, c.seed, (const char *)data, size);
    fuzz_same(&whole, &pieces);
    fuzz_free(&pieces);
    bool complete = whole.body == H1_DONE || whole.m.body == BODY_CLOSE;
    if (whole.head == H1_DONE && complete) {
        written_is_read_again(&whole, c.method);
        CHECK(hop_response(&whole.m, STR("sluice"), (c.seed & 2) != 0) == 0);
        CHECK(!message_find(&whole.m, FIELD_CONNECTION));
        written_is_read_again(&whole, c.method);
    }
    fuzz_free(&whole);
    return 0;
}
