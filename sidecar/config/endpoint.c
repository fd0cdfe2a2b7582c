/* endpoint.c - where requests go, as operators write it: an address, a name or an SRV name. */
#include "config/endpoint.h"

#include <errno.h>

enum { LABEL_MAX = 63, NAME_MAX_BYTES = 253 };

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool name_char(char c)
{
    char l = ascii_lower(c);
    return digit(c) || (l >= 'a' && l <= 'z') || c == '-' || c == '_';
}

/* Takes the first label off the front. */
static struct str take_label(struct str *rest)
{
    const char *dot = rest->n ? memchr(rest->p, '.', rest->n) : NULL;
    struct str label = {rest->p, dot ? (size_t)(dot - rest->p) : rest->n};
    size_t used = label.n + (dot ? 1 : 0);
    *rest = (struct str){rest->p + used, rest->n - used};
    return label;
}

static const char *check_label(struct str label)
{
    if (label.n == 0)
        return "a label of the name is empty";
    if (label.n > LABEL_MAX)
        return "a label of the name has more than 63 bytes";
    if (label.p[0] == '-' || label.p[label.n - 1] == '-')
        return "a label of the name begins or ends with -";
    for (size_t i = 0; i < label.n; i++) {
        if (!name_char(label.p[i]))
            return "a name has letters, digits, -, _ and dots";
    }
    return NULL;
}

const char *endpoint_check_name(struct str name)
{
    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n == 0)
        return "the name is empty";
    if (name.n > NAME_MAX_BYTES)
        return "a name has at most 253 bytes";
    /* By hand: an empty label at the end is one too. */
    for (size_t dots = 0, i = 0; i < name.n; i++) {
        dots = name.p[i] == '.' ? dots + 1 : 0;
        if (dots > 1 || (dots == 1 && i + 1 == name.n))
            return "a label of the name is empty";
    }
    for (struct str rest = name; rest.n > 0;) {
        const char *why = check_label(take_label(&rest));
        if (why)
            return why;
    }
    return NULL;
}

/* 10.0.0.256, 1, 0x7f.1: what some program takes for an IPv4 address. */
static bool ends_in_number(struct str name)
{
    struct str last = name;
    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    for (struct str rest = name; rest.n > 0;)
        last = take_label(&rest);
    if (str_starts(last, STR("0x")) || str_starts(last, STR("0X")))
        return true;
    for (size_t i = 0; i < last.n; i++) {
        if (!digit(last.p[i]))
            return false;
    }
    return last.n > 0;
}

static int parse_address(struct str text, struct conf_endpoint *ret, const char **ret_expected,
                         const char **ret_why)
{
    *ret_expected = "an address such as 127.0.0.1:8080";
    ret->kind = ENDPOINT_ADDRESS;
    return address_parse(text, &ret->address, ret_why);
}

static int parse_srv(struct str name, struct conf_endpoint *ret, const char **ret_expected,
                     const char **ret_why)
{
    struct str rest = name;
    struct str service = take_label(&rest), proto = take_label(&rest);

    *ret_expected = "an SRV name such as srv:_http._tcp.app.example";
    *ret_why = endpoint_check_name(name);
    if (*ret_why)
        return -EINVAL;
    if (service.p[0] != '_' || proto.n == 0 || proto.p[0] != '_' || rest.n == 0) {
        *ret_why = "it begins with _service._protocol. (RFC 2782)";
        return -EINVAL;
    }
    ret->kind = ENDPOINT_SRV;
    ret->host = name;
    return 0;
}

static int parse_name(struct str host, struct str port_text, struct conf_endpoint *ret,
                      const char **ret_expected, const char **ret_why)
{
    uint64_t port = 0;
    *ret_expected = "an endpoint such as 127.0.0.1:8080 or app.example:8080";
    *ret_why = endpoint_check_name(host);
    if (!*ret_why && (!str_to_u64(port_text, &port) || port == 0 || port > 65535))
        *ret_why = "the port is a number from 1 to 65535";
    if (*ret_why)
        return -EINVAL;
    ret->kind = ENDPOINT_NAME;
    ret->host = host;
    ret->port = (uint16_t)port;
    return 0;
}

int endpoint_parse(struct str text, struct conf_endpoint *ret, const char **ret_expected,
                   const char **ret_why)
{
    const char *colon = text.n ? memrchr(text.p, ':', text.n) : NULL;
    struct str host = {text.p, colon ? (size_t)(colon - text.p) : text.n};
    struct str port = {text.p + host.n + 1, colon ? text.n - host.n - 1 : 0};

    if (str_starts(text, STR("srv:")))
        return parse_srv((struct str){text.p + 4, text.n - 4}, ret, ret_expected, ret_why);
    if (host.n == 0 || host.p[0] == '[' || memchr(host.p, ':', host.n) ||
        str_starts(text, STR("unix:")) || ends_in_number(host))
        return parse_address(text, ret, ret_expected, ret_why);
    return parse_name(host, port, ret, ret_expected, ret_why);
}

bool endpoint_equal(const struct conf_endpoint *a, const struct conf_endpoint *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == ENDPOINT_ADDRESS)
        return address_equal(&a->address, &b->address);
    return a->port == b->port && str_ieq(a->host, b->host);
}
