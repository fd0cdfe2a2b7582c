/* options.c - the load client's command line, and the requests it asks for. */
#include "options.h"

#include <getopt.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

enum { MAX_BODY = 256 << 20, CHUNK_BYTES = 16 * 1024, HEAD_ROOM = 16 * 1024 };

struct raw {
    const char *url, *unix_path, *method, *stuck_path;
    const char *headers[16];
    uint32_t n_headers;
    size_t body;
    bool chunked;
    char host[256], port[16], target[4096];
};

static const char help[] =
    "usage: load --url http://HOST:PORT/PATH [options]\n"
    "  --unix PATH          connect to this socket (the URL still gives Host and path)\n"
    "  -c N                 connections (1; 0 with --idle or --stuck)\n"
    "  -t SECONDS, -n N     how long, or how many requests; else until SIGINT or SIGTERM\n"
    "                       (SIGUSR1 tells how many were sent)\n"
    "  --close              a connection per request\n"
    "  --method M           GET, POST, ... or mix: GET and POST take turns\n"
    "  --body BYTES --chunked -H 'Name: value'\n"
    "  --numbers N          {number} in path or header is 00000000, 00000001, ... below N\n"
    "                       (100000000), and from the beginning\n"
    "  --think MS           pause before each further request of a connection\n"
    "  --rate R             R requests a second whatever the answers do (latency counts from when\n"
    "                       a request was due)\n"
    "  --idle N             N connections that serve one request and stay open\n"
    "  --stuck N            N requests to --stuck-path (/hang) which nobody answers\n"
    "  --tcp                no HTTP: bytes that must come back as they were sent\n"
    "  --timeout S (10) --connect-timeout S (5) --linger S (2)\n"
    "  --json --quiet (no table, nothing on stderr) --allow-failed\n"
    "Exit: 0 nothing failed, 1 something did, 2 usage.\n";

static int complain(const char *what, const char *value)
{
    (void)fprintf(stderr, "load: %s: %s\n", what, value ? value : "missing");
    return 2;
}

static bool number(const char *text, double max, double *ret)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end != '\0' || !(v >= 0) || v > max)
        return false;
    *ret = v;
    return true;
}

/* http://host[:port]/path into raw. */
static int split_url(struct raw *r)
{
    static const char scheme[] = "http://";
    if (!r->url || strncmp(r->url, scheme, sizeof(scheme) - 1) != 0)
        return complain("--url needs http://HOST:PORT/PATH", r->url);
    const char *host = r->url + sizeof(scheme) - 1;
    const char *path = strchr(host, '/');
    size_t n = path ? (size_t)(path - host) : strlen(host);
    if (n == 0 || n >= sizeof(r->host))
        return complain("bad host", r->url);
    memcpy(r->host, host, n);
    r->host[n] = '\0';
    (void)snprintf(r->target, sizeof(r->target), "%s", path ? path : "/");
    return 0;
}

static int resolve(struct options *o, struct raw *r)
{
    if (r->unix_path) {
        struct sockaddr_un *un = (struct sockaddr_un *)(void *)&o->address;
        if (strlen(r->unix_path) >= sizeof(un->sun_path))
            return complain("path too long", r->unix_path);
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, r->unix_path, strlen(r->unix_path) + 1);
        o->address_len = sizeof(*un);
        o->is_unix = true;
        return 0;
    }
    char name[256];
    (void)snprintf(name, sizeof(name), "%s", r->host);
    char *start = name, *colon = strrchr(name, ':'), *bracket = strchr(name, ']');
    if (bracket && colon < bracket)
        colon = NULL;
    (void)snprintf(r->port, sizeof(r->port), "%s", colon ? colon + 1 : "80");
    if (colon)
        *colon = '\0';
    if (name[0] == '[' && bracket) {
        start++;
        *bracket = '\0';
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo(start, r->port, &hints, &found) != 0 || !found)
        return complain("no such address", r->host);
    memcpy(&o->address, found->ai_addr, found->ai_addrlen);
    o->address_len = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static void fill(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = i % 64 == 63 ? '\n' : (char)('0' + i % 64);
}

/* The first {number} of the head. */
static size_t find_number(const char *head)
{
    static const char word[] = "{number}";
    _Static_assert(sizeof(word) - 1 == LOAD_DIGITS, "it is replaced in place");
    const char *at = strstr(head, word);
    return at ? (size_t)(at - head) : 0;
}

