/* probe_grpc.c - grpc.health.v1: the one message that is sent, and the one that comes back.
 *
 * https://github.com/grpc/grpc/blob/master/doc/health-checking.md; a message of gRPC is a byte
 * (1: compressed), its length in four, and a Protocol Buffer. */
#include "healthcheck/probe_parts.h"

#include "http/grpc.h"

enum { FRAME_HEAD = 5, SERVICE_MAX = 255, SERVING = 1 };

size_t probe_grpc_request(struct str service, char out[GRPC_CHECK_MAX])
{
    size_t n = FRAME_HEAD;
    CHECK(service.n <= SERVICE_MAX);
    if (service.n > 0) {
        out[n++] = 0x0a; /* field 1, bytes */
        if (service.n >= 0x80) {
            out[n++] = (char)(0x80 | (service.n & 0x7f));
            out[n++] = (char)(service.n >> 7);
        } else {
            out[n++] = (char)service.n;
        }
        memcpy(out + n, service.p, service.n);
        n += service.n;
    }
    memcpy(out, (const char[]){0, 0, 0, 0, 0}, FRAME_HEAD);
    out[3] = (char)((n - FRAME_HEAD) >> 8);
    out[4] = (char)((n - FRAME_HEAD) & 0xff);
    return n;
}

/* False at the end, or where it is none. */
static bool take_varint(struct str *s, uint64_t *ret)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && s->n > 0; shift += 7) {
        uint8_t b = (uint8_t)*s->p;
        *s = (struct str){s->p + 1, s->n - 1};
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *ret = v;
            return true;
        }
    }
    return false;
}

static bool skip_bytes(struct str *s, uint64_t n)
{
    if (n > s->n)
        return false;
    *s = (struct str){s->p + n, s->n - n};
    return true;
}

static bool skip_field(struct str *s, unsigned wire)
{
    uint64_t n;
    switch (wire) {
    case 0:
        return take_varint(s, &n);
    case 1:
        return skip_bytes(s, 8);
    case 2:
        return take_varint(s, &n) && skip_bytes(s, n);
    case 5:
        return skip_bytes(s, 4);
    default:
        return false;
    }
}

/* ServingStatus, field 1: 0 unless it is there; the last one counts. False: no such message. */
static bool take_status(struct str message, uint64_t *ret)
{
    uint64_t tag;
    *ret = 0;
    while (message.n > 0) {
        if (!take_varint(&message, &tag))
            return false;
        bool ok = tag == (1 << 3) ? take_varint(&message, ret)
                                  : skip_field(&message, (unsigned)(tag & 7));
        if (!ok)
            return false;
    }
    return true;
}

static const struct field *status_field(const struct probe *p, const struct message **ret_of)
{
    const struct field *f = message_find(&p->trailers, FIELD_GRPC_STATUS);
    *ret_of = &p->trailers;
    if (f)
        return f;
    *ret_of = &p->answer; /* an answer of trailers only */
    return message_find(&p->answer, FIELD_GRPC_STATUS);
}

static struct str message_in(struct str frame)
{
    uint32_t n = 0;
    if (frame.n < FRAME_HEAD || frame.p[0] != 0)
        return STR_NONE;
    for (int i = 1; i < FRAME_HEAD; i++)
        n = n << 8 | (uint8_t)frame.p[i];
    return n == frame.n - FRAME_HEAD ? (struct str){frame.p + FRAME_HEAD, n} : STR_NONE;
}

void probe_grpc_judge(struct probe *p)
{
    static const char *const words[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
    const struct message *of;
    const struct field *f = status_field(p, &of);
    struct str message = message_in((struct str){buf_data(&p->body), buf_len(&p->body)});
    uint64_t status;
    if (!f) {
        probe_decide(p, CHECK_L7RSP, 0, "no grpc-status");
        return;
    }
    enum grpc_code code = grpc_code_parse(field_value(of, f));
    if (code != GRPC_OK)
        probe_decide(p, CHECK_L7STS, code, grpc_code_word(code));
    else if (!message.p || !take_status(message, &status))
        probe_decide(p, CHECK_L7RSP, 0, "no HealthCheckResponse");
    else if (status != SERVING)
        probe_decide(p, CHECK_L7STS, 0,
                     status < ARRAY_LEN(words) ? words[status] : "another status than SERVING");
    else
        probe_decide(p, CHECK_L7OK, 0, NULL);
}
