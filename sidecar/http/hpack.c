/* hpack.c - header compression: the encoder and its dynamic table. */
#include "http/hpack.h"

#include "base/check.h"
#include "base/mem.h"

enum {
    ENTRY_OVERHEAD = 32, /* RFC 7541 §4.1 */
    ENTRIES_LEAST = 16,
    TEXT_LEAST = 128,
};

struct entry {
    uint8_t hash;
    uint8_t name_id;
    uint16_t at; /* in text: the name, and the value behind it */
    uint16_t name_len, value_len;
};

/* Entries lie in a ring, their text one behind the other in the same order. What they are found by
 * are two directories with one place for each hash: where two fall on one place the older one is
 * not found again, which costs bytes and no more. All of it begins small, for connections that say
 * little, and doubles. */
struct hpack_table {
    uint32_t inserted;   /* ever, modulo 2^32; the newest is in ring[(inserted - 1) % cap] */
    uint32_t count, cap; /* cap is a power of two */
    uint32_t bytes;      /* RFC 7541 §4.1 */
    uint32_t next;       /* behind the entry that was sent last, in the ring; see find_next() */
    uint32_t from, to, text_cap; /* of text */
    char *text;
    uint8_t *by_field, *by_name; /* 2 * cap each, places in the ring */
    struct entry ring[];
};

static uint64_t load(const char *p, size_t n)
{
    uint64_t v = 0;
    memcpy(&v, p, n);
    return v;
}

static uint64_t mix(uint64_t h, const char *p, size_t n)
{
    const uint64_t k = 0x9e3779b97f4a7c15u;
    h ^= n * k;
    for (; n > 8; p += 8, n -= 8)
        h = (h ^ load(p, 8)) * k, h ^= h >> 29;
    if (n == 8)
        h ^= load(p, 8);
    else if (n >= 4)
        h ^= load(p, 4) | load(p + n - 4, 4) << 32;
    else if (n > 0)
        h ^= (uint64_t)(unsigned char)p[0] | (uint64_t)(unsigned char)p[n / 2] << 8 |
             (uint64_t)(unsigned char)p[n - 1] << 16;
    h *= k;
    return h ^ h >> 32;
}

static uint32_t max_bytes(const struct hpack *h)
{
    return HPACK_TABLE_MAX - h->cut;
}

/* The place in the ring is that of an entry which is still there. */
static bool is_live(const struct hpack_table *t, uint32_t place)
{
    return ((t->inserted - 1 - place) & (t->cap - 1)) < t->count;
}

/* RFC 7541 §2.3.3 */
static uint32_t index_of(const struct hpack_table *t, uint32_t place)
{
    return HPACK_STATIC + 1 + ((t->inserted - 1 - place) & (t->cap - 1));
}

static bool has_name(const struct hpack_table *t, const struct entry *e,
                     const struct hpack_field *f)
{
    if (e->name_id != f->name_id || f->name_id != HPACK_NAME_OTHER)
        return e->name_id == f->name_id;
    return e->name_len == f->name_len && memcmp(t->text + e->at, f->name, f->name_len) == 0;
}

static bool has_value(const struct hpack_table *t, const struct entry *e,
                      const struct hpack_field *f)
{
    return e->value_len == f->value_len &&
           (f->value_len == 0 ||
            memcmp(t->text + e->at + e->name_len, f->value, f->value_len) == 0);
}

static uint32_t found_at(struct hpack_table *t, uint32_t place)
{
    t->next = place + 1;
    return index_of(t, place);
}

static uint32_t find_field(struct hpack_table *t, uint64_t hash, const struct hpack_field *f)
{
    uint8_t place = t->by_field[hash & (2 * t->cap - 1)];
    const struct entry *e = &t->ring[place];
    return is_live(t, place) && e->hash == (uint8_t)(hash >> 16) && has_name(t, e, f) &&
                   has_value(t, e, f)
               ? found_at(t, place)
               : 0;
}

/* Heads of one connection say much of the same in the same order, in which it went into the table:
 * mostly the entry behind the last one is it, and nothing has to be hashed. */
static uint32_t find_next(struct hpack_table *t, const struct hpack_field *f)
{
    uint32_t place = t->next & (t->cap - 1);
    const struct entry *e = &t->ring[place];
    return is_live(t, place) && has_name(t, e, f) && has_value(t, e, f) ? found_at(t, place) : 0;
}