static int build_request(const struct raw *r, const struct options *o, const char *method,
                         const char *target, bool with_body, struct request *ret)
{
    size_t body = with_body ? r->body : 0;
    size_t room = HEAD_ROOM + body + (body / CHUNK_BYTES + 2) * 16;
    if (strlen(method) >= sizeof(ret->method))
        return complain("method too long", method);
    char *p = malloc(room);
    if (!p)
        return complain("no memory for a request of this size", target);
    *ret = (struct request){.bytes = p, .is_head = strcmp(method, "HEAD") == 0};
    memcpy(ret->method, method, strlen(method) + 1);
    if (o->tcp) {
        ret->n = r->body > 0 ? r->body : 64;
        fill(p, ret->n);
        return 0;
    }
    int n = snprintf(p, HEAD_ROOM, "%s %s HTTP/1.1\r\nHost: %s\r\n%s", method, target, r->host,
                     o->close ? "Connection: close\r\n" : "");
    for (uint32_t i = 0; i < r->n_headers && n > 0 && n < HEAD_ROOM; i++)
        n += snprintf(p + n, HEAD_ROOM - (size_t)n, "%s\r\n", r->headers[i]);
    bool declares = with_body && (body > 0 || strcmp(method, "GET") != 0);
    if (n > 0 && n < HEAD_ROOM && declares && r->chunked)
        n += snprintf(p + n, HEAD_ROOM - (size_t)n, "Transfer-Encoding: chunked\r\n");
    else if (n > 0 && n < HEAD_ROOM && declares)
        n += snprintf(p + n, HEAD_ROOM - (size_t)n, "Content-Length: %zu\r\n", body);
    if (n <= 0 || n >= HEAD_ROOM - 2)
        return complain("headers too long", target);
    ret->number_at = find_number(p);
    p[n++] = '\r';
    p[n++] = '\n';
    ret->n = (size_t)n;
    if (!declares)
        return 0;
    if (!r->chunked) {
        fill(p + ret->n, body);
        ret->n += body;
        return 0;
    }
    while (body > 0) {
        size_t chunk = body < CHUNK_BYTES ? body : CHUNK_BYTES;
        ret->n += (size_t)snprintf(p + ret->n, room - ret->n, "%zx\r\n", chunk);
        fill(p + ret->n, chunk);
        ret->n += chunk;
        p[ret->n++] = '\r';
        p[ret->n++] = '\n';
        body -= chunk;
    }
    ret->n += (size_t)snprintf(p + ret->n, room - ret->n, "0\r\n\r\n");
    return 0;
}

static int build(struct options *o, const struct raw *r)
{
    int rc;
    bool mix = strcmp(r->method, "mix") == 0;
    if (mix) {
        o->n_methods = 2;
        rc = build_request(r, o, "GET", r->target, false, &o->request[0]);
        if (rc == 0)
            rc = build_request(r, o, "POST", r->target, true, &o->request[1]);
    } else {
        o->n_methods = 1;
        rc = build_request(r, o, r->method, r->target, strcmp(r->method, "GET") != 0 || r->body > 0,
                           &o->request[0]);
    }
    if (rc == 0)
        rc = build_request(r, o, "GET", r->stuck_path, false, &o->stuck_request);
    return rc;
}

enum {
    OPT_UNIX = 256,
    OPT_CLOSE,
    OPT_METHOD,
    OPT_BODY,
    OPT_CHUNKED,
    OPT_THINK,
    OPT_NUMBERS,
    OPT_RATE,
    OPT_IDLE,
    OPT_STUCK,
    OPT_STUCK_PATH,
    OPT_TCP,
    OPT_TIMEOUT,
    OPT_CONNECT_TIMEOUT,
    OPT_LINGER,
    OPT_JSON,
    OPT_QUIET,
    OPT_ALLOW_FAILED,
    OPT_URL
};

