/* dns_fake.h - a DNS server on the test's own loop, over UDP and TCP, that answers as it is told:
 * rightly, wrongly, or not at all. What has no rule does not exist (NXDOMAIN). */
#ifndef SLUICE_TESTS_DNS_FAKE_H
#define SLUICE_TESTS_DNS_FAKE_H

#include "io/address.h"
#include "io/loop.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum fake_how {
    FAKE_ANSWER, /* with the records; none: NODATA */
    FAKE_NXDOMAIN,
    FAKE_SERVFAIL,
    FAKE_REFUSED,
    FAKE_SILENT,
    FAKE_WRONG_ID,       /* a lie with another id, then the records */
    FAKE_WRONG_QUESTION, /* a lie about another name, then the records */
    FAKE_WRONG_SOURCE,   /* a lie from another port, then the records */
    FAKE_TRUNCATED,      /* a lie with TC over UDP, the records over TCP */
    FAKE_GARBAGE,        /* the right header and question, then noise */
    FAKE_LOOP,           /* a compressed name that points at itself */
    FAKE_CUT,            /* half of the answer */
    FAKE_EMPTY,          /* a datagram without a byte, then the records */
    FAKE_HUGE,           /* 200 addresses, over TCP */
};

enum { FAKE_RULES = 64, FAKE_RECORDS = 8, FAKE_LIE = 0x0a0a0a0a /* 10.10.10.10 */ };

struct fake_rule {
    const char *name;
    int type; /* ns_t_a, ... */
    enum fake_how how;
    const char
        *records[FAKE_RECORDS]; /* "A 60 192.0.2.1", "CNAME 60 b.example", "SRV 60 0 5 80 c" */
    unsigned asked;             /* how often it was */
};

struct fake {
    struct loop *loop;
    int udp, tcp;
    struct ev_io udp_io, tcp_io;
    struct address address;
    struct fake_rule rules[FAKE_RULES];
    unsigned n_rules, asked, over_tcp, in_flight_max;
};

/* ---- messages ---- */

struct fake_out {
    uint8_t at[65536];
    size_t n;
};

static inline void fake_u16(struct fake_out *o, unsigned v)
{
    o->at[o->n++] = (uint8_t)(v >> 8);
    o->at[o->n++] = (uint8_t)v;
}

static inline void fake_name(struct fake_out *o, const char *name)
{
    while (*name) {
        size_t n = strcspn(name, ".");
        o->at[o->n++] = (uint8_t)n;
        memcpy(o->at + o->n, name, n);
        o->n += n;
        name += n + (name[n] == '.');
    }
    o->at[o->n++] = 0;
}

static inline void fake_record(struct fake_out *o, const char *owner, const char *text)
{
    char type[8], data[256];
    unsigned ttl, priority, weight, port;
    if (sscanf(text, "%7s %u %255[^\n]", type, &ttl, data) != 3)
        abort();
    if (owner)
        fake_name(o, owner);
    else
        fake_u16(o, 0xc00c);
    bool srv = strcmp(type, "SRV") == 0, a = strcmp(type, "A") == 0;
    fake_u16(o, srv ? ns_t_srv : a ? ns_t_a : strcmp(type, "AAAA") == 0 ? ns_t_aaaa : ns_t_cname);
    fake_u16(o, ns_c_in);
    fake_u16(o, ttl >> 16);
    fake_u16(o, ttl & 0xffff);
    size_t length_at = o->n;
    o->n += 2;
    if (a || strcmp(type, "AAAA") == 0) {
        if (inet_pton(a ? AF_INET : AF_INET6, data, o->at + o->n) != 1)
            abort();
        o->n += a ? 4 : 16;
    } else if (srv) {
        char host[256];
        if (sscanf(data, "%u %u %u %255s", &priority, &weight, &port, host) != 4)
            abort();
        fake_u16(o, priority);
        fake_u16(o, weight);
        fake_u16(o, port);
        fake_name(o, strcmp(host, ".") == 0 ? "" : host);
    } else {
        fake_name(o, data);
    }
    o->at[length_at] = (uint8_t)((o->n - length_at - 2) >> 8);
    o->at[length_at + 1] = (uint8_t)(o->n - length_at - 2);
}

/* The question's name as text, and where the question ends. */
static inline size_t fake_question(const uint8_t *query, char *name, int *type)
{
    size_t i = 12, o = 0;
    while (query[i]) {
        if (o)
            name[o++] = '.';
        memcpy(name + o, query + i + 1, query[i]);
        o += query[i];
        i += query[i] + 1u;
    }
    name[o] = '\0';
    *type = query[i + 1] << 8 | query[i + 2];
    return i + 5;
}

