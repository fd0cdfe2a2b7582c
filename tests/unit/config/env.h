/* env.h - the environment that tests build configurations in: never the process's own. */
#ifndef SLUICE_TESTS_ENV_H
#define SLUICE_TESTS_ENV_H

#include "base/check.h"
#include "config/build.h"

static const char secret[] = "s3cr3t";

static const char *env_get(const void *ctx, const char *name)
{
    static const struct {
        const char *name, *value;
    } variables[] = {
        {"SECRET", secret},        {"EMPTY", ""},          {"FIVE", "5s"},
        {"NUMBER", "7"},           {"YES", "true"},        {"PORT", "8080"},
        {"NULL_WORD", "null"},     {"BYTES", "a\xff"},     {"CONTROL", "a\x01"},
        {"LINES", "a\nb: [c, d]"}, {"YAML", "{a: b}, #c"}, {"_x9", "9"},
        {"AGAIN", "${SECRET}"},    {"NAME", "app"},        {"ACCENT", "\xc3\xa9"},
    };
    (void)ctx;
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        if (strcmp(variables[i].name, name) == 0)
            return variables[i].value;
    }
    return NULL;
}

static const struct config_env test_env = {.get = env_get};

#endif
