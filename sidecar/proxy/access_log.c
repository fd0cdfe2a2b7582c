/* access_log.c - records from the workers' rings to JSON lines in a file. */
#include "proxy/access_log.h"

#include "base/mem.h"
#include "http/hop.h"
#include "proxy/access_redact.h"
#include "proxy/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* What a peer sent is capped, so that no record is larger than RECORD_MAX. */
enum { TEXT_MAX = 1024, RECORD_MAX = 8 * 1024, BATCH_BYTES = 64 * 1024 };

/* Strings follow the struct, in this order. */
enum record_text {
    TEXT_METHOD,
    TEXT_AUTHORITY,
    TEXT_PATH,
    TEXT_QUERY,
    TEXT_PEER,
    TEXT_CLIENT,
    TEXT_ROUTE,
    TEXT_LISTENER,
    TEXT_UPSTREAM,
    TEXT_ENDPOINT,
    TEXT_TRACE,
    TEXT_REQUEST_ID,
    TEXT_USER_AGENT,
    TEXT_TLS,
    TEXT_SNI,
    TEXT_SPIFFE_ID,
    TEXTS,
};

static const char *const text_keys[TEXTS] = {
    "method",   "host",     "path",     "query",      "peer",       "client", "route", "listener",
    "upstream", "endpoint", "trace_id", "request_id", "user_agent", "tls",    "sni",   "spiffe_id",
};

/* REDACT_NOTHING where nobody but us has said it. */
static const uint8_t redact_as[TEXTS] = {
    [TEXT_AUTHORITY] = REDACT_HOST,        [TEXT_PATH] = REDACT_PATH,
    [TEXT_QUERY] = REDACT_QUERY,           [TEXT_PEER] = REDACT_PEER,
    [TEXT_CLIENT] = REDACT_CLIENT,         [TEXT_REQUEST_ID] = REDACT_REQUEST_ID,
    [TEXT_USER_AGENT] = REDACT_USER_AGENT, [TEXT_SNI] = REDACT_SNI,
    [TEXT_SPIFFE_ID] = REDACT_SPIFFE_ID,
};

struct record {
    uint32_t bytes; /* of the whole record, a multiple of 8; 0: the ring wraps here */
    uint16_t status;
    uint8_t reason;
    uint8_t tries;
    int8_t grpc_status; /* -1: not gRPC */
    uint64_t wall;
    uint64_t latency, first_byte, bytes_in, bytes_out;
    uint16_t len[TEXTS];
    char text[];
};

/* A line at the most: each byte of a text escaped to six, what redaction adds, names and numbers.
 */
enum {
    RECORD_MOST = sizeof(struct record) + 2 * TEXT_MAX + (TEXTS - 2) * (TEXT_MAX / 4) + 8,
    REDACTION_MOST = 2 * REDACT_BOUND(TEXT_MAX) + (int)REDACT_FIELDS * REDACT_LEN,
    LINE_REST = 1024,
};
_Static_assert((int)RECORD_MOST <= (int)RECORD_MAX, "a record fits into the smallest ring");
_Static_assert(6 * (int)RECORD_MOST + (int)REDACTION_MOST + (int)LINE_REST <= (int)BATCH_BYTES,
               "a line fits");

/* One writer, one reader: positions only grow, and are taken modulo the size. */
struct access_ring {
    char *bytes;
    uint64_t size;
    _Alignas(64) _Atomic uint64_t written;
    _Alignas(64) _Atomic uint64_t read;
    _Atomic uint64_t dropped;
};

struct access_ring *access_ring_new(uint32_t bytes)
{
    uint64_t size = 4 * RECORD_MAX;
    while (size < bytes)
        size *= 2;
    if (mem_should_fail())
        return NULL;
    struct access_ring *r = aligned_alloc(64, sizeof(*r));
    if (!r)
        return NULL;
    memset(r, 0, sizeof(*r));
    r->size = size;
    r->bytes = mem_alloc(size);
    return r->bytes ? r : access_ring_free(r);
}

struct access_ring *access_ring_free(struct access_ring *r)
{
    if (r)
        free(r->bytes);
    free(r);
    return NULL;
}

uint64_t access_ring_dropped(const struct access_ring *r)
{
    return atomic_load_explicit(&r->dropped, memory_order_relaxed);
}

/* Room for a record of n bytes in one piece; NULL when the reader is too far behind. */
static struct record *ring_reserve(struct access_ring *r, uint64_t n)
{
    uint64_t at = atomic_load_explicit(&r->written, memory_order_relaxed);
    uint64_t read = atomic_load_explicit(&r->read, memory_order_acquire);
    uint64_t offset = at & (r->size - 1);
    uint64_t to_end = r->size - offset;
    uint64_t skip = n > to_end ? to_end : 0;
    if (r->size - (at - read) < n + skip)
        return NULL;
    if (skip > 0) {
        ((struct record *)(void *)(r->bytes + offset))->bytes = 0;
        atomic_store_explicit(&r->written, at + skip, memory_order_release);
        offset = 0;
    }
    return (struct record *)(void *)(r->bytes + offset);
}