int options_parse(struct options *o, int argc, char **argv)
{
    static const struct option longs[] = {
        {"url", 1, NULL, OPT_URL},
        {"unix", 1, NULL, OPT_UNIX},
        {"close", 0, NULL, OPT_CLOSE},
        {"method", 1, NULL, OPT_METHOD},
        {"body", 1, NULL, OPT_BODY},
        {"chunked", 0, NULL, OPT_CHUNKED},
        {"think", 1, NULL, OPT_THINK},
        {"numbers", 1, NULL, OPT_NUMBERS},
        {"rate", 1, NULL, OPT_RATE},
        {"idle", 1, NULL, OPT_IDLE},
        {"stuck", 1, NULL, OPT_STUCK},
        {"stuck-path", 1, NULL, OPT_STUCK_PATH},
        {"tcp", 0, NULL, OPT_TCP},
        {"timeout", 1, NULL, OPT_TIMEOUT},
        {"connect-timeout", 1, NULL, OPT_CONNECT_TIMEOUT},
        {"linger", 1, NULL, OPT_LINGER},
        {"json", 0, NULL, OPT_JSON},
        {"quiet", 0, NULL, OPT_QUIET},
        {"allow-failed", 0, NULL, OPT_ALLOW_FAILED},
        {"help", 0, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct raw r = {.method = "GET", .stuck_path = "/hang"};
    bool connections_given = false;
    *o = (struct options){.numbers = 100000000,
                          .timeout = 10 * USEC_PER_SEC,
                          .connect_timeout = 5 * USEC_PER_SEC,
                          .linger = 2 * USEC_PER_SEC};
    int option;
    while ((option = getopt_long(argc, argv, "c:t:n:H:h", longs, NULL)) != -1) {
        double v = 0;
        bool takes_number = option == 'c' || option == 't' || option == 'n' || option == OPT_BODY ||
                            option == OPT_THINK || option == OPT_RATE || option == OPT_IDLE ||
                            option == OPT_STUCK || option == OPT_TIMEOUT ||
                            option == OPT_CONNECT_TIMEOUT || option == OPT_LINGER ||
                            option == OPT_NUMBERS;
        if (takes_number && !number(optarg, option == OPT_BODY ? MAX_BODY : 1e9, &v))
            return complain("not a usable number", optarg);
        switch (option) {
        case 'c':
            o->connections = (uint32_t)v;
            connections_given = true;
            break;
        case 't':
            o->duration = (usec_t)(v * 1e6);
            break;
        case 'n':
            o->requests = (uint64_t)v;
            break;
        case 'H':
            if (r.n_headers == 16)
                return complain("too many headers", optarg);
            r.headers[r.n_headers++] = optarg;
            break;
        case OPT_URL:
            r.url = optarg;
            break;
        case OPT_UNIX:
            r.unix_path = optarg;
            break;
        case OPT_CLOSE:
            o->close = true;
            break;
        case OPT_METHOD:
            r.method = optarg;
            break;
        case OPT_BODY:
            r.body = (size_t)v;
            break;
        case OPT_CHUNKED:
            r.chunked = true;
            break;
        case OPT_THINK:
            o->think = (usec_t)(v * 1e3);
            break;
        case OPT_NUMBERS:
            o->numbers = v >= 1 && v < o->numbers ? (uint64_t)v : o->numbers;
            break;
        case OPT_RATE:
            o->rate = v;
            break;
        case OPT_IDLE:
            o->idle = (uint32_t)v;
            break;
        case OPT_STUCK:
            o->stuck = (uint32_t)v;
            break;
        case OPT_STUCK_PATH:
            r.stuck_path = optarg;
            break;
        case OPT_TCP:
            o->tcp = true;
            break;
        case OPT_TIMEOUT:
            o->timeout = (usec_t)(v * 1e6);
            break;
        case OPT_CONNECT_TIMEOUT:
            o->connect_timeout = (usec_t)(v * 1e6);
            break;
        case OPT_LINGER:
            o->linger = (usec_t)(v * 1e6);
            break;
        case OPT_JSON:
            o->json = true;
            break;
        case OPT_QUIET:
            o->quiet = true;
            break;
        case OPT_ALLOW_FAILED:
            o->allow_failed = true;
            break;
        case 'h':
            (void)fputs(help, stdout);
            return 1;
        default:
            (void)fputs(help, stderr);
            return 2;
        }
    }
    if (optind != argc)
        return complain("unexpected", argv[optind]);
    if (!connections_given && o->idle == 0 && o->stuck == 0)
        o->connections = 1;
    if (r.unix_path && !r.url)
        r.url = "http://localhost/";
    int rc = split_url(&r);
    if (rc == 0)
        rc = resolve(o, &r);
    return rc == 0 ? build(o, &r) : rc;
}

void options_free(struct options *o)
{
    for (size_t i = 0; i < LOAD_METHODS; i++)
        free(o->request[i].bytes);
    free(o->stuck_request.bytes);
}
