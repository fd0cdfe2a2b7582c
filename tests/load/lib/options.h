/* options.h - what the load client was asked to do. */
#ifndef LOAD_OPTIONS_H
#define LOAD_OPTIONS_H

#include "base/clock.h"

#include <stdbool.h>
#include <sys/socket.h>

enum { LOAD_METHODS = 2, LOAD_DIGITS = 8 };

/* A request as it goes over the wire, built once. */
struct request {
    char *bytes;
    size_t n;
    char method[16];
    bool is_head;
    size_t number_at; /* LOAD_DIGITS digits, another number in each request; 0: none */
};

struct options {
    struct sockaddr_storage address;
    socklen_t address_len;
    bool is_unix;
    uint32_t connections; /* that send request after request */
    uint32_t idle;        /* that send one, and stay open */
    uint32_t stuck;       /* that send one which is never answered */
    uint64_t requests;    /* 0: no bound */
    usec_t duration;      /* 0: until a signal or `requests` */
    usec_t think;         /* between an answer and the next request of a connection */
    uint64_t numbers;     /* the number in a request is less */
    double rate;          /* requests a second over all connections; 0: as fast as answered */
    usec_t timeout;       /* of a request */
    usec_t connect_timeout;
    usec_t linger; /* at the end: how long answers are still awaited */
    bool close;    /* a connection per request */
    bool tcp;      /* bytes that must come back, no HTTP */
    bool json;
    bool quiet;
    bool allow_failed;
    uint32_t n_methods; /* 1 or LOAD_METHODS, which take turns */
    struct request request[LOAD_METHODS];
    struct request stuck_request;
};

/* 0; 2 after a message on stderr; 1 when help was asked for and printed. */
int options_parse(struct options *o, int argc, char **argv);
void options_free(struct options *o);

#endif
