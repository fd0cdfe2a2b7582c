/* hpack_huffman.c - strings in the code of RFC 7541, Appendix B.
 *
 * The code is canonical: codes of a length are in a row, those of the same length in the order of
 * their symbols, and longer ones stand above shorter ones. So the next bits, read as a number, say
 * by themselves how long the code is. */
#include "http/hpack_decode.h"

#include <endian.h>

/* Numbers of 32 bits, of which a code is the first few. */
static const struct {
    uint32_t from, end;  /* of the codes of this length; end is the next one's from */
    uint8_t bits, first; /* place of the first one's symbol */
} rows[] = {
    {0x00000000, 0x50000000, 5, 0},    {0x50000000, 0xb8000000, 6, 10},
    {0xb8000000, 0xf8000000, 7, 36},   {0xf8000000, 0xfe000000, 8, 68},
    {0xfe000000, 0xff400000, 10, 74},  {0xff400000, 0xffa00000, 11, 79},
    {0xffa00000, 0xffc00000, 12, 82},  {0xffc00000, 0xfff00000, 13, 84},
    {0xfff00000, 0xfff80000, 14, 90},  {0xfff80000, 0xfffe0000, 15, 92},
    {0xfffe0000, 0xfffe6000, 19, 95},  {0xfffe6000, 0xfffee000, 20, 98},
    {0xfffee000, 0xffff4800, 21, 106}, {0xffff4800, 0xffffb000, 22, 119},
    {0xffffb000, 0xffffea00, 23, 145}, {0xffffea00, 0xfffff600, 24, 174},
    {0xfffff600, 0xfffff800, 25, 186}, {0xfffff800, 0xfffffbc0, 26, 190},
    {0xfffffbc0, 0xfffffe20, 27, 205}, {0xfffffe20, 0xfffffff0, 28, 224},
    {0xfffffff0, 0xfffffffc, 30, 253},
};

static const uint32_t EOS = 0xfffffffc; /* and all above: 30 ones, which no string may have */

/* In the order of their codes. */
/* clang-format off */
static const uint8_t symbols[256] = {
    /* 5 bits */
    48, 49, 50, 97, 99, 101, 105, 111, 115, 116,
    /* 6 */
    32, 37, 45, 46, 47, 51, 52, 53, 54, 55, 56, 57, 61, 65, 95, 98, 100, 102, 103, 104, 108, 109,
    110, 112, 114, 117,
    /* 7 */
    58, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 89,
    106, 107, 113, 118, 119, 120, 121, 122,
    /* 8, 10, 11, 12 */
    38, 42, 44, 59, 88, 90, 33, 34, 40, 41, 63, 39, 43, 124, 35, 62,
    /* 13, 14, 15 */
    0, 36, 64, 91, 93, 126, 94, 125, 60, 96, 123,
    /* 19, 20 */
    92, 195, 208, 128, 130, 131, 162, 184, 194, 224, 226,
    /* 21 */
    153, 161, 167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230,
    /* 22 */
    129, 132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187,
    189, 190, 196, 198, 228, 232, 233,
    /* 23 */
    1, 135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168,
    174, 175, 180, 182, 183, 188, 191, 197, 231, 239,
    /* 24, 25 */
    9, 142, 144, 145, 148, 159, 171, 206, 215, 225, 236, 237, 199, 207, 234, 235,
    /* 26 */
    192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243, 255,
    /* 27 */
    203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254,
    /* 28 */
    2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 30, 31,
    127, 220, 249,
    /* 30 */
    10, 13, 22,
};
/* clang-format on */

/* By the next eight bits: nearly all of what people write has codes no longer than that. bits 0:
 * the code is longer. */
#define CODE_5(n, s) [(n)*8 ...(n) * 8 + 7] = {s, 5}
#define CODE_6(n, s) [(n)*4 ...(n) * 4 + 3] = {s, 6}
#define CODE_7(n, s) [(n)*2 ...(n) * 2 + 1] = {s, 7}
#define CODE_8(n, s) [n] = {s, 8}

