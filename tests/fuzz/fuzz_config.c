/* fuzz_config.c - any bytes as a configuration: valid, or refused with a place. */
#include "base/check.h"
#include "config/build.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_conf(const struct conf *c)
{
    uint32_t routes = 0;
    CHECK(c->n_listeners > 0);
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        const struct conf_listener *l = &c->listeners[i];
        CHECK(l->index == i && l->name.n > 0 && l->address.len > 0 && l->n_routes > 0);
        CHECK((l->protocol == PROTOCOL_HTTP) == (l->route_table != NULL));
        for (uint32_t r = 0; r < l->n_routes; r++) {
            const struct conf_route *route = &l->routes[r];
            uint64_t ppm = 0;
            CHECK(route->index == routes++ && route->name.n > 0);
            CHECK((route->action == ACTION_FORWARD) == (route->n_backends > 0));
            for (uint32_t b = 0; b < route->n_backends; b++) {
                CHECK(route->backends[b].upstream && route->backends[b].upstream->n_endpoints > 0);
                ppm += route->ppm[b];
            }
            CHECK(route->n_backends == 0 || ppm == SPLIT_WHOLE_PPM);
        }
    }
    CHECK(routes == c->n_routes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct config_problems p = {0};
    struct conf *c = config_build("fuzz", (const char *)data, n, &p);

    CHECK((c != NULL) == (p.errors == 0));
    if (c)
        check_conf(c);
    for (uint32_t i = 0; i < p.n; i++) {
        CHECK(p.items[i].path && p.items[i].message && p.items[i].message[0]);
        CHECK(i == 0 || p.items[i - 1].line <= p.items[i].line);
    }
    (void)config_free(c);
    config_problems_free(&p);
    return 0;
}
