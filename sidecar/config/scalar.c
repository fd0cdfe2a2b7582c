/* scalar.c - what operators write in one word: 5s, 64KiB, 0660, true. */
#include "config/scalar.h"

#include "base/check.h"

#include <stdio.h>

struct unit {
    const char *name;
    uint64_t size;
};

/* Largest first, as they are tried when a value is shown. */
static const struct unit duration_units[] = {
    {"h", 3600 * USEC_PER_SEC},
    {"m", 60 * USEC_PER_SEC},
    {"s", USEC_PER_SEC},
    {"ms", USEC_PER_MSEC},
    {"us", 1},
};
static const struct unit size_units[] = {
    {"GiB", 1 << 30},
    {"MiB", 1 << 20},
    {"KiB", 1 << 10},
    {"B", 1},
};

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits from the front of *s. */
static struct str take_digits(struct str *s)
{
    size_t n = 0;
    while (n < s->n && digit(s->p[n]))
        n++;
    struct str digits = {s->p, n};
    *s = (struct str){s->p + n, s->n - n};
    return digits;
}

static bool unit_size(struct str name, const struct unit *units, size_t n, uint64_t *ret)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(name, str_of(units[i].name))) {
            *ret = units[i].size;
            return true;
        }
    }
    return false;
}

/* A number with at most six decimals and one unit, exactly. */
static bool quantity(struct str s, const struct unit *units, size_t n_units, uint64_t *ret)
{
    struct str whole = take_digits(&s);
    uint64_t w, d = 0, scale = 1, unit;

    if (s.n > 0 && s.p[0] == '.') {
        s = (struct str){s.p + 1, s.n - 1};
        struct str decimals = take_digits(&s);
        if (decimals.n == 0 || decimals.n > 6)
            return false;
        (void)str_to_u64(decimals, &d);
        for (size_t i = 0; i < decimals.n; i++)
            scale *= 10;
    }
    if (!str_to_u64(whole, &w) || !unit_size(s, units, n_units, &unit))
        return false;
    if (w > UINT64_MAX / 2 / unit || d * unit % scale != 0)
        return false;
    *ret = w * unit + d * unit / scale;
    return true;
}

bool scalar_duration(struct str s, usec_t *ret)
{
    if (str_eq(s, STR("0"))) {
        *ret = 0;
        return true;
    }
    return quantity(s, duration_units, ARRAY_LEN(duration_units), ret);
}

bool scalar_int(struct str s, uint64_t *ret)
{
    if (s.n > 1 && s.p[0] == '0')
        return false;
    return str_to_u64(s, ret);
}

bool scalar_size(struct str s, uint64_t *ret)
{
    return scalar_int(s, ret) || quantity(s, size_units, ARRAY_LEN(size_units), ret);
}

bool scalar_mode(struct str s, uint64_t *ret)
{
    uint64_t mode = 0;
    if (s.n < 3 || s.n > 4 || (s.n == 4 && s.p[0] != '0'))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '7')
            return false;
        mode = mode * 8 + (uint64_t)(s.p[i] - '0');
    }
    *ret = mode;
    return true;
}

bool scalar_percent(struct str s, uint32_t *ret_ppm)
{
    uint64_t whole = 0, ppm = 0;
    const char *dot = s.n ? memchr(s.p, '.', s.n) : NULL;
    size_t decimals = dot ? (size_t)(s.p + s.n - dot) - 1 : 0;
    struct str digits = {dot ? dot + 1 : NULL, decimals};
    if (!str_to_u64((struct str){s.p, dot ? (size_t)(dot - s.p) : s.n}, &whole) || whole > 100 ||
        s.n - decimals > 4 || (dot && (decimals > 4 || !str_to_u64(digits, &ppm))))
        return false;
    for (size_t i = decimals; i < 4; i++)
        ppm *= 10;
    ppm += whole * 10000;
    if (ppm > 1000000)
        return false;
    *ret_ppm = (uint32_t)ppm;
    return true;
}

bool scalar_bool(struct str s, bool *ret)
{
    bool is_true = str_eq(s, STR("true"));
    if (!is_true && !str_eq(s, STR("false")))
        return false;
    *ret = is_true;
    return true;
}

static char *quantity_text(uint64_t v, const struct unit *units, size_t n, const char *zero,
                           char *out)
{
    for (size_t i = 0; i < n; i++) {
        if (v >= units[i].size && v % units[i].size == 0) {
            (void)snprintf(out, SCALAR_TEXT_MAX, "%llu%s", (unsigned long long)(v / units[i].size),
                           units[i].name);
            return out;
        }
    }
    (void)snprintf(out, SCALAR_TEXT_MAX, "%s", zero);
    return out;
}

char *scalar_duration_text(usec_t usec, char *out)
{
    /* 1.5s reads better than 1500ms. */
    if (usec > USEC_PER_SEC && usec % USEC_PER_SEC != 0 && usec % (100 * USEC_PER_MSEC) == 0) {
        (void)snprintf(out, SCALAR_TEXT_MAX, "%llu.%llus",
                       (unsigned long long)(usec / USEC_PER_SEC),
                       (unsigned long long)(usec % USEC_PER_SEC / (100 * USEC_PER_MSEC)));
        return out;
    }
    return quantity_text(usec, duration_units, ARRAY_LEN(duration_units), "0s", out);
}

char *scalar_size_text(uint64_t bytes, char *out)
{
    return quantity_text(bytes, size_units, ARRAY_LEN(size_units), "0", out);
}
