/* hpack_decode.h - header compression (RFC 7541): the decoder.
 *
 * Fields come out as lines of HTTP/1, which is how messages keep them (message.h). What is to be
 * known of a field, whatever stands around it, is found out once, when it is new, and stays with it
 * in the table: a field that comes with each request costs a look-up and a copy. */
#ifndef SLUICE_HTTP_HPACK_DECODE_H
#define SLUICE_HTTP_HPACK_DECODE_H

#include "http/hpack.h"

#include <sys/types.h>

struct hpack_got {
    const char *line; /* "name: value\r\n"; valid during the call */
    uint32_t name_len, value_len;
    uint16_t note; /* the sink's, and HPACK_NEVER_INDEXED */
};

/* The field was sent as one that no table may have, also on its way onward (RFC 7541 §6.2.3). */
enum { HPACK_NEVER_INDEXED = 0x8000 };

struct hpack_sink {
    /* What is to be kept in mind of a field, without HPACK_NEVER_INDEXED; name_id is an enum
     * hpack_name. */
    uint16_t (*note)(uint8_t name_id, struct str name, struct str value);
    /* What that says of the static table's entries, by their index. */
    const uint16_t *static_notes;
    /* False: no more of them (-ECANCELED). */
    bool (*field)(void *user, const struct hpack_got *f);
};

struct hpack_memory;

/* Zero is valid, and has a table of HPACK_TABLE_MAX, which is what a peer may use when no
 * SETTINGS_HEADER_TABLE_SIZE is sent. Memory is taken when there is something to remember. */
struct hpack_decoder {
    struct hpack_memory *memory; /* NULL: none yet */
    uint32_t cut;                /* the peer's maximum is HPACK_TABLE_MAX less this */
};

void hpack_decoder_free(struct hpack_decoder *d);

/* A whole header block. 0; -EBADMSG: it is none (COMPRESSION_ERROR); -ENOMEM; -ECANCELED. After
 * any of them the table is no longer the peer's, and the connection must end. */
int hpack_decode(struct hpack_decoder *d, const char *p, size_t n, const struct hpack_sink *sink,
                 void *user);

/* A string in Huffman's code (§5.2); `to` has room for n * 8 / 5 bytes. Its length, or -1: it is
 * none. */
ssize_t hpack_unhuffman(const char *from, size_t n, char *to);

#endif
