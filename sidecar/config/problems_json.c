/* problems_json.c - the list of mistakes for machines. */
#include "config/problems_json.h"

#include <errno.h>

/* JSON wants UTF-8; the name of a file can be anything. */
static json_t *file_name(const char *file)
{
    char quoted[512];
    json_t *name = json_string(file);
    return name ? name : json_string(log_quote(str_of(file), quoted, sizeof(quoted)));
}

int config_problems_append_json(json_t *array, const char *file, const struct config_problems *p,
                                bool strict)
{
    for (uint32_t i = 0; i < p->n; i++) {
        const struct config_problem *it = &p->items[i];
        json_t *o =
            json_pack("{s:o, s:i, s:i, s:s, s:s, s:s}", "file", file_name(file), "line",
                      (int)it->line, "column", (int)it->column, "path", it->path, "message",
                      it->message, "severity", it->warning && !strict ? "warning" : "error");
        if (!o || json_array_append_new(array, o) < 0)
            return -ENOMEM;
    }
    return 0;
}
