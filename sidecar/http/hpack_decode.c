/* hpack_decode.c - header compression: the decoder and its dynamic table. */
#include "http/hpack_decode.h"

#include "base/check.h"
#include "base/mem.h"

#include <errno.h>

enum {
    ENTRY_OVERHEAD = 32, /* RFC 7541 §4.1 */
    ENTRIES_LEAST = 16,
    TEXT_LEAST = 256,
    LINE_OVERHEAD = 4, /* ": " and CR LF; less than ENTRY_OVERHEAD, so lines fit into a table too */
    ON_STACK = 1024,
    NUMBER_MAX = 1 << 24, /* larger than any index or length that can be right */
};

struct entry {
    uint16_t at; /* its line, in text */
    uint16_t name_len, value_len;
    uint16_t note;
    uint8_t name_id;
};

/* Entries lie in a ring, their lines one behind the other in the same order. Small at first, as
 * most connections say little. */
struct hpack_memory {
    uint32_t inserted;   /* ever, modulo 2^32; the newest is in ring[(inserted - 1) % cap] */
    uint32_t count, cap; /* cap is a power of two */
    uint32_t bytes;      /* RFC 7541 §4.1 */
    uint32_t from, to, text_cap; /* of text */
    char *text;
    struct entry ring[];
};

/* A line that is made of a literal. */
struct line {
    char *p;
    size_t cap, name_len, n; /* n: with ": " and the value, but not the end of the line */
    char small[ON_STACK];
};

struct input {
    const unsigned char *p, *end;
};

/* ---- the table ---- */

static struct entry *entry_at(struct hpack_memory *m, uint32_t number)
{
    return &m->ring[number & (m->cap - 1)];
}

/* §2.3.3: 62 is the newest. NULL: there is none. */
static struct entry *find(const struct hpack_decoder *d, uint32_t index)
{
    if (!d->memory || index - HPACK_STATIC > d->memory->count)
        return NULL;
    return entry_at(d->memory, d->memory->inserted - (index - HPACK_STATIC));
}

static void evict(struct hpack_memory *m, uint32_t max)
{
    while (m->bytes > max) {
        const struct entry *e = entry_at(m, m->inserted - m->count);
        uint32_t n = (uint32_t)e->name_len + e->value_len;
        CHECK(m->count > 0);
        m->bytes -= n + ENTRY_OVERHEAD;
        m->from += n + LINE_OVERHEAD;
        m->count--;
    }
}

/* One more entry has a place in the ring. */
static bool make_place(struct hpack_decoder *d)
{
    struct hpack_memory *old = d->memory;
    if (old && old->count < old->cap)
        return true;
    uint32_t cap = old ? 2 * old->cap : ENTRIES_LEAST;
    struct hpack_memory *m = mem_zalloc(sizeof(*m) + cap * sizeof(m->ring[0]));
    if (!m)
        return false;
    if (old)
        *m = *old;
    m->cap = cap;
    for (uint32_t i = 1; i <= m->count; i++)
        *entry_at(m, m->inserted - i) = *entry_at(old, m->inserted - i);
    free(old);
    d->memory = m;
    return true;
}

/* Room for n bytes behind the text. */
static bool make_room(struct hpack_memory *m, uint32_t n)
{
    uint32_t live = m->to - m->from, cap = TEXT_LEAST;
    if (m->to + n <= m->text_cap)
        return true;
    while (cap < live + n)
        cap *= 2;
    CHECK(cap <= HPACK_TABLE_MAX);
    if (cap > m->text_cap) {
        char *text = mem_realloc(m->text, cap);
        if (!text)
            return false;
        m->text = text;
        m->text_cap = cap;
    }
    memmove(m->text, m->text + m->from, live);
    for (uint32_t i = 1; i <= m->count; i++) {
        struct entry *e = entry_at(m, m->inserted - i);
        e->at = (uint16_t)(e->at - m->from);
    }
    m->from = 0;
    m->to = live;
    return true;
}

