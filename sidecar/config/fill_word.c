/* fill_word.c - one word of the tree into its place, or what was expected instead. */
#include "config/fill.h"

#include "config/endpoint.h"
#include "config/problems.h"
#include "config/range.h"
#include "config/scalar.h"
#include "io/address.h"

#include <stdio.h>

void *fill_place(void *base, uint32_t at)
{
    return (char *)base + at;
}

void fill_flag(void *base, const struct schema_key *key, bool value)
{
    if (key->flag_at)
        *(bool *)fill_place(base, key->flag_at - 1) = value;
}

void fill_no_memory(struct fill *f)
{
    if (!f->no_memory)
        problem_out_of_memory(f->problems);
    f->no_memory = true;
}

static bool keep_str(struct fill *f, struct str s, struct str *ret)
{
    *ret = arena_str(f->keep, s);
    if (!ret->p)
        fill_no_memory(f);
    return ret->p != NULL;
}

static void set_number(void *at, uint32_t width, uint64_t v)
{
    switch (width) {
    case 1:
        *(uint8_t *)at = (uint8_t)v;
        break;
    case 2:
        *(uint16_t *)at = (uint16_t)v;
        break;
    case 4:
        *(uint32_t *)at = (uint32_t)v;
        break;
    default:
        CHECK(width == 8);
        *(uint64_t *)at = v;
        break;
    }
}

/* ---- what was expected ---- */

enum { EXPECTED_MAX = 256 };

static char *expected_words(const struct schema_name *names, char *out)
{
    size_t o = (size_t)snprintf(out, EXPECTED_MAX, "one of");
    for (; names->name; names++) {
        if (!names->hidden && o < EXPECTED_MAX)
            o += (size_t)snprintf(out + o, EXPECTED_MAX - o, " %s", names->name);
    }
    return out;
}

static char *expected_range(const struct schema_key *key, const char *what, char *out)
{
    char low[SCALAR_TEXT_MAX], high[SCALAR_TEXT_MAX];
    if (key->max == 0 && key->min == 0)
        (void)snprintf(out, EXPECTED_MAX, "%s", what);
    else if (key->max == key->min)
        (void)snprintf(out, EXPECTED_MAX, "%s", range_text(key, key->min, low));
    else
        (void)snprintf(out, EXPECTED_MAX, "%s from %s to %s", what, range_text(key, key->min, low),
                       range_text(key, key->max, high));
    return out;
}

/* What is behind the message where the mistake is a usual one. */
static const char *hint(const struct schema_key *key, const struct yaml_node *node)
{
    static const char *const yaml11[] = {"yes", "no", "on", "off", "y", "n"};
    struct str s = node->text;
    uint64_t number;

    switch (key->type) {
    case SCHEMA_BOOL:
        if (!yaml_is_plain(node))
            return " (without quotes)";
        for (size_t i = 0; i < ARRAY_LEN(yaml11); i++) {
            if (str_ieq(s, str_of(yaml11[i])))
                return " (yes, no, on and off are plain words here: write true or false)";
        }
        return str_ieq(s, STR("true")) || str_ieq(s, STR("false")) ? " (in small letters)" : "";
    case SCHEMA_INT:
        if (!yaml_is_plain(node) && str_to_u64(s, &number))
            return " (without quotes)";
        if (s.n > 1 && s.p[0] == '0' && str_to_u64(s, &number))
            return " (without leading zeros)";
        return "";
    case SCHEMA_DURATION:
        if (scalar_duration(s, &number)) /* out of range */
            return "";
        if (str_to_u64(s, &number))
            return " (the unit is missing)";
        return s.n > 0 && s.p[0] >= '0' && s.p[0] <= '9' ? " (one number, one unit: us ms s m h)"
                                                         : "";
    case SCHEMA_SIZE:
        return !scalar_size(s, &number) && s.n > 0 && s.p[0] >= '0' && s.p[0] <= '9'
                   ? " (units: B KiB MiB GiB)"
                   : "";
    default:
        return "";
    }
}

/* node NULL: a default, which is right. */
static void refuse(struct fill *f, const struct schema_key *key, const struct yaml_node *node,
                   const char *expected, const char *more)
{
    char got[PROBLEM_QUOTE_MAX];
    CHECK(node != NULL);
    problem_at(f->problems, node, "expected %s, got \"%s\"%s%s", expected,
               problem_quote(yaml_shown(node), got), hint(key, node), more);
}

/* ---- one word ---- */

static const char *next_word(const void *ctx, uint32_t i)
{
    return ((const struct schema_name *)ctx)[i].name;
}

/* The value of the word; -1 where there is none, which is reported. */
static int64_t find_word(struct fill *f, const struct schema_key *key, const struct yaml_node *node,
                         struct str text)
{
    char expected[EXPECTED_MAX], more[64] = "";
    uint32_t n = 0;
    for (const struct schema_name *it = key->names; it->name; it++, n++) {
        if (str_eq(text, str_of(it->name)))
            return it->value;
    }
    const char *near = node && node->raw.p ? NULL : schema_nearest(text, next_word, key->names, n);
    if (near)
        (void)snprintf(more, sizeof(more), " (did you mean \"%s\"?)", near);
    if (n == 1)
        (void)snprintf(expected, sizeof(expected), "%s", key->names->name);
    else
        (void)expected_words(key->names, expected);
    refuse(f, key, node, expected, more);
    return -1;
}

