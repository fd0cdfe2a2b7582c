/* outcome.c - the table of reasons. */
#include "base/outcome.h"

const struct reason_info reason_table[REASON_COUNT] = {
#define X(id, word, status, error, title) [REASON_##id] = {word, status, error, title},
    REASON_TABLE(X)
#undef X
};