/* One that is larger than the table empties it (§4.4). */
static bool insert(struct hpack_decoder *d, const struct hpack_got *f, uint8_t name_id)
{
    uint32_t max = HPACK_TABLE_MAX - d->cut, n = f->name_len + f->value_len;
    bool fits = n + ENTRY_OVERHEAD <= max;
    if (d->memory)
        evict(d->memory, fits ? max - n - ENTRY_OVERHEAD : 0);
    if (!fits)
        return true;
    if (!make_place(d) || !make_room(d->memory, n + LINE_OVERHEAD))
        return false;
    struct hpack_memory *m = d->memory;
    memcpy(m->text + m->to, f->line, n + LINE_OVERHEAD);
    *entry_at(m, m->inserted) = (struct entry){
        .at = (uint16_t)m->to,
        .name_len = (uint16_t)f->name_len,
        .value_len = (uint16_t)f->value_len,
        .note = f->note,
        .name_id = name_id,
    };
    m->inserted++;
    m->count++;
    m->to += n + LINE_OVERHEAD;
    m->bytes += n + ENTRY_OVERHEAD;
    return true;
}

void hpack_decoder_free(struct hpack_decoder *d)
{
    if (d->memory)
        free(d->memory->text);
    free(d->memory);
    *d = (struct hpack_decoder){0};
}

/* ---- what is read ---- */

/* What a first byte that is full leaves to those behind it. */
static bool number_goes_on(struct input *in, uint32_t n, uint32_t *ret)
{
    uint32_t b = 0x80;
    for (unsigned shift = 0; b >= 0x80; shift += 7) {
        if (in->p == in->end || shift > 21)
            return false;
        b = *in->p++;
        n += (b & 0x7f) << shift;
    }
    *ret = n;
    return n < NUMBER_MAX;
}

/* §5.1, behind a pattern that leaves `bits` of the first byte. False: too large, or cut. */
static inline bool number(struct input *in, unsigned bits, uint32_t *ret)
{
    uint32_t most = (1u << bits) - 1, n = *in->p++ & most;
    *ret = n;
    return n < most || number_goes_on(in, n, ret);
}

static bool line_room(struct line *l, size_t more)
{
    if (l->n + more <= l->cap)
        return true;
    size_t cap = 2 * (l->n + more);
    char *p = mem_realloc(l->p == l->small ? NULL : l->p, cap);
    if (!p)
        return false;
    if (l->p == l->small)
        memcpy(p, l->small, l->n);
    l->p = p;
    l->cap = cap;
    return true;
}

static bool line_put(struct line *l, const char *p, size_t n)
{
    if (!line_room(l, n + LINE_OVERHEAD))
        return false;
    if (n > 0)
        memcpy(l->p + l->n, p, n);
    l->n += n;
    return true;
}

/* §5.2, behind what the line has. */
static int line_read(struct line *l, struct input *in)
{
    uint32_t n;
    bool coded = in->p < in->end && (*in->p & 0x80);
    if (in->p == in->end || !number(in, 7, &n) || n > (size_t)(in->end - in->p))
        return -EBADMSG;
    const char *p = (const char *)in->p;
    in->p += n;
    if (!coded)
        return line_put(l, p, n) ? 0 : -ENOMEM;
    if (!line_room(l, (size_t)n * 8 / 5 + LINE_OVERHEAD))
        return -ENOMEM;
    ssize_t len = hpack_unhuffman(p, n, l->p + l->n);
    if (len < 0)
        return -EBADMSG;
    l->n += (size_t)len;
    return 0;
}

/* The name and ": " of another line. */
static int line_name(struct line *l, const char *p, size_t name_len)
{
    l->n = 0;
    l->name_len = name_len;
    return line_put(l, p, name_len + 2) ? 0 : -ENOMEM;
}

static struct hpack_got line_end(struct line *l)
{
    memcpy(l->p + l->n, "\r\n", 2);
    return (struct hpack_got){.line = l->p,
                              .name_len = (uint32_t)l->name_len,
                              .value_len = (uint32_t)(l->n - l->name_len - 2)};
}

