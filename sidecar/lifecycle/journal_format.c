/* journal_format.c - the journal's bytes: a header, then records that are found again. */
#include "lifecycle/journal_format.h"

#include "base/check.h"

#include <errno.h>

static const char file_magic[8] = {'S', 'L', 'U', 'I', 'C', 'E', 'J', '\n'};
static const char record_magic[4] = {(char)0xab, 'R', 'e', 'c'};

/* Where what stands. A file's header: */
enum { FILE_VERSION = 8, FILE_CRC = 12, FILE_MARK = 16 };
/* A record's; its checksum is over all that follows it. */
enum {
    AT_CRC = 4,
    AT_MARK = 8,
    AT_ID = 16,
    AT_WRITER = 24,
    AT_SEQ = 32,
    AT_KIND = 40,
    AT_SEALED = 42,
    AT_LENGTH = 44,
    AT_BODY_CRC = 48,
    AT_ZERO = 52,
};

static void put_le(char *out, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        out[i] = (char)(unsigned char)(v >> (8 * i));
}

static uint64_t get_le(const char *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = bytes; i-- > 0;)
        v = v << 8 | (unsigned char)p[i];
    return v;
}

uint32_t journal_crc(uint32_t before, const void *p, size_t n)
{
    /* Half a byte at a time: 64 bytes of table, and still far faster than the disk. */
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    const unsigned char *b = p;
    uint32_t crc = ~before;
    for (size_t i = 0; i < n; i++) {
        crc ^= b[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

void journal_format_file(char *out, const char *mark)
{
    memset(out, 0, JOURNAL_FILE_HEADER);
    memcpy(out, file_magic, sizeof(file_magic));
    put_le(out + FILE_VERSION, JOURNAL_VERSION, 4);
    memcpy(out + FILE_MARK, mark, JOURNAL_MARK_BYTES);
    put_le(out + FILE_CRC, journal_crc(0, out, JOURNAL_FILE_HEADER), 4);
}

int journal_read_file(const char *p, size_t n, char *ret_mark)
{
    char copy[JOURNAL_FILE_HEADER];

    if (n < JOURNAL_FILE_HEADER || memcmp(p, file_magic, sizeof(file_magic)) != 0)
        return -EBADMSG;
    memcpy(copy, p, sizeof(copy));
    memset(copy + FILE_CRC, 0, 4);
    if (journal_crc(0, copy, sizeof(copy)) != (uint32_t)get_le(p + FILE_CRC, 4))
        return -EBADMSG;
    if (get_le(p + FILE_VERSION, 4) != JOURNAL_VERSION)
        return -EPROTONOSUPPORT;
    memcpy(ret_mark, p + FILE_MARK, JOURNAL_MARK_BYTES);
    return 0;
}

void journal_format_record(char *out, const char *mark, const struct journal_record *r)
{
    CHECK(r->body.n <= JOURNAL_BODY_MAX);
    memset(out, 0, JOURNAL_RECORD_HEADER);
    memcpy(out, record_magic, sizeof(record_magic));
    memcpy(out + AT_MARK, mark, JOURNAL_MARK_BYTES);
    put_le(out + AT_ID, r->id, 8);
    put_le(out + AT_WRITER, r->writer, 8);
    put_le(out + AT_SEQ, r->seq, 8);
    put_le(out + AT_KIND, r->kind, 2);
    put_le(out + AT_SEALED, r->sealed, 2);
    put_le(out + AT_LENGTH, r->body.n, 4);
    put_le(out + AT_BODY_CRC, journal_crc(0, r->body.p, r->body.n), 4);
    put_le(out + AT_CRC, journal_crc(0, out + AT_MARK, JOURNAL_RECORD_HEADER - AT_MARK), 4);
}

void journal_format_aad(char *out, const struct journal_record *r)
{
    put_le(out, r->id, 8);
    put_le(out + 8, r->writer, 8);
    put_le(out + 16, r->seq, 8);
    put_le(out + 24, r->kind, 4);
}

enum found { NOT_HERE, NOT_YET, HERE };

static bool is_known(const char *mark)
{
    static const char none[JOURNAL_MARK_BYTES];
    return memcmp(mark, none, sizeof(none)) != 0;
}

static enum found read_header(const char *p, const char *mark, struct journal_record *r)
{
    if (is_known(mark) && memcmp(p + AT_MARK, mark, JOURNAL_MARK_BYTES) != 0)
        return NOT_HERE;
    if (journal_crc(0, p + AT_MARK, JOURNAL_RECORD_HEADER - AT_MARK) !=
        (uint32_t)get_le(p + AT_CRC, 4))
        return NOT_HERE;
    uint64_t kind = get_le(p + AT_KIND, 2), sealed = get_le(p + AT_SEALED, 2);
    uint64_t length = get_le(p + AT_LENGTH, 4);
    if ((kind != JOURNAL_PUT && kind != JOURNAL_DROP) || sealed > 1 || length > JOURNAL_BODY_MAX ||
        (sealed && length < JOURNAL_SEAL_BYTES) || !is_known(p + AT_MARK) ||
        get_le(p + AT_ZERO, 4) != 0)
        return NOT_HERE;
    r->id = get_le(p + AT_ID, 8);
    r->writer = get_le(p + AT_WRITER, 8);
    r->seq = get_le(p + AT_SEQ, 8);
    r->kind = (enum journal_kind)kind;
    r->sealed = sealed == 1;
    r->body = (struct str){p + JOURNAL_RECORD_HEADER, length};
    r->bytes = JOURNAL_RECORD_HEADER + length;
    return HERE;
}

/* n > 0 bytes from p. */
static enum found look(const char *p, size_t n, const char *mark, struct journal_record *r)
{
    size_t magic = n < sizeof(record_magic) ? n : sizeof(record_magic);

    if (memcmp(p, record_magic, magic) != 0)
        return NOT_HERE;
    if (n < JOURNAL_RECORD_HEADER)
        return NOT_YET;
    enum found f = read_header(p, mark, r);
    if (f != HERE)
        return f;
    if (n < r->bytes)
        return NOT_YET;
    return journal_crc(0, r->body.p, r->body.n) == (uint32_t)get_le(p + AT_BODY_CRC, 4) ? HERE
                                                                                        : NOT_HERE;
}

bool journal_find(const char *p, size_t n, char *mark, size_t *at, struct journal_record *ret)
{
    size_t waits = n; /* where an incomplete one begins */

    for (size_t i = *at; i < n;) {
        const char *next = memchr(p + i, (unsigned char)record_magic[0], n - i);
        if (!next)
            break;
        i = (size_t)(next - p);
        struct journal_record r = {.at = i};
        enum found f = look(next, n - i, mark, &r);
        if (f == HERE) {
            memcpy(mark, next + AT_MARK, JOURNAL_MARK_BYTES);
            *at = i + r.bytes;
            *ret = r;
            return true;
        }
        if (f == NOT_YET && waits == n)
            waits = i;
        i++;
    }
    *at = waits;
    return false;
}
