/* guard.c - who may ask the control servers. */
#include "admin/guard.h"

#include "admin/http_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Without the port; an IPv6 address without its brackets. */
static struct str host_of(struct str authority)
{
    if (authority.n > 0 && authority.p[0] == '[') {
        const char *end = memchr(authority.p, ']', authority.n);
        return end ? (struct str){authority.p + 1, (size_t)(end - authority.p) - 1} : STR_NONE;
    }
    const char *colon = authority.n > 0 ? memchr(authority.p, ':', authority.n) : NULL;
    return colon ? (struct str){authority.p, (size_t)(colon - authority.p)} : authority;
}

static bool is_ip(struct str host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr out;

    if (host.n == 0 || host.n >= sizeof(text))
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    return inet_pton(AF_INET, text, &out) == 1 || inet_pton(AF_INET6, text, &out) == 1;
}

bool guard_host_allowed(struct str authority, const struct str *allowed, size_t n)
{
    struct str host = host_of(authority);

    if (host.n == 0)
        return false;
    if (str_ieq(host, STR("localhost")) || is_ip(host))
        return true;
    for (size_t i = 0; i < n; i++) {
        if (str_ieq(host, allowed[i]) || str_ieq(authority, allowed[i]))
            return true;
    }
    return false;
}

static struct str strip(struct str s)
{
    while (s.n > 0 && memchr(" \t\r\n", s.p[0], 4))
        s = (struct str){s.p + 1, s.n - 1};
    while (s.n > 0 && memchr(" \t\r\n", s.p[s.n - 1], 4))
        s.n--;
    return s;
}

/* A file that cannot be read is no token: better shut than open. */
static void token_refresh(struct guard_token *t)
{
    struct stat st;
    int fd = t->path ? open(t->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        t->n = 0;
        t->ino = 0;
    } else if (st.st_ino != t->ino || st.st_size != t->size ||
               st.st_mtim.tv_sec != t->mtime.tv_sec || st.st_mtim.tv_nsec != t->mtime.tv_nsec) {
        char text[GUARD_TOKEN_MAX];
        ssize_t got = read(fd, text, sizeof(text));
        struct str token = strip((struct str){text, got > 0 ? (size_t)got : 0});
        if (token.n > 0)
            memcpy(t->text, token.p, token.n);
        t->n = token.n;
        t->ino = st.st_ino;
        t->size = st.st_size;
        t->mtime = st.st_mtim;
    }
    if (fd >= 0)
        (void)close(fd);
}

void guard_token_init(struct guard_token *t, const char *path)
{
    *t = (struct guard_token){.path = path};
    token_refresh(t);
}

bool guard_token_matches(struct guard_token *t, struct str authorization)
{
    struct str scheme = STR("Bearer ");

    if (authorization.n <= scheme.n || !str_ieq((struct str){authorization.p, scheme.n}, scheme))
        return false;
    token_refresh(t);
    struct str given = {authorization.p + scheme.n, authorization.n - scheme.n};
    return http_token_equal(str_trim(given), (struct str){t->text, t->n});
}

bool http_token_equal(struct str given, struct str expected)
{
    /* volatile: the compiler must not leave the loop at the first difference. */
    volatile unsigned char different = 0;

    if (given.n != expected.n || expected.n == 0)
        return false;
    for (size_t i = 0; i < expected.n; i++)
        different = (unsigned char)(different | (unsigned char)(given.p[i] ^ expected.p[i]));
    return different == 0;
}
