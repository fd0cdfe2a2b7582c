/* siphash.h - SipHash-2-4 (Aumasson, Bernstein 2012): a hash of what peers send.
 *
 * With a key that nobody outside knows, nobody can choose texts that collide: by chance two of 64
 * bits do, where many are kept, and two of 128 bits never. */
#ifndef SLUICE_BASE_SIPHASH_H
#define SLUICE_BASE_SIPHASH_H

#include "base/str.h"

#include <stdint.h>

uint64_t siphash(const uint64_t key[2], struct str text);
/* The variant with 128 bits, the first 64 in ret[0]. */
void siphash_128(const uint64_t key[2], struct str text, uint64_t ret[2]);

#endif
