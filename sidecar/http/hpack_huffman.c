/* hpack_huffman.c - strings in the code of RFC 7541, Appendix B.
 *
 * The code is canonical: codes of a length are in a row, those of the same length in the order of
 * their symbols, and longer ones stand above shorter ones. So the next bits, read as a number, say
 * by themselves how long the code is. */
#include "http/hpack_decode.h"

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

ssize_t hpack_unhuffman(const char *from, size_t n, char *to)
{
    const unsigned char *p = (const unsigned char *)from, *end = p + n;
    char *at = to;
    uint64_t bits = 0; /* the next ones, at the top */
    unsigned have = 0;
    for (;;) {
        while (have <= 56 && p < end) {
            bits |= (uint64_t)*p++ << (56 - have);
            have += 8;
        }
        uint32_t top = (uint32_t)(bits >> 32);
        if (have < 32)
            top |= UINT32_MAX >> have; /* what is not there is padding: ones (§5.2) */
        if (top >= EOS)
            return have < 8 ? at - to : -1;
        unsigned i = 0;
        while (top >= rows[i].end)
            i++;
        if (rows[i].bits > have)
            return -1;
        *at++ = (char)symbols[rows[i].first + ((top - rows[i].from) >> (32 - rows[i].bits))];
        bits <<= rows[i].bits;
        have -= rows[i].bits;
    }
}