static struct str named(const struct message *m, enum field_id id)
{
    const struct field *f = message_find(m, id);
    return f ? field_value(m, f) : STR_NONE;
}

/* What the client's handshake has proved. Its texts live as long as its connection, which is not
 * closed before its last stream has ended. */
static void add_tls(const struct stream *s, struct str text[TEXTS])
{
    struct tls_identity id;
    if (!s->client || !transport_is_tls(s->client))
        return;
    transport_tls_identity(s->client, &id);
    text[TEXT_TLS] = str_of(id.version);
    text[TEXT_SNI] = id.sni;
    text[TEXT_SPIFFE_ID] = id.spiffe_id;
}

void access_ring_add(struct access_ring *r, const struct stream *s, const struct outcome *o)
{
    const struct message *m = &s->req;
    const struct exchange *asked = s->prepared ? s->exchange : NULL;
    struct str text[TEXTS] = {
        [TEXT_METHOD] = message_str(m, m->method_text),
        [TEXT_AUTHORITY] = message_str(m, asked ? asked->asked_authority : m->authority),
        [TEXT_PATH] = message_str(m, asked ? asked->asked_path : m->path),
        [TEXT_QUERY] = message_str(m, m->query),
        [TEXT_PEER] = s->peer,
        [TEXT_CLIENT] = hop_client_address(m, s->peer, stream_trusted_hops(s)),
        [TEXT_ROUTE] = s->route ? s->route->name : STR_NONE,
        [TEXT_LISTENER] = s->listener->name,
        [TEXT_UPSTREAM] = o->upstream,
        [TEXT_ENDPOINT] = o->endpoint,
        [TEXT_TRACE] = s->prepared ? hop_trace_id(m) : STR_NONE,
        [TEXT_REQUEST_ID] = named(m, FIELD_X_REQUEST_ID),
        [TEXT_USER_AGENT] = named(m, FIELD_USER_AGENT),
    };
    add_tls(s, text);
    uint64_t n = sizeof(struct record);
    for (int i = 0; i < TEXTS; i++) {
        size_t most = i == TEXT_PATH || i == TEXT_QUERY ? TEXT_MAX : TEXT_MAX / 4;
        text[i].n = min_u64(text[i].n, most);
        n += text[i].n;
    }
    n = (n + 7) & ~(uint64_t)7;
    struct record *rec = n <= RECORD_MAX ? ring_reserve(r, n) : NULL;
    if (!rec) {
        count_add(&r->dropped, 1);
        return;
    }
    *rec = (struct record){
        .bytes = (uint32_t)n,
        .status = o->status,
        .reason = (uint8_t)o->reason,
        .tries = o->tries,
        .grpc_status = o->grpc_status,
        .wall = clock_wall(),
        .latency = o->latency,
        .first_byte = o->first_byte,
        .bytes_in = o->bytes_in,
        .bytes_out = o->bytes_out,
    };
    char *at = rec->text;
    for (int i = 0; i < TEXTS; i++) {
        rec->len[i] = (uint16_t)text[i].n;
        if (text[i].n > 0)
            memcpy(at, text[i].p, text[i].n);
        at += text[i].n;
    }
    uint64_t written = atomic_load_explicit(&r->written, memory_order_relaxed);
    atomic_store_explicit(&r->written, written + n, memory_order_release);
}

/* --- the control thread's side --- */

struct access_log {
    int fd;
    bool is_stdout;
    char *path;
    struct access_ring **rings;
    uint32_t n_rings;
    struct access_redact *redact;
    uint64_t write_errors;
    bool torn; /* the batch begins with the rest of a line that is in the file in part */
    size_t used;
    char batch[BATCH_BYTES];
};

static int open_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0640);
    return fd < 0 ? -errno : fd;
}

struct access_log *access_log_open(const char *path, struct access_ring **rings, uint32_t n_rings,
                                   struct access_redact *redact, bool lenient, int *ret_error)
{
    struct access_log *l = mem_zalloc(sizeof(*l));
    *ret_error = -ENOMEM;
    if (!l) {
        (void)access_redact_free(redact);
        return NULL;
    }
    l->redact = redact;
    l->fd = -1;
    l->rings = rings;
    l->n_rings = n_rings;
    l->is_stdout = strcmp(path, "-") == 0;
    l->path = mem_strndup(str_of(path));
    if (!l->path)
        return access_log_close(l);
    l->fd = l->is_stdout ? STDOUT_FILENO : open_file(path);
    *ret_error = l->fd < 0 ? l->fd : 0;
    return l->fd >= 0 || lenient ? l : access_log_close(l);
}

int access_log_reopen(struct access_log *l)
{
    if (l->is_stdout)
        return 0;
    int fd = open_file(l->path);
    if (fd < 0)
        return fd;
    if (l->fd >= 0)
        (void)close(l->fd);
    l->fd = fd;
    l->write_errors += l->torn; /* its rest is nothing for the new file */
    l->torn = false;
    l->used = 0;
    return 0;
}

uint64_t access_log_write_errors(const struct access_log *l)
{
    return l->write_errors;
}