static uint32_t find_name(const struct hpack_table *t, uint64_t hash, const struct hpack_field *f)
{
    uint8_t place = t->by_name[hash & (2 * t->cap - 1)];
    return is_live(t, place) && has_name(t, &t->ring[place], f) ? index_of(t, place) : 0;
}

static void evict(struct hpack_table *t, uint32_t max)
{
    while (t->bytes > max) {
        const struct entry *e = &t->ring[(t->inserted - t->count) & (t->cap - 1)];
        uint32_t n = (uint32_t)e->name_len + e->value_len;
        CHECK(t->count > 0);
        t->bytes -= n + ENTRY_OVERHEAD;
        t->from += n;
        t->count--;
    }
}

static struct entry *entry_at(struct hpack_table *t, uint32_t number)
{
    return &t->ring[number & (t->cap - 1)];
}

static struct hpack_table *table_new(uint32_t cap)
{
    struct hpack_table *t = mem_zalloc(sizeof(*t) + cap * (sizeof(t->ring[0]) + 4));
    if (!t)
        return NULL;
    t->cap = cap;
    t->by_field = (uint8_t *)&t->ring[cap];
    t->by_name = t->by_field + 2 * (size_t)cap;
    return t;
}

static uint64_t hash_of_name(const struct hpack_field *f)
{
    return f->name_id ? f->name_id : mix(0, f->name, f->name_len);
}

static void place_entry(struct hpack_table *t, struct entry e, uint64_t name_hash, uint64_t hash)
{
    uint8_t place = (uint8_t)(t->inserted & (t->cap - 1));
    t->ring[place] = e;
    t->by_field[hash & (2 * t->cap - 1)] = place;
    t->by_name[name_hash & (2 * t->cap - 1)] = place;
    t->inserted++;
    t->count++;
    t->next = t->inserted;
}

/* One more entry has a place in the ring. */
static bool make_place(struct hpack *h)
{
    struct hpack_table *old = h->table;
    if (old->count < old->cap)
        return true;
    struct hpack_table *t = table_new(2 * old->cap);
    if (!t)
        return false;
    t->bytes = old->bytes;
    t->from = old->from;
    t->to = old->to;
    t->text_cap = old->text_cap;
    t->text = old->text;
    t->inserted = old->inserted - old->count;
    for (uint32_t i = old->count; i > 0; i--) {
        const struct entry *e = entry_at(old, old->inserted - i);
        struct hpack_field f = {
            .name = old->text + e->at, .name_len = e->name_len, .name_id = e->name_id};
        uint64_t name_hash = hash_of_name(&f);
        place_entry(t, *e, name_hash, mix(name_hash, f.name + e->name_len, e->value_len));
    }
    free(old);
    h->table = t;
    return true;
}

/* Room for n bytes behind the text. */
static bool make_room(struct hpack_table *t, uint32_t n)
{
    uint32_t live = t->to - t->from, cap = TEXT_LEAST;
    if (t->to + n <= t->text_cap)
        return true;
    while (cap < live + n)
        cap *= 2;
    CHECK(cap <= HPACK_TABLE_MAX);
    if (cap > t->text_cap) {
        char *text = mem_realloc(t->text, cap);
        if (!text)
            return false;
        t->text = text;
        t->text_cap = cap;
    }
    memmove(t->text, t->text + t->from, live);
    for (uint32_t i = 1; i <= t->count; i++) {
        struct entry *e = entry_at(t, t->inserted - i);
        e->at = (uint16_t)(e->at - t->from);
    }
    t->from = 0;
    t->to = live;
    return true;
}

/* False: it does not go into the table. */
static bool insert(struct hpack *h, const struct hpack_field *f, uint64_t name_hash, uint64_t hash)
{
    uint32_t n = (uint32_t)f->name_len + f->value_len;
    /* One that takes nearly all of the table would leave no room for others. */
    if (n + ENTRY_OVERHEAD > max_bytes(h) / 4 * 3)
        return false;
    /* Where memory is short then, the peer still has what is forgotten here; that is harmless, for
     * both drop the oldest first. */
    evict(h->table, max_bytes(h) - n - ENTRY_OVERHEAD);
    if (!make_place(h) || !make_room(h->table, n))
        return false;
    struct hpack_table *t = h->table;
    memcpy(t->text + t->to, f->name, f->name_len);
    if (f->value_len > 0)
        memcpy(t->text + t->to + f->name_len, f->value, f->value_len);
    place_entry(t,
                (struct entry){
                    .hash = (uint8_t)(hash >> 16),
                    .name_id = f->name_id,
                    .at = (uint16_t)t->to,
                    .name_len = f->name_len,
                    .value_len = (uint16_t)f->value_len,
                },
                name_hash, hash);
    t->to += n;
    t->bytes += n + ENTRY_OVERHEAD;
    return true;
}