static uint16_t note_of(const struct hpack_sink *sink, const struct hpack_got *f, uint8_t name_id)
{
    return sink->note(name_id, (struct str){f->line, f->name_len},
                      (struct str){f->line + f->name_len + 2, f->value_len});
}

/* A field of one of the two tables (§6.1). */
static int indexed(const struct hpack_decoder *d, uint32_t index, const struct hpack_sink *sink,
                   void *user)
{
    struct hpack_got f;
    if (index > HPACK_STATIC) {
        const struct entry *e = find(d, index);
        if (!e)
            return -EBADMSG;
        f = (struct hpack_got){d->memory->text + e->at, e->name_len, e->value_len, e->note};
    } else if (index > 0) {
        const struct hpack_static_line *s = hpack_static_line(index);
        f = (struct hpack_got){s->text, s->name_len, s->value_len, sink->static_notes[index]};
    } else {
        return -EBADMSG;
    }
    return sink->field(user, &f) ? 0 : -ECANCELED;
}

/* The name of a literal: of a table's entry, or in full. */
static int name_of(const struct hpack_decoder *d, struct line *l, uint32_t index, struct input *in,
                   uint8_t *ret_id)
{
    if (index > HPACK_STATIC) {
        const struct entry *e = find(d, index);
        if (!e)
            return -EBADMSG;
        *ret_id = e->name_id;
        return line_name(l, d->memory->text + e->at, e->name_len);
    }
    if (index > 0) {
        const struct hpack_static_line *s = hpack_static_line(index);
        *ret_id = s->name_id;
        return line_name(l, s->text, s->name_len);
    }
    l->n = 0;
    int rc = line_read(l, in);
    if (rc < 0)
        return rc;
    l->name_len = l->n;
    *ret_id = hpack_name_of((struct str){l->p, l->n});
    return line_put(l, ": ", 2) ? 0 : -ENOMEM;
}

/* §6.2; `what` is its first byte. */
static int literal(struct hpack_decoder *d, struct line *l, uint32_t index, struct input *in,
                   uint32_t what, const struct hpack_sink *sink, void *user)
{
    uint8_t name_id = 0;
    int rc = name_of(d, l, index, in, &name_id);
    if (rc == 0)
        rc = line_read(l, in);
    if (rc < 0)
        return rc;
    struct hpack_got f = line_end(l);
    f.note = note_of(sink, &f, name_id);
    if (what & 0x40) {
        if (!insert(d, &f, name_id))
            return -ENOMEM;
    } else if (what & 0x10) {
        f.note |= HPACK_NEVER_INDEXED;
    }
    return sink->field(user, &f) ? 0 : -ECANCELED;
}

static int resize(struct hpack_decoder *d, uint32_t max)
{
    if (max > HPACK_TABLE_MAX)
        return -EBADMSG;
    d->cut = HPACK_TABLE_MAX - max;
    if (d->memory)
        evict(d->memory, max);
    return 0;
}

int hpack_decode(struct hpack_decoder *d, const char *p, size_t n, const struct hpack_sink *sink,
                 void *user)
{
    struct input in = {(const unsigned char *)p, (const unsigned char *)p + n};
    struct line l;
    bool begun = false; /* behind a field there is no change of the size (§4.2) */
    int rc = 0;
    l.p = l.small;
    l.cap = sizeof(l.small);
    while (rc == 0 && in.p < in.end) {
        uint32_t what = *in.p, v;
        bool update = (what & 0xe0) == 0x20;
        if (!number(&in, what & 0x80 ? 7 : what & 0x40 ? 6 : update ? 5 : 4, &v))
            rc = -EBADMSG;
        else if (what & 0x80)
            rc = indexed(d, v, sink, user);
        else if (!update)
            rc = literal(d, &l, v, &in, what, sink, user);
        else
            rc = begun ? -EBADMSG : resize(d, v);
        begun |= !update;
    }
    if (l.p != l.small)
        free(l.p);
    return rc;
}