bool access_log_salt_stands_in(const struct access_log *l)
{
    return access_redact_stands_in(l->redact);
}

uint64_t access_log_redacted(const struct access_log *l)
{
    return access_redact_count(l->redact);
}

/* The disk is full, or a reader slow: what is not written is lost, but for the rest of a line that
 * is there in part. That goes first next time, so that each line is whole. */
static void lose(struct access_log *l, size_t at)
{
    bool torn = at > 0 ? l->batch[at - 1] != '\n' : l->torn;
    size_t rest = 0;
    if (torn)
        rest = (size_t)((char *)memchr(l->batch + at, '\n', l->used - at) - (l->batch + at)) + 1;
    for (size_t i = at + rest; i < l->used; i++)
        l->write_errors += l->batch[i] == '\n';
    memmove(l->batch, l->batch + at, rest);
    l->torn = torn;
    l->used = rest;
}

static void write_batch(struct access_log *l)
{
    size_t at = 0;
    while (at < l->used) {
        ssize_t n = write(l->fd, l->batch + at, l->used - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            lose(l, at);
            return;
        }
        at += (size_t)n;
    }
    l->torn = false;
    l->used = 0;
}

static void put_raw(struct access_log *l, const char *p, size_t n)
{
    memcpy(l->batch + l->used, p, n);
    l->used += n;
}

/* JSON, and only ASCII: bytes above 0x7e are not assumed to be UTF-8. */
static void put_escaped(struct access_log *l, struct str s)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\') {
            l->batch[l->used++] = '\\';
            l->batch[l->used++] = (char)c;
        } else if (c < 0x20 || c > 0x7e) {
            put_raw(l, "\\u00", 4);
            l->batch[l->used++] = hex[c >> 4];
            l->batch[l->used++] = hex[c & 15];
        } else {
            l->batch[l->used++] = (char)c;
        }
    }
}

static void put_record(struct access_log *l, const struct record *r)
{
    char head[512], redacted[REDACT_BOUND(TEXT_MAX)];
    char when[CLOCK_RFC3339_LEN];
    const char *text = r->text;
    clock_format_rfc3339(r->wall, when);
    int n = snprintf(head, sizeof(head),
                     "{\"time\":\"%s\",\"status\":%u,\"reason\":\"%s\",\"duration_us\":%llu,"
                     "\"first_byte_us\":%llu,\"bytes_in\":%llu,\"bytes_out\":%llu,\"tries\":%u",
                     when, r->status, reason_word((enum reason)r->reason),
                     (unsigned long long)r->latency, (unsigned long long)r->first_byte,
                     (unsigned long long)r->bytes_in, (unsigned long long)r->bytes_out, r->tries);
    put_raw(l, head, (size_t)n);
    if (r->grpc_status >= 0) {
        n = snprintf(head, sizeof(head), ",\"grpc_status\":%d", r->grpc_status);
        put_raw(l, head, (size_t)n);
    }
    for (int i = 0; i < TEXTS; i++) {
        if (r->len[i] > 0) {
            put_raw(l, ",\"", 2);
            put_raw(l, text_keys[i], strlen(text_keys[i]));
            put_raw(l, "\":\"", 3);
            put_escaped(l, access_redact(l->redact, (enum redact_field)redact_as[i],
                                         (struct str){text, r->len[i]}, redacted));
            put_raw(l, "\"", 1);
        }
        text += r->len[i];
    }
    put_raw(l, "}\n", 2);
}

static bool drain_ring(struct access_log *l, struct access_ring *r)
{
    uint64_t at = atomic_load_explicit(&r->read, memory_order_relaxed);
    uint64_t end = atomic_load_explicit(&r->written, memory_order_acquire);
    bool any = at != end;
    while (at != end) {
        uint64_t offset = at & (r->size - 1);
        const struct record *rec = (const struct record *)(const void *)(r->bytes + offset);
        if (rec->bytes == 0) {
            at += r->size - offset;
        } else {
            size_t most = 6 * (size_t)rec->bytes + REDACTION_MOST + LINE_REST;
            if (sizeof(l->batch) - l->used < most)
                write_batch(l);
            if (sizeof(l->batch) - l->used < most)
                l->write_errors++;
            else
                put_record(l, rec);
            at += rec->bytes;
        }
        atomic_store_explicit(&r->read, at, memory_order_release);
    }
    return any;
}

bool access_log_drain(struct access_log *l)
{
    bool any = false;
    for (uint32_t i = 0; i < l->n_rings; i++)
        any |= drain_ring(l, l->rings[i]);
    if (l->used > 0)
        write_batch(l);
    return any;
}

void access_log_redact_by(struct access_log *l, struct access_redact *redact)
{
    (void)access_log_drain(l);
    access_redact_follow(redact, l->redact);
    (void)access_redact_free(l->redact);
    l->redact = redact;
}

struct access_log *access_log_close(struct access_log *l)
{
    if (!l)
        return NULL;
    if (l->fd >= 0 && !l->is_stdout)
        (void)close(l->fd);
    (void)access_redact_free(l->redact);
    free(l->path);
    free(l);
    return NULL;
}