void hpack_free(struct hpack *h)
{
    if (h->table)
        free(h->table->text);
    free(h->table);
    *h = (struct hpack){0};
}

void hpack_set_max(struct hpack *h, uint32_t bytes)
{
    uint32_t cut = HPACK_TABLE_MAX - (uint32_t)min_u64(bytes, HPACK_TABLE_MAX);
    if (cut == h->cut)
        return;
    if (!h->changed || cut > h->cut_most)
        h->cut_most = cut;
    h->cut = cut;
    h->changed = true;
    if (h->table)
        evict(h->table, max_bytes(h));
}

/* ---- what is written ---- */

/* RFC 7541 §5.1; `bits` of prefix, the pattern before it in `first`. */
static char *put_number(char *to, unsigned first, unsigned bits, uint32_t n)
{
    uint32_t most = (1u << bits) - 1;
    if (n < most) {
        *to++ = (char)(first | n);
        return to;
    }
    *to++ = (char)(first | most);
    for (n -= most; n >= 128; n >>= 7)
        *to++ = (char)(0x80 | (n & 0x7f));
    *to++ = (char)n;
    return to;
}

static char *put_string(char *to, const char *p, uint32_t n)
{
    to = put_number(to, 0, 7, n);
    if (n > 0)
        memcpy(to, p, n);
    return to + n;
}

/* RFC 7541 §6.2; name_index 0: the name is written out. */
static char *put_literal(char *to, unsigned first, unsigned bits, uint32_t name_index,
                         const struct hpack_field *f)
{
    to = put_number(to, first, bits, name_index);
    if (name_index == 0)
        to = put_string(to, f->name, f->name_len);
    return put_string(to, f->value, f->value_len);
}

char *hpack_begin(struct hpack *h, char *to)
{
    if (!h->changed)
        return to;
    if (h->cut_most > h->cut)
        to = put_number(to, 0x20, 5, HPACK_TABLE_MAX - h->cut_most);
    to = put_number(to, 0x20, 5, max_bytes(h));
    h->changed = false;
    return to;
}

/* Of the name, in the static table; 0: it is not there. */
static uint32_t static_name(const struct hpack_field *f)
{
    return f->name_id < HPACK_NAME_OWN ? f->name_id : 0;
}

static char *put_indexed(struct hpack *h, const struct hpack_field *f, char *to)
{
    if (!h->table)
        h->table = table_new(ENTRIES_LEAST);
    if (!h->table)
        return put_literal(to, 0, 4, static_name(f), f);
    uint32_t index = find_next(h->table, f);
    if (index > 0)
        return put_number(to, 0x80, 7, index);
    uint64_t name_hash = hash_of_name(f);
    uint64_t hash = mix(name_hash, f->value, f->value_len);
    index = find_field(h->table, hash, f);
    if (index > 0)
        return put_number(to, 0x80, 7, index);
    /* By the table as it is before: RFC 7541 §4.4. */
    uint32_t name_index = static_name(f);
    if (name_index == 0)
        name_index = find_name(h->table, name_hash, f);
    return insert(h, f, name_hash, hash) ? put_literal(to, 0x40, 6, name_index, f)
                                         : put_literal(to, 0, 4, name_index, f);
}

char *hpack_put(struct hpack *h, const struct hpack_field *f, char *to)
{
    if (f->name_id >= HPACK_METHOD && f->name_id <= HPACK_STATUS) {
        uint8_t whole = hpack_static_field(f);
        if (whole > 0)
            return put_number(to, 0x80, 7, whole);
    }
    if (f->how == HPACK_INDEXED)
        return put_indexed(h, f, to);
    return put_literal(to, f->how == HPACK_NEVER ? 0x10 : 0, 4, static_name(f), f);
}
