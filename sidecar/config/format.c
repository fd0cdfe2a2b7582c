/* format.c - what a string of the configuration must look like. */
#include "config/format.h"

#include "base/check.h"
#include "config/scalar.h"
#include "io/address.h"
#include "io/tls.h"

static bool alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool all_of(struct str s, const char *besides)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!alnum(s.p[i]) && (s.p[i] == '\0' || !strchr(besides, s.p[i])))
            return false;
    }
    return s.n > 0;
}

static bool lower_only(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] >= 'A' && s.p[i] <= 'Z')
            return false;
    }
    return true;
}

static bool no_controls(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    }
    return true;
}

static bool is_token(struct str s)
{
    return all_of(s, "!#$%&'*+-.^_`|~");
}

static bool hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
}

static const char *check_path(struct str s)
{
    if (s.n == 0 || s.p[0] != '/')
        return "a path that begins with /";
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '?' || c == '#')
            return "a path without query (?) and fragment (#)";
        if (c <= 0x20 || c >= 0x7f || strchr("\"<>\\^`{|}", c))
            return "a path of URL characters (others are written %XX)";
        if (c == '%' && (s.n - i < 3 || !hex(s.p[i + 1]) || !hex(s.p[i + 2])))
            return "two capital hex digits behind each % of the path";
        if (c != '/')
            continue;
        struct str rest = {s.p + i + 1, s.n - i - 1};
        const char *end = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
        rest.n = end ? (size_t)(end - rest.p) : rest.n;
        if (str_eq(rest, STR(".")) || str_eq(rest, STR("..")))
            return "a path without . and .. segments (requests are routed by their normal form)";
    }
    return NULL;
}

/* What can stand in a request line: RFC 9112 §3. */
static bool is_target(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == '#')
            return false;
    }
    return s.n > 0 && s.p[0] == '/';
}

static bool is_host(struct str s)
{
    struct cidr ip;
    if (s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']')
        return memchr(s.p, ':', s.n) && !memchr(s.p, '/', s.n) &&
               cidr_parse((struct str){s.p + 1, s.n - 2}, &ip) == 0;
    return s.n <= 253 && all_of(s, "._-") && s.p[0] != '.' && s.p[0] != '-';
}

static const char *check_host(struct str s, bool pattern, bool port)
{
    const char *colon = s.n ? memrchr(s.p, ':', s.n) : NULL;
    uint64_t number;

    if (pattern && str_eq(s, STR("*")))
        return "a host (leave the key out to match any)";
    if (pattern && str_starts(s, STR("*.")))
        s = (struct str){s.p + 2, s.n - 2};
    if (is_host(s))
        return NULL;
    if (colon && str_to_u64((struct str){colon + 1, (size_t)(s.p + s.n - colon) - 1}, &number) &&
        is_host((struct str){s.p, (size_t)(colon - s.p)})) {
        if (!port)
            return "a host without port";
        return number > 0 && number <= 65535 ? NULL : "a port from 1 to 65535";
    }
    if (pattern)
        return "a host such as example.com or *.example.com";
    return port ? "a host such as example.com or example.com:8080" : "a host such as example.com";
}

/* Its characters are RFC 3986's; libcurl would take more. */
static const char *check_url(struct str s)
{
    size_t at = str_starts(s, STR("http://")) ? 7 : str_starts(s, STR("https://")) ? 8 : 0;
    size_t end = at;
    if (at == 0)
        return "a URL that begins with http:// or https://";
    while (end < s.n && !strchr("/?#", s.p[end]))
        end++;
    struct str authority = {s.p + at, end - at};
    if (memchr(s.p, '@', end))
        return "a URL without user and password (a header can carry them)";
    if (check_host(authority, false, true))
        return "a URL with a host, such as https://device:8443/logout";
    for (size_t i = end; i < s.n; i++) {
        char c = s.p[i];
        if (c <= 0x20 || c >= 0x7f || strchr("\"<>\\^`{|}", c))
            return "a URL of URL characters (others are written %XX)";
        if (c == '#')
            return "a URL without fragment (#)";
    }
    return NULL;
}

const char *format_check(enum format format, struct str s)
{
    bool good = true;
    uint32_t ppm;
    switch (format) {
    case FORMAT_TEXT:
        return NULL;
    case FORMAT_VALUE:
        return no_controls(s) ? NULL : "text without control characters";
    case FORMAT_LINE:
    case FORMAT_FILE:
        if (s.n == 0)
            return "some text";
        return no_controls(s) ? NULL : "text without control characters";
    case FORMAT_LABEL:
        good = s.n <= 63 && all_of(s, "-") && lower_only(s);
        return good ? NULL : "1 to 63 of a-z 0-9 -";
    case FORMAT_NAME:
        good = s.n <= 63 && all_of(s, "._-");
        return good ? NULL : "1 to 63 of a-z A-Z 0-9 . _ -";
    case FORMAT_SOCKET:
        good = s.n > 1 && s.p[0] == '/' && s.n < sizeof(((struct sockaddr_un *)0)->sun_path);
        return good && no_controls(s) ? NULL : "a path that begins with /, of at most 107 bytes";
    case FORMAT_PATH:
        return check_path(s);
    case FORMAT_TARGET:
        return is_target(s) ? NULL
                            : "a path that begins with /, without spaces, other characters than "
                              "ASCII's, and #";
    case FORMAT_HOST_PATTERN:
        return check_host(s, true, false);
    case FORMAT_HOST:
        return check_host(s, false, false);
    case FORMAT_HOST_PORT:
        return check_host(s, false, true);
    case FORMAT_TOKEN:
        return is_token(s) ? NULL : "a name of letters, digits and - (no space, no colon)";
    case FORMAT_METHOD:
        if (is_token(s) && !lower_only(s) && !str_eq(s, STR("TRACE")) && !str_eq(s, STR("CONNECT")))
            return NULL;
        return str_eq(s, STR("TRACE")) || str_eq(s, STR("CONNECT"))
                   ? "a method that is served (TRACE and CONNECT are refused)"
                   : "a method in capitals, such as GET";
    case FORMAT_PSEUDONYM:
        return all_of(s, "!#$%&'*+-.^_`|~:[]") ? NULL : "a name without spaces";
    case FORMAT_MEDIA_TYPE:
        good = s.n > 0 && no_controls(s) && memchr(s.p, '/', s.n) && !memchr(s.p, ' ', 1);
        return good ? NULL : "a media type such as text/plain";
    case FORMAT_URL:
        return check_url(s);
    case FORMAT_PERCENT:
        return scalar_percent(s, &ppm) ? NULL : "a percentage from 0 to 100, such as 5 or 0.25";
    case FORMAT_SPIFFE_RULE:
        return tls_is_spiffe_rule(s)
                   ? NULL
                   : "a SPIFFE id such as spiffe://example.org/ns/web, or with /* in its end";
    }
    return NULL;
}
