/* journal_scan.c - what is in the file: the one way by which the index learns of records, whoever
 * has appended them, in the order in which they stand. */
#include "lifecycle/journal_parts.h"

#include "base/mem.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static const usec_t first_patience = 5 * USEC_PER_SEC;

int journal_open_body(struct seal *s, const struct journal_record *r, char *out, size_t *ret_n)
{
    char aad[JOURNAL_AAD_BYTES];

    if (!r->sealed) {
        if (r->body.n > JOURNAL_BYTES_MAX)
            return -EIO;
        memcpy(out, r->body.p, r->body.n);
        *ret_n = r->body.n;
        return 0;
    }
    if (!s)
        return -EKEYREJECTED;
    journal_format_aad(aad, r);
    int rc = seal_open(s, r->body, (struct str){aad, sizeof(aad)}, out);
    if (rc == 0)
        *ret_n = r->body.n - JOURNAL_SEAL_BYTES;
    return rc;
}

static int tell(struct journal *j, const struct journal_record *r, struct str bytes)
{
    struct journal_news *news = mem_alloc(sizeof(*news) + bytes.n);
    if (!news)
        return -ENOMEM;
    *news = (struct journal_news){.id = r->id, .kind = r->kind, .n = (uint32_t)bytes.n};
    if (bytes.n > 0)
        memcpy(news->bytes, bytes.p, bytes.n);
    list_push_back(&j->news, &news->link);
    return 0;
}

static int enter(struct journal *j, const struct journal_record *r)
{
    if (r->kind == JOURNAL_DROP) {
        journal_index_drop(&j->index, r->id);
        return 0;
    }
    return journal_index_put(&j->index, r->id, j->scanned + r->at, (uint32_t)r->bytes);
}

/* One that is not ours, or was before we opened it. */
static int take(struct journal *j, const struct journal_record *r, enum journal_scan how)
{
    size_t n = 0;
    char *bytes = mem_alloc(JOURNAL_BODY_MAX);
    if (!bytes)
        return -ENOMEM;
    int rc = journal_open_body(j->read_seal, r, bytes, &n);
    if (rc == -EKEYREJECTED && how != JOURNAL_OPENING) {
        j->unreadable++;
        rc = 0;
    } else if (rc == 0) {
        if (how != JOURNAL_OPENING)
            rc = tell(j, r, (struct str){bytes, n});
        if (rc == 0 && (rc = enter(j, r)) < 0 && how != JOURNAL_OPENING) {
            struct list *last = list_last(&j->news);
            list_remove(last);
            secret_free(LIST_ENTRY(last, struct journal_news, link),
                        sizeof(struct journal_news) + n);
        }
    }
    secret_free(bytes, n);
    return rc;
}

/* The records of one window. 0 and *ret_at: so far it has come; 1: here is its end. */
static int scan_window(struct journal *j, const char *p, size_t n, enum journal_scan how,
                       size_t *ret_at, uint64_t *damaged)
{
    struct journal_record r;
    size_t at = 0, behind = 0; /* the last record */

    while (journal_find(p, n, j->mark, &at, &r)) {
        int rc = 0;
        if (j->read_seal && !r.sealed) { /* anybody could have written it */
            j->plain++;
            continue;
        }
        bool ours = r.writer == j->writer;
        if (ours && r.seq > j->committed && how != JOURNAL_COMMITTED)
            rc = 1;
        else if (!ours)
            rc = take(j, &r, how);
        else if (r.seq <= j->committed)
            rc = enter(j, &r);
        if (rc != 0) {
            *ret_at = r.at;
            return rc;
        }
        *damaged += r.at - behind;
        behind = at;
    }
    *damaged += at - behind;
    *ret_at = at;
    return 0;
}