/* clang-format off */
static const struct {
    uint8_t symbol, bits;
} short_codes[256] = {
    CODE_5(0, 48), CODE_5(1, 49), CODE_5(2, 50), CODE_5(3, 97), CODE_5(4, 99), CODE_5(5, 101),
    CODE_5(6, 105), CODE_5(7, 111), CODE_5(8, 115), CODE_5(9, 116),
    CODE_6(20, 32), CODE_6(21, 37), CODE_6(22, 45), CODE_6(23, 46), CODE_6(24, 47),
    CODE_6(25, 51), CODE_6(26, 52), CODE_6(27, 53), CODE_6(28, 54), CODE_6(29, 55),
    CODE_6(30, 56), CODE_6(31, 57), CODE_6(32, 61), CODE_6(33, 65), CODE_6(34, 95),
    CODE_6(35, 98), CODE_6(36, 100), CODE_6(37, 102), CODE_6(38, 103), CODE_6(39, 104),
    CODE_6(40, 108), CODE_6(41, 109), CODE_6(42, 110), CODE_6(43, 112), CODE_6(44, 114),
    CODE_6(45, 117),
    CODE_7(92, 58), CODE_7(93, 66), CODE_7(94, 67), CODE_7(95, 68), CODE_7(96, 69),
    CODE_7(97, 70), CODE_7(98, 71), CODE_7(99, 72), CODE_7(100, 73), CODE_7(101, 74),
    CODE_7(102, 75), CODE_7(103, 76), CODE_7(104, 77), CODE_7(105, 78), CODE_7(106, 79),
    CODE_7(107, 80), CODE_7(108, 81), CODE_7(109, 82), CODE_7(110, 83), CODE_7(111, 84),
    CODE_7(112, 85), CODE_7(113, 86), CODE_7(114, 87), CODE_7(115, 89), CODE_7(116, 106),
    CODE_7(117, 107), CODE_7(118, 113), CODE_7(119, 118), CODE_7(120, 119), CODE_7(121, 120),
    CODE_7(122, 121), CODE_7(123, 122),
    CODE_8(248, 38), CODE_8(249, 42), CODE_8(250, 44), CODE_8(251, 59), CODE_8(252, 88),
    CODE_8(253, 90),
};
/* clang-format on */

struct reader {
    const unsigned char *p, *end;
    uint64_t bits; /* the next ones, at the top; zeros behind them */
    unsigned have;
};

static inline void refill(struct reader *r)
{
    if (r->end - r->p >= 8) {
        uint64_t word;
        memcpy(&word, r->p, sizeof(word));
        unsigned bytes = (63 - r->have) / 8;
        /* Those of the last byte that do not fit are read again with the next. */
        r->bits |= be64toh(word) >> r->have;
        r->bits &= UINT64_MAX << (64 - r->have - bytes * 8);
        r->p += bytes;
        r->have += bytes * 8;
        return;
    }
    while (r->have <= 56 && r->p < r->end) {
        r->bits |= (uint64_t)*r->p++ << (56 - r->have);
        r->have += 8;
    }
}

enum { DONE = -1, BROKEN = -2 };

/* Any next symbol. */
static int next(struct reader *r)
{
    uint32_t top = (uint32_t)(r->bits >> 32);
    if (r->have < 32)
        top |= UINT32_MAX >> r->have; /* what is not there is padding: ones (§5.2) */
    if (top >= EOS)
        return r->have < 8 ? DONE : BROKEN;
    unsigned i = 0;
    while (top >= rows[i].end)
        i++;
    if (rows[i].bits > r->have)
        return BROKEN;
    r->bits <<= rows[i].bits;
    r->have -= rows[i].bits;
    return symbols[rows[i].first + ((top - rows[i].from) >> (32 - rows[i].bits))];
}

ssize_t hpack_unhuffman(const char *from, size_t n, char *to)
{
    struct reader r = {(const unsigned char *)from, (const unsigned char *)from + n, 0, 0};
    char *at = to;
    for (;;) {
        refill(&r);
        while (r.have >= 8 && short_codes[r.bits >> 56].bits) {
            unsigned bits = short_codes[r.bits >> 56].bits;
            *at++ = (char)short_codes[r.bits >> 56].symbol;
            r.bits <<= bits;
            r.have -= bits;
        }
        refill(&r);
        if (r.have >= 8 && short_codes[r.bits >> 56].bits)
            continue;
        int symbol = next(&r);
        if (symbol < 0)
            return symbol == DONE ? at - to : -1;
        *at++ = (char)symbol;
    }
}
