/* priority.h - who is refused last, where not all can be served.
 *
 * A route's, and so a request's; from the most important down. Whatever sheds load refuses `low`
 * first and `critical` last. */
#ifndef SLUICE_POLICIES_PRIORITY_H
#define SLUICE_POLICIES_PRIORITY_H

/* X(id, word) */
#define PRIORITY_TABLE(X)                                                                          \
    X(CRITICAL, "critical")                                                                        \
    X(NORMAL, "normal") /* of a route that says nothing */                                         \
    X(LOW, "low")

enum priority {
#define X(id, word) PRIORITY_##id,
    PRIORITY_TABLE(X)
#undef X
        PRIORITIES,
};

/* As in the configuration and in labels of metrics. */
static inline const char *priority_word(enum priority p)
{
    static const char *const words[] = {
#define X(id, word) word,
        PRIORITY_TABLE(X)
#undef X
    };
    return words[p];
}

#endif