int journal_scan(struct journal *j, enum journal_scan how)
{
    struct stat state;
    uint64_t damaged = 0;
    int rc = 0;

    if (j->fd < 0)
        return 0;
    if (fstat(j->fd, &state) < 0)
        return -errno;
    if (state.st_nlink == 0 && j->writable)
        j->needs_new = true;
    uint64_t size = (uint64_t)state.st_size;
    size_t room = size > j->scanned ? min_u64(size - j->scanned, JOURNAL_WINDOW) : 0;
    char *window = room ? mem_alloc(room) : NULL;
    if (room && !window)
        return -ENOMEM;
    while (rc == 0 && room > 0) {
        size_t n = 0, at = 0;
        rc = journal_disk_read(j->fd, j->scanned, window, room, &n);
        if (rc < 0 || n == 0)
            break;
        rc = scan_window(j, window, n, how, &at, &damaged);
        j->scanned += at;
        if (at == 0) /* no more, or no more that is whole */
            break;
    }
    free(window);
    if (how == JOURNAL_OPENING && size > j->scanned)
        damaged += size - j->scanned;
    (void)pthread_mutex_lock(&j->lock);
    j->stats.cut_bytes += damaged;
    j->stats.records = j->index.n;
    j->stats.bytes = size;
    (void)pthread_mutex_unlock(&j->lock);
    return rc == 1 ? 0 : rc;
}

static int read_header(struct journal *j)
{
    char header[JOURNAL_FILE_HEADER];
    size_t n = 0;
    int rc = journal_disk_read(j->fd, 0, header, sizeof(header), &n);

    if (rc == 0)
        rc = journal_read_file(header, n, j->mark);
    j->needs_new = rc == -EBADMSG;
    j->scanned = rc == 0 ? sizeof(header) : 0;
    return rc == -EBADMSG ? 0 : rc;
}

int journal_attach(struct journal *j, enum journal_scan how)
{
    bool writable = false;
    bool waits = how == JOURNAL_OPENING && !j->at_once;
    int fd = journal_disk_open(j->path, waits ? first_patience : 0, &writable);

    if (fd < 0)
        return fd;
    if (j->fd >= 0)
        (void)close(j->fd);
    j->fd = fd;
    j->writable = writable;
    journal_index_clear(&j->index);
    int rc = read_header(j);
    if (rc == 0)
        rc = journal_scan(j, how);
    if (rc < 0) {
        (void)close(j->fd);
        j->fd = -1;
        journal_index_clear(&j->index);
    }
    return rc;
}

int journal_read_raw(struct journal *j, const struct journal_live *l, char *out,
                     struct journal_record *ret)
{
    char mark[JOURNAL_MARK_BYTES];
    size_t n = 0, at = 0;
    int rc = journal_disk_read(j->fd, l->at, out, l->bytes, &n);

    if (rc < 0)
        return rc;
    memcpy(mark, j->mark, sizeof(mark));
    if (n != l->bytes || !journal_find(out, n, mark, &at, ret) || ret->at != 0 ||
        ret->id != l->id || ret->kind != JOURNAL_PUT)
        return -EIO;
    return 0;
}

int64_t journal_encode(struct journal *j, uint64_t id, enum journal_kind kind, struct str bytes,
                       uint64_t *seq, char *out)
{
    char *body = out + JOURNAL_RECORD_HEADER;
    struct journal_record r = {
        .id = id, .writer = j->writer, .seq = *seq, .kind = kind, .sealed = j->write_seal != NULL};

    if (j->write_seal) {
        char aad[JOURNAL_AAD_BYTES];
        journal_format_aad(aad, &r);
        int rc = seal_close(j->write_seal, NULL, bytes, (struct str){aad, sizeof(aad)}, body);
        if (rc < 0)
            return rc;
        r.body = (struct str){body, bytes.n + JOURNAL_SEAL_BYTES};
    } else {
        if (bytes.n > 0)
            memcpy(body, bytes.p, bytes.n);
        r.body = (struct str){body, bytes.n};
    }
    journal_format_record(out, j->mark, &r);
    (*seq)++;
    return (int64_t)(JOURNAL_RECORD_HEADER + r.body.n);
}
