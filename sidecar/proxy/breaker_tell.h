/* breaker_tell.h - a circuit breaker's changes of state, in the log. */
#ifndef SLUICE_PROXY_BREAKER_TELL_H
#define SLUICE_PROXY_BREAKER_TELL_H

#include "base/str.h"
#include "policies/circuit_breaker.h"

/* A line for it, with the numbers; nothing where nothing has happened. */
void breaker_tell(struct str upstream, const struct breaker_rules *r,
                  const struct breaker_change *c);

#endif