static inline struct fake_rule *fake_find(struct fake *f, const char *name, int type)
{
    for (unsigned i = 0; i < f->n_rules; i++) {
        if (strcasecmp(f->rules[i].name, name) == 0 && f->rules[i].type == type)
            return &f->rules[i];
    }
    return NULL;
}

static inline void fake_header(struct fake_out *o, const uint8_t *query, size_t end, int rcode,
                               unsigned answers)
{
    memcpy(o->at, query, end);
    o->at[2] = 0x84;
    o->at[3] = (uint8_t)(0x80 | rcode);
    o->n = 6;
    fake_u16(o, answers);
    fake_u16(o, 0);
    fake_u16(o, 0);
    o->n = end;
}

static inline void fake_lie(struct fake_out *o, const uint8_t *query, size_t end)
{
    fake_header(o, query, end, 0, 1);
    fake_record(o, NULL, "A 60 10.10.10.10");
}

static inline void fake_truth(struct fake_out *o, const uint8_t *query, size_t end,
                              const struct fake_rule *rule)
{
    unsigned n = 0;
    const char *owner = NULL;
    fake_header(o, query, end, 0, 0);
    for (; n < FAKE_RECORDS && rule->records[n]; n++) {
        fake_record(o, owner, rule->records[n]);
        if (strncmp(rule->records[n], "CNAME", 5) == 0)
            owner = strrchr(rule->records[n], ' ') + 1;
    }
    o->at[7] = (uint8_t)n;
}

/* The message to send last; `send_lie` sends what comes before it. False: silence. */
static inline bool fake_make(struct fake *f, struct fake_rule *rule, const uint8_t *query,
                             size_t end, bool tcp, struct fake_out *o,
                             void (*send_lie)(struct fake *, const void *, size_t, bool, void *),
                             void *to)
{
    switch (rule ? rule->how : FAKE_NXDOMAIN) {
    case FAKE_SILENT:
        return false;
    case FAKE_NXDOMAIN:
        fake_header(o, query, end, ns_r_nxdomain, 0);
        return true;
    case FAKE_SERVFAIL:
        fake_header(o, query, end, ns_r_servfail, 0);
        return true;
    case FAKE_REFUSED:
        fake_header(o, query, end, ns_r_refused, 0);
        return true;
    case FAKE_WRONG_ID:
        fake_lie(o, query, end);
        o->at[1] ^= 1;
        send_lie(f, o->at, o->n, false, to);
        break;
    case FAKE_WRONG_QUESTION:
        fake_lie(o, query, end);
        o->at[13] ^= 1;
        send_lie(f, o->at, o->n, false, to);
        break;
    case FAKE_WRONG_SOURCE:
        fake_lie(o, query, end);
        send_lie(f, o->at, o->n, true, to);
        break;
    case FAKE_TRUNCATED:
        if (tcp)
            break;
        fake_lie(o, query, end);
        o->at[2] |= 0x02;
        return true;
    case FAKE_GARBAGE:
        fake_header(o, query, end, 0, 7);
        for (int i = 0; i < 100; i++)
            o->at[o->n++] = (uint8_t)(i * 37 + 11);
        return true;
    case FAKE_LOOP:
        fake_header(o, query, end, 0, 1);
        fake_u16(o, 0xc000u | (unsigned)o->n);
        fake_u16(o, ns_t_a);
        return true;
    case FAKE_CUT:
        fake_truth(o, query, end, rule);
        o->n -= 3;
        return true;
    case FAKE_EMPTY:
        send_lie(f, "", 0, false, to);
        break;
    case FAKE_HUGE:
        fake_header(o, query, end, 0, 200);
        if (!tcp) {
            o->at[2] |= 0x02;
            o->at[7] = 0;
            return true;
        }
        for (unsigned i = 0; i < 200; i++) {
            char text[40];
            (void)snprintf(text, sizeof(text), "A 60 192.0.2.%u", i);
            fake_record(o, NULL, text);
        }
        return true;
    case FAKE_ANSWER:
        break;
    }
    fake_truth(o, query, end, rule);
    return true;
}

/* ---- sockets ---- */

static inline void fake_send(struct fake *f, const void *bytes, size_t n, bool elsewhere, void *to)
{
    int fd = elsewhere ? socket(AF_INET, SOCK_DGRAM, 0) : f->udp;
    (void)sendto(fd, bytes, n, 0, to, sizeof(struct sockaddr_in));
    if (elsewhere)
        (void)close(fd);
}

