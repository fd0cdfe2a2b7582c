/* show_config.c - the state of a configuration (/v1/config) in words, for the subcommands. */
#include "show_config.h"

#include "show.h"

#include <string.h>

/* What is quoted from a file does not get to command a terminal. */
static char *plain(char *text)
{
    for (char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
    return text;
}

char *show_problem(const char *file, const json_t *problem, char *out, size_t cap)
{
    const char *path = json_text(problem, "path");
    const char *kind = strcmp(json_text(problem, "severity"), "warning") == 0 ? "warning: " : "";
    char place[64] = "";

    if (json_count(problem, "line") > 0)
        (void)snprintf(place, sizeof(place), ":%lld:%lld", json_count(problem, "line"),
                       json_count(problem, "column"));
    (void)snprintf(out, cap, "%s%s: %s%s%s%s", file, place, path, *path ? ": " : "", kind,
                   json_text(problem, "message"));
    return plain(out);
}

char *show_pending(const json_t *config, char *out, size_t cap)
{
    const json_t *key;
    size_t i, n = 0;

    out[0] = '\0';
    json_array_foreach(json_object_get(config, "pending_restart"), i, key)
    {
        const char *name = json_string_value(key);
        if (!name || n >= cap)
            continue;
        int len = snprintf(out + n, cap - n, "%s%s", n > 0 ? ", " : "", name);
        n += len > 0 ? (size_t)len : 0;
    }
    return plain(out);
}
