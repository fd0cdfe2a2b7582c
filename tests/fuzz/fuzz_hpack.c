/* fuzz_hpack.c - header blocks, one behind the other on one connection, to our decoder and to
 * nghttp2's: both read the same fields, those that no table may have as such, or both refuse. */
#include "base/check.h"
#include "http/hpack_decode.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT = 1 << 20 };

struct read {
    char text[TEXT];
    size_t n;
};

static uint16_t note(uint8_t name_id, struct str name, struct str value)
{
    CHECK(name_id == hpack_name_of(name));
    return (name.n * 31 + value.n) & ~HPACK_NEVER_INDEXED & UINT16_MAX;
}

/* What note() says of the static table's entries. */
static uint16_t static_notes[HPACK_STATIC + 1];

static void note_static(void)
{
    for (uint32_t i = 1; i <= HPACK_STATIC; i++) {
        const struct hpack_static_line *l = hpack_static_line(i);
        static_notes[i] = note(l->name_id, (struct str){l->text, l->name_len},
                               (struct str){l->text + l->name_len + 2, l->value_len});
    }
}

static bool put(struct read *r, const char *p, size_t n)
{
    if (r->n + n > TEXT)
        return false;
    if (n > 0)
        memcpy(r->text + r->n, p, n);
    r->n += n;
    return true;
}

static bool on_field(void *user, const struct hpack_got *f)
{
    uint32_t note = (f->name_len * 31 + f->value_len) & ~HPACK_NEVER_INDEXED & UINT16_MAX;
    bool never = f->note & HPACK_NEVER_INDEXED;
    CHECK((f->note & ~HPACK_NEVER_INDEXED) == note);
    return put(user, never ? "!" : "", never) &&
           put(user, f->line, (size_t)f->name_len + f->value_len + 4);
}

static int theirs(nghttp2_hd_inflater *inflater, const uint8_t *p, size_t n, struct read *r)
{
    for (;;) {
        nghttp2_nv nv = {0};
        int flags = 0;
        ssize_t used = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, p, n, 1);
        if (used < 0)
            return -EBADMSG;
        p += used;
        n -= (size_t)used;
        bool never = nv.flags & NGHTTP2_NV_FLAG_NO_INDEX;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) &&
            (!put(r, never ? "!" : "", never) || !put(r, (const char *)nv.name, nv.namelen) ||
             !put(r, ": ", 2) || !put(r, (const char *)nv.value, nv.valuelen) ||
             !put(r, "\r\n", 2)))
            return -ECANCELED;
        if (flags & NGHTTP2_HD_INFLATE_FINAL)
            return nghttp2_hd_inflate_end_headers(inflater);
    }
}

/* A number with more bytes than it needs, which only one of the two takes (RFC 7541 §5.1 leaves
 * that open), has one after another that says nothing. */
static bool has_long_number(const uint8_t *p, size_t n)
{
    for (size_t i = 3; i < n; i++) {
        if (p[i - 3] & p[i - 2] & p[i - 1] & p[i] & 0x80)
            return true;
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct hpack_sink sink = {note, static_notes, on_field};
    static struct read a, b;
    struct hpack_decoder d = {0};
    nghttp2_hd_inflater *inflater;
    CHECK(nghttp2_hd_inflate_new(&inflater) == 0);
    note_static();
    while (size > 1) {
        size_t n = (size_t)data[0] << 8 | data[1];
        data += 2;
        size -= 2;
        n = n < size ? n : size;
        a.n = b.n = 0;
        int ours = hpack_decode(&d, (const char *)data, n, &sink, &a);
        int other = theirs(inflater, data, n, &b);
        if (ours == -ECANCELED || other == -ECANCELED)
            break;
        CHECK((ours == 0) == (other == 0) || (ours < 0 && has_long_number(data, n)));
        if (ours < 0 || other < 0)
            break;
        CHECK(a.n == b.n && memcmp(a.text, b.text, a.n) == 0);
        data += n;
        size -= n;
    }
    hpack_decoder_free(&d);
    nghttp2_hd_inflate_del(inflater);
    return 0;
}
