/* siphash.c - SipHash-2-4. */
#include "base/siphash.h"

#include <endian.h>
#include <string.h>

struct sip {
    uint64_t a, b, c, d;
};

static inline uint64_t rotl(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static inline void rounds(struct sip *v, unsigned n)
{
    while (n-- > 0) {
        v->a += v->b;
        v->c += v->d;
        v->b = rotl(v->b, 13) ^ v->a;
        v->d = rotl(v->d, 16) ^ v->c;
        v->a = rotl(v->a, 32) + v->d;
        v->c += v->b;
        v->d = rotl(v->d, 21) ^ v->a;
        v->b = rotl(v->b, 17) ^ v->c;
        v->c = rotl(v->c, 32);
    }
}

static inline void take(struct sip *v, uint64_t word)
{
    v->d ^= word;
    rounds(v, 2);
    v->a ^= word;
}

static struct sip begin(const uint64_t key[2])
{
    return (struct sip){
        key[0] ^ UINT64_C(0x736f6d6570736575),
        key[1] ^ UINT64_C(0x646f72616e646f6d),
        key[0] ^ UINT64_C(0x6c7967656e657261),
        key[1] ^ UINT64_C(0x7465646279746573),
    };
}

static inline void take_all(struct sip *v, struct str text)
{
    uint64_t word;
    size_t at = 0;
    for (; text.n - at >= sizeof(word); at += sizeof(word)) {
        memcpy(&word, text.p + at, sizeof(word));
        take(v, le64toh(word));
    }
    word = 0;
    if (at < text.n)
        memcpy(&word, text.p + at, text.n - at);
    take(v, le64toh(word) | (uint64_t)text.n << 56);
}

uint64_t siphash(const uint64_t key[2], struct str text)
{
    struct sip v = begin(key);
    take_all(&v, text);
    v.c ^= 0xff;
    rounds(&v, 4);
    return v.a ^ v.b ^ v.c ^ v.d;
}