static bool fill_number(struct fill *f, const struct schema_key *key, const struct yaml_node *node,
                        struct str text, void *base)
{
    char expected[EXPECTED_MAX];
    const char *what = "a whole number";
    uint64_t v = 0;
    bool good;

    if (key->type == SCHEMA_DURATION) {
        good = scalar_duration(text, &v);
        what = good ? "a duration" : "a duration such as 250ms or 5s";
    } else if (key->type == SCHEMA_SIZE) {
        good = scalar_size(text, &v);
        what = good ? "a size" : "a size such as 64KiB or 1MiB";
    } else if (key->type == SCHEMA_MODE) {
        good = scalar_mode(text, &v);
        what = "a file mode such as \"0660\"";
    } else {
        good = scalar_int(text, &v) && (!node || yaml_is_plain(node));
    }
    if (good && v >= key->min && v <= range_most(key)) {
        set_number(fill_place(base, key->at), key->width, v);
        return true;
    }
    if (good || key->type == SCHEMA_INT) {
        refuse(f, key, node, expected_range(key, what, expected), "");
        return false;
    }
    refuse(f, key, node, what, "");
    return false;
}

static bool fill_string(struct fill *f, const struct schema_key *key, const struct yaml_node *node,
                        struct str text, void *base)
{
    struct str *at = fill_place(base, key->at);
    if ((key->flags & KEY_OFF) && str_eq(text, STR("off"))) {
        *at = STR("");
        return true;
    }
    if (key->names)
        return find_word(f, key, node, text) >= 0 && keep_str(f, text, at);
    const char *expected = format_check(key->format, text);
    if (expected) {
        refuse(f, key, node, expected, key->flags & KEY_OFF ? " (or off)" : "");
        return false;
    }
    if (key->max && text.n > key->max) {
        problem_at(f->problems, node, "%zu bytes; at most %llu are allowed", text.n,
                   (unsigned long long)key->max);
        return false;
    }
    return keep_str(f, text, at);
}

static bool fill_address(struct fill *f, const struct schema_key *key, const struct yaml_node *node,
                         struct str text, void *base)
{
    const char *why = NULL;
    struct address *at = fill_place(base, key->at);
    struct address parsed;
    const char *off = key->flags & KEY_OFF ? " or off" : "";

    if ((key->flags & KEY_OFF) && str_eq(text, STR("off"))) {
        fill_flag(base, key, false);
        return true;
    }
    if (address_parse(text, &parsed, &why) < 0) {
        char got[PROBLEM_QUOTE_MAX];
        problem_at(f->problems, node,
                   "expected an address such as 127.0.0.1:8080%s, got \"%s\": %s", off,
                   problem_quote(yaml_shown(node), got), why);
        return false;
    }
    if ((key->flags & KEY_NO_UNIX) && parsed.u.sa.sa_family == AF_UNIX) {
        refuse(f, key, node, "an address such as 127.0.0.1:8080", off);
        return false;
    }
    *at = parsed;
    fill_flag(base, key, true);
    return !key->text_at || keep_str(f, text, fill_place(base, key->text_at - 1));
}

static bool fill_endpoint(struct fill *f, const struct schema_key *key,
                          const struct yaml_node *node, struct str text, void *base)
{
    struct conf_endpoint *at = fill_place(base, key->at);
    struct conf_endpoint parsed = {0};
    const char *expected = NULL, *why = NULL;
    char got[PROBLEM_QUOTE_MAX];

    if (endpoint_parse(text, &parsed, &expected, &why) < 0) {
        problem_at(f->problems, node, "expected %s, got \"%s\": %s", expected,
                   problem_quote(yaml_shown(node), got), why);
        return false;
    }
    if (!keep_str(f, text, &parsed.text))
        return false;
    if (parsed.host.p)
        parsed.host.p = parsed.text.p + (parsed.host.p - text.p);
    parsed.priority = at->priority; /* beside it in a map, and perhaps before it */
    parsed.zone = at->zone;
    *at = parsed;
    return true;
}

bool fill_word(struct fill *f, const struct schema_key *key, const struct yaml_node *node,
               struct str text, void *base)
{
    int64_t word;
    bool yes;

    switch (key->type) {
    case SCHEMA_BOOL:
        if (scalar_bool(text, &yes) && (!node || yaml_is_plain(node))) {
            *(bool *)fill_place(base, key->at) = yes;
            return true;
        }
        refuse(f, key, node, "true or false", "");
        return false;
    case SCHEMA_STRING:
        return fill_string(f, key, node, text, base);
    case SCHEMA_ENUM:
        word = find_word(f, key, node, text);
        if (word >= 0)
            set_number(fill_place(base, key->at), key->width, (uint64_t)word);
        return word >= 0;
    case SCHEMA_ADDRESS:
        return fill_address(f, key, node, text, base);
    case SCHEMA_ENDPOINT:
        return fill_endpoint(f, key, node, text, base);
    case SCHEMA_CIDR:
        if (cidr_parse(text, fill_place(base, key->at)) == 0)
            return true;
        refuse(f, key, node, "a network such as 10.0.0.0/8 or fd00::/8", "");
        return false;
    default:
        return fill_number(f, key, node, text, base);
    }
}
