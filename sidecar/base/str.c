/* str.c - what slices can be asked. */
#include "base/str.h"

/* Do they differ, byte by byte, in nothing but the case of letters? */
static inline bool same_word(uint64_t a, uint64_t b)
{
    const uint64_t each = UINT64_C(0x0101010101010101), high = each << 7, low = ~high;
    uint64_t differ = a ^ b;
    if (differ == 0)
        return true;
    if (differ & ~(each * 0x20))
        return false;
    /* 0x80 where a byte is a letter: 7 bits each, so that no sum reaches the next byte. */
    uint64_t small = (a | each * 0x20) & low;
    uint64_t letters = (small + each * (0x80 - 'a')) & ~(small + each * (0x7f - 'z')) & ~a & high;
    return (differ & ~(letters >> 2)) == 0;
}

static inline uint64_t word_of(const char *p, size_t n)
{
    uint64_t word = 0;
    memcpy(&word, p, n);
    return word;
}

bool str_ieq_bytes(const char *a, const char *b, size_t n)
{
    if (n >= 8) {
        for (size_t i = 0; i + 8 < n; i += 8) {
            if (!same_word(word_of(a + i, 8), word_of(b + i, 8)))
                return false;
        }
        return same_word(word_of(a + n - 8, 8), word_of(b + n - 8, 8));
    }
    if (n >= 4)
        return same_word(word_of(a, 4), word_of(b, 4)) &&
               same_word(word_of(a + n - 4, 4), word_of(b + n - 4, 4));
    for (size_t i = 0; i < n; i++) {
        if (ascii_lower(a[i]) != ascii_lower(b[i]))
            return false;
    }
    return true;
}

/* "hasless" and "haszero" of S. E. Anderson's Bit Twiddling Hacks: exact for the word as a whole.
 */
static bool word_has_control(uint64_t w)
{
    const uint64_t ones = UINT64_MAX / 255, tops = ones << 7;
    uint64_t del = w ^ ones * 0x7f;
    return (((w - ones * 0x20) & ~w) | ((del - ones) & ~del)) & tops;
}

bool str_has_control(struct str s)
{
    size_t i = 0;
    for (; s.n - i >= 8; i += 8) {
        if (word_has_control(word_of(s.p + i, 8)))
            return true;
    }
    for (; i < s.n; i++) {
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return true;
    }
    return false;
}

bool str_list_next(struct str *rest, struct str *ret_item)
{
    while (rest->n > 0) {
        const char *comma = memchr(rest->p, ',', rest->n);
        size_t len = comma ? (size_t)(comma - rest->p) : rest->n;
        struct str item = str_trim((struct str){rest->p, len});
        size_t used = comma ? len + 1 : len;
        *rest = (struct str){rest->p + used, rest->n - used};
        if (item.n > 0) {
            *ret_item = item;
            return true;
        }
    }
    return false;
}

bool str_to_u64(struct str s, uint64_t *ret)
{
    uint64_t v = 0;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned)(unsigned char)s.p[i] - '0';
        if (digit > 9 || v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *ret = v;
    return true;
}

unsigned str_distance(struct str a, struct str b, unsigned max)
{
    enum { LONGEST = 64 };
    unsigned row[LONGEST + 1];
    if (a.n > LONGEST || b.n > LONGEST)
        return max;
    for (size_t j = 0; j <= b.n; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= a.n; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b.n; j++) {
            unsigned above = row[j];
            unsigned best = diagonal + (ascii_lower(a.p[i - 1]) != ascii_lower(b.p[j - 1]));
            if (above + 1 < best)
                best = above + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[b.n] < max ? row[b.n] : max;
}
