/* probe_parts.h - a look that is under way, for the files of probe*.c. */
#ifndef SLUICE_HEALTHCHECK_PROBE_PARTS_H
#define SLUICE_HEALTHCHECK_PROBE_PARTS_H

#include "healthcheck/probe.h"
#include "http/h1_parse.h"
#include "http/h2.h"
#include "io/conn.h"

enum { PROBE_MAGIC = 0x50524f42, PROBE_READS = 64 };

/* What speaks on its connection, once that stands. Each may end the probe. */
struct probe_speaker {
    void (*begin)(struct probe *p);
    void (*feed)(struct probe *p, const char *bytes, size_t n);
    /* The peer's end; `whole` unless it was cut. */
    void (*eof)(struct probe *p, bool whole);
    /* Behind what was sent; NULL: nothing is to be done. */
    void (*drained)(struct probe *p);
    /* Its own is freed; the connection is closed behind it. */
    void (*close)(struct probe *p);
};

extern const struct probe_speaker probe_tcp, probe_http1, probe_http2;

/* An HTTP/1 answer being read. */
struct probe_h1 {
    struct h1_head head;
    struct h1_body body;
    bool in_body;
};

struct probe_h2 {
    struct probe *probe;
    struct h2 codec;
    struct h2_stream stream;
};

struct probe {
    uint32_t magic;
    struct loop *loop;
    const struct probe_rules *rules;
    const struct probe_regex *regex;
    const struct probe_target *target;
    probe_done_fn *done;
    void *ctx;
    const struct probe_speaker *speaker; /* NULL until the connection stands */
    struct conn conn;
    struct timer timer;
    struct reap reap;
    usec_t began, deadline;
    bool tls;
    bool decided; /* the result is known */
    bool over;    /* and nothing more is read */
    struct check_result result;
    const char *detail; /* a literal, or the command's own word */
    /* http, grpc */
    struct message answer, trailers;
    struct message_room room;
    struct buf body; /* as far as it is looked at; of tcp all that came */
    uint64_t received;
    struct probe_h1 h1;
    struct probe_h2 *h2;
    struct probe_exec *exec;
};

/* The result; the first one counts. What comes of the answer is still read, up to PROBE_BODY_MAX
 * bytes: closed with bytes unread, its sender would be told that it was cut. */
void probe_decide(struct probe *p, enum check_word word, unsigned code, const char *detail);
/* Nothing more is read. Decided, or decided now with this. */
void probe_end(struct probe *p, enum check_word word, unsigned code, const char *detail);

/* ---- probe_answer.c: of http and grpc, whatever carries it ---- */

/* The request, by http or grpc. 0 or -ENOMEM. */
int probe_make_request(const struct probe *p, struct message *m);
/* The final head is in p->answer. */
void probe_on_head(struct probe *p);
void probe_on_body(struct probe *p, const char *bytes, size_t n);
/* The answer is whole. */
void probe_on_whole(struct probe *p);

/* ---- probe_exec.c: no connection ---- */

void probe_exec_start(struct probe *p);
/* What still runs is killed. Harmless where nothing was started. */
void probe_exec_end(struct probe *p);

/* ---- probe_grpc.c ---- */

enum { GRPC_CHECK_MAX = 512 };
/* A HealthCheckRequest in its frame; how long it is. */
size_t probe_grpc_request(struct str service, char out[GRPC_CHECK_MAX]);
/* The answer and its trailers are whole. */
void probe_grpc_judge(struct probe *p);

#endif
