/* hpack.h - header compression (RFC 7541): the encoder, and what both ends know from the start.
 *
 * What is received is decoded by hpack_decode.h. What is sent is encoded here, because nghttp2's
 * encoder is a fifth of the work that a proxied request is: it copies each name and value twice,
 * and spends its time on Huffman codes of values that never come again. Here strings are never
 * Huffman-coded (§5.2 leaves that to the encoder): a third more bytes for what is new in a head,
 * none for what the table has.
 *
 * A head must be encoded in the order in which heads are sent (h2_send.c), or the peer's table is
 * another than ours. */
#ifndef SLUICE_HTTP_HPACK_H
#define SLUICE_HTTP_HPACK_H

#include "base/str.h"

enum {
    HPACK_STATIC = 61,      /* entries of the static table (Appendix A) */
    HPACK_TABLE_MAX = 4096, /* bytes of the dynamic table (§4.1), at most, whatever a peer offers */
    HPACK_UPDATES_MAX = 16, /* bytes of size updates that may stand before a head */
};

/* Names by number, so that they need not be compared: those of the static table by their first
 * index there (Appendix A); from HPACK_NAME_OWN on the caller's own, one number a name. */
enum hpack_name {
    HPACK_NAME_OTHER = 0,
    HPACK_AUTHORITY = 1,
    HPACK_METHOD = 2,
    HPACK_PATH = 4,
    HPACK_SCHEME = 6,
    HPACK_STATUS = 8,
    HPACK_CONTENT_LENGTH = 28,
    HPACK_NAME_OWN = HPACK_STATIC + 1,
};

/* Of a lower-case name; HPACK_NAME_OTHER when it is not in the static table. */
uint8_t hpack_name_of(struct str name);

/* RFC 7541 §6.2 */
enum hpack_how {
    HPACK_INDEXED, /* goes into the table */
    HPACK_PLAIN,   /* does not: it would only push out what comes again */
    HPACK_NEVER,   /* and no hop behind may put it there: secrets (§7.1.3) */
};

/* How a field is written unless its sender knows better: as nghttp2 decides it. */
enum hpack_how hpack_how_of(uint8_t name_id, size_t value_len);

/* name is lower-case; both need to live as long as the call only. */
struct hpack_field {
    const char *name, *value;
    uint32_t value_len;
    uint16_t name_len;
    uint8_t name_id; /* enum hpack_name */
    uint8_t how;     /* enum hpack_how */
};

/* Bytes that a field takes at most. */
static inline size_t hpack_most(const struct hpack_field *f)
{
    return (size_t)f->name_len + f->value_len + 16;
}

/* The entry of the static table with name and value; 0: none. For names from HPACK_METHOD to
 * HPACK_STATUS. */
uint8_t hpack_static_field(const struct hpack_field *f);

/* An entry of the static table, as a line of HTTP/1. */
struct hpack_static_line {
    char text[36]; /* "name: value\r\n" */
    uint8_t name_len, value_len;
    uint8_t name_id;
};
/* By its index, 1 to HPACK_STATIC. */
const struct hpack_static_line *hpack_static_line(uint32_t index);

struct hpack_table;

/* Zero is valid, and has a table of HPACK_TABLE_MAX; memory is taken when there is something to
 * remember. */
struct hpack {
    struct hpack_table *table; /* NULL: none yet */
    uint32_t cut;              /* the maximum is HPACK_TABLE_MAX less this */
    uint32_t cut_most;         /* the deepest since the last head: goes out first (§4.2) */
    bool changed;              /* a size update is due */
};

void hpack_free(struct hpack *h);
/* The peer's SETTINGS_HEADER_TABLE_SIZE, each time that it comes. */
void hpack_set_max(struct hpack *h, uint32_t bytes);
/* What stands before a head's fields, at most HPACK_UPDATES_MAX bytes. Returns the end. */
char *hpack_begin(struct hpack *h, char *to);
/* A field, at most hpack_most() bytes. Returns the end. Never fails: where memory is short the
 * field does not go into the table. */
char *hpack_put(struct hpack *h, const struct hpack_field *f, char *to);

#endif
