/* siphash.h - SipHash-2-4 (Aumasson, Bernstein 2012): a hash of what peers send.
 *
 * With a key that nobody outside knows, nobody can choose texts that collide. */
#ifndef SLUICE_BASE_SIPHASH_H
#define SLUICE_BASE_SIPHASH_H

#include "base/str.h"

#include <stdint.h>

uint64_t siphash(const uint64_t key[2], struct str text);

#endif
