/* check.c - the last words of a process whose own guarantees were broken. */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

void check_failed(const char *file, int line, const char *what)
{
    (void)fprintf(stderr, "sluice: CHECK failed at %s:%d: %s\n", file, line, what);
    abort();
}
