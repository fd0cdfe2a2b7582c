/* journal_format.h - the journal's bytes: a header, then records that are found again wherever
 * they begin.
 *
 * Pure: bytes in, bytes out. Little-endian. A file begins with a header that names its format and
 * its `mark`, 8 random bytes that every record repeats: nobody who only chooses what is written
 * into a record can put something into it that looks like one. A record's header and its body have
 * checksums of their own (CRC-32C), so a reader that meets damage goes on at the next intact
 * record, also when a length is what is damaged. */
#ifndef SLUICE_LIFECYCLE_JOURNAL_FORMAT_H
#define SLUICE_LIFECYCLE_JOURNAL_FORMAT_H

#include "base/str.h"

enum {
    JOURNAL_FILE_HEADER = 32,
    JOURNAL_RECORD_HEADER = 56,
    JOURNAL_MARK_BYTES = 8,
    JOURNAL_VERSION = 1,
    JOURNAL_SEAL_BYTES = 24 + 16, /* what a sealed body is longer: nonce and tag */
    JOURNAL_BODY_MAX = 64 * 1024 + JOURNAL_SEAL_BYTES,
    JOURNAL_RECORD_MAX = JOURNAL_RECORD_HEADER + JOURNAL_BODY_MAX,
};

/* CRC-32C (RFC 3720 §12.1); 0 to begin with, or what it was before these bytes. */
uint32_t journal_crc(uint32_t before, const void *p, size_t n);

enum journal_kind { JOURNAL_PUT = 1, JOURNAL_DROP = 2 };

struct journal_record {
    uint64_t id;
    uint64_t writer; /* random, of the process that has it open */
    uint64_t seq;    /* of that writer, ascending */
    enum journal_kind kind;
    bool sealed;
    struct str body;  /* as it stands in the file */
    size_t at, bytes; /* where the record began in what was searched; its length */
};

void journal_format_file(char *out, const char *mark);
/* 0 and the mark; -EBADMSG: damaged, or not there; -EPROTONOSUPPORT: intact, but of another
 * version. */
int journal_read_file(const char *p, size_t n, char *ret_mark);

/* The header of a record whose body follows it. */
void journal_format_record(char *out, const char *mark, const struct journal_record *r);
/* What the seal vouches for besides the body: id, writer, seq, kind. */
enum { JOURNAL_AAD_BYTES = 28 };
void journal_format_aad(char *out, const struct journal_record *r);

/* Finds the next intact record at or behind *at, and moves *at to its end. `mark` all zero: not
 * known; the first intact record tells it. False: there is none; *at is then where the next search
 * should begin when there are more bytes: at the end, or at what may be the beginning of a record.
 * An incomplete record is passed only when an intact one stands behind it, for who appends that has
 * done with what was before. */
bool journal_find(const char *p, size_t n, char *mark, size_t *at, struct journal_record *ret);

#endif