static inline struct fake_rule *fake_asked(struct fake *f, const uint8_t *query, size_t *ret_end)
{
    char name[1024];
    int type;
    *ret_end = fake_question(query, name, &type);
    struct fake_rule *rule = fake_find(f, name, type);
    f->asked++;
    if (rule)
        rule->asked++;
    return rule;
}

static inline void fake_on_udp(struct ev_loop *ev, struct ev_io *io, int events)
{
    static struct fake_out o;
    struct fake *f = CONTAINER_OF(io, struct fake, udp_io);
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    uint8_t query[2048] = {0};
    size_t end;
    (void)ev;
    (void)events;
    if (recvfrom(f->udp, query, sizeof(query) - 1, 0, (struct sockaddr *)&from, &len) < 12)
        return;
    struct fake_rule *rule = fake_asked(f, query, &end);
    if (fake_make(f, rule, query, end, false, &o, fake_send, &from))
        fake_send(f, o.at, o.n, false, &from);
}

/* One query a connection; it comes in one piece. */
static inline void fake_on_tcp(struct ev_loop *ev, struct ev_io *io, int events)
{
    static struct fake_out o;
    struct fake *f = CONTAINER_OF(io, struct fake, tcp_io);
    uint8_t query[2048] = {0}, length[2];
    size_t end;
    int fd = accept(f->tcp, NULL, NULL);
    (void)ev;
    (void)events;
    if (fd < 0)
        return;
    struct timeval soon = {.tv_sec = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
    /* c-ares connects and writes from the same loop: its bytes may come a turn later. */
    if (recv(fd, query, 2, MSG_PEEK | MSG_DONTWAIT) < 0) {
        for (int i = 0; i < 50 && recv(fd, query, 2, MSG_PEEK | MSG_DONTWAIT) < 0; i++)
            (void)ev_run(f->loop->ev, EVRUN_NOWAIT);
    }
    if (recv(fd, query, sizeof(query) - 1, 0) > 14) {
        struct fake_rule *rule = fake_asked(f, query + 2, &end);
        f->over_tcp++;
        if (fake_make(f, rule, query + 2, end, true, &o, fake_send, NULL)) {
            length[0] = (uint8_t)(o.n >> 8);
            length[1] = (uint8_t)o.n;
            (void)send(fd, length, 2, MSG_NOSIGNAL | MSG_MORE);
            (void)send(fd, o.at, o.n, MSG_NOSIGNAL);
        }
    }
    (void)close(fd);
}

static inline void fake_open(struct fake *f, struct loop *l)
{
    *f = (struct fake){.loop = l, .udp = -1, .tcp = -1};
    for (int tries = 0;; tries++) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
        socklen_t len = sizeof(in);
        f->udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        f->tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (bind(f->tcp, (struct sockaddr *)&in, len) == 0 && listen(f->tcp, 16) == 0 &&
            getsockname(f->tcp, (struct sockaddr *)&in, &len) == 0 &&
            bind(f->udp, (struct sockaddr *)&in, len) == 0) {
            f->address.u.in = in;
            f->address.len = sizeof(in);
            break;
        }
        (void)close(f->udp);
        (void)close(f->tcp);
        if (tries == 20)
            abort();
    }
    ev_io_init(&f->udp_io, fake_on_udp, f->udp, EV_READ);
    ev_io_init(&f->tcp_io, fake_on_tcp, f->tcp, EV_READ);
    ev_io_start(l->ev, &f->udp_io);
    ev_io_start(l->ev, &f->tcp_io);
}

static inline void fake_close(struct fake *f)
{
    ev_io_stop(f->loop->ev, &f->udp_io);
    ev_io_stop(f->loop->ev, &f->tcp_io);
    if (f->udp >= 0)
        (void)close(f->udp);
    (void)close(f->tcp);
}

/* Adds the rule, or replaces it. */
#define FAKE_RULE(f, rule_name, rule_type, rule_how, ...)                                          \
    fake_set((f), (struct fake_rule){.name = (rule_name),                                          \
                                     .type = (rule_type),                                          \
                                     .how = (rule_how),                                            \
                                     .records = {__VA_ARGS__}})
static inline struct fake_rule *fake_set(struct fake *f, struct fake_rule rule)
{
    struct fake_rule *at = fake_find(f, rule.name, rule.type);
    if (!at && f->n_rules == FAKE_RULES)
        abort();
    if (!at)
        at = &f->rules[f->n_rules++];
    rule.asked = at->asked;
    *at = rule;
    return at;
}

#endif
