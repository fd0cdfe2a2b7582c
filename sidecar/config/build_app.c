/* build_app.c - the application: where it listens (app.ports, or the endpoints that inbound
 * listeners lead to on this machine), and what is asked of its leakWatch. */
#include "config/lint.h"

#include "config/problems.h" /* its count */

#include <arpa/inet.h>

struct addresses {
    struct builder *builder;
    uint32_t n, room;
    struct address *at;
};

static void add(struct addresses *list, const struct address *a)
{
    for (uint32_t i = 0; i < list->n; i++) {
        if (address_equal(&list->at[i], a))
            return;
    }
    if (list->n == list->room) {
        uint32_t room = list->room ? 2 * list->room : 4;
        struct address *at = builder_alloc(list->builder, room * sizeof(*at));
        if (!at)
            return;
        if (list->n > 0)
            memcpy(at, list->at, list->n * sizeof(*at));
        list->at = at;
        list->room = room;
    }
    list->at[list->n++] = *a;
}

/* Which of the two it listens on is not told. */
static void add_port(struct addresses *list, uint32_t port)
{
    struct address four = {.len = sizeof(struct sockaddr_in)};
    struct address six = {.len = sizeof(struct sockaddr_in6)};
    four.u.in = (struct sockaddr_in){.sin_family = AF_INET,
                                     .sin_port = htons((uint16_t)port),
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    six.u.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6,
                                      .sin6_port = htons((uint16_t)port),
                                      .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    add(list, &four);
    add(list, &six);
}

static void add_endpoint(struct addresses *list, const struct conf_endpoint *e)
{
    if (e->kind == ENDPOINT_NAME && str_ieq(e->host, STR("localhost")))
        add_port(list, e->port);
    else if (e->kind == ENDPOINT_ADDRESS &&
             (e->address.u.sa.sa_family == AF_UNIX || address_is_loopback(&e->address)))
        add(list, &e->address);
}

static void add_route(struct addresses *list, const struct conf_route *r)
{
    for (uint32_t i = 0; i < r->n_backends; i++) {
        const struct conf_upstream *u = r->backends[i].upstream;
        for (uint32_t k = 0; u && k < u->n_endpoints; k++)
            add_endpoint(list, &u->endpoints[k]);
    }
}

static void add_listeners(struct addresses *list, const struct conf *c)
{
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        const struct conf_listener *l = &c->listeners[i];
        for (uint32_t k = 0; l->direction == DIRECTION_INBOUND && k < l->n_routes; k++)
            add_route(list, &l->routes[k]);
    }
}

/* More samples have no room, fewer have no mean. */
static void check_leak_watch(struct builder *b)
{
    const struct leak_rules *r = &b->conf->app.leak;
    const struct yaml_node *leak = yaml_get(yaml_get(b->root, "app"), "leakWatch");
    const struct yaml_node *window = yaml_get(leak, "window"),
                           *interval = yaml_get(leak, "interval");
    char mine[PROBLEM_QUOTE_MAX], theirs[PROBLEM_QUOTE_MAX];
    if (r->interval == 0 || r->window == 0) /* told already */
        return;
    if (r->window < LEAK_SAMPLES_MIN * r->interval || r->window > LEAK_SAMPLES_MAX * r->interval)
        problem_at(b->problems, window ? window : interval,
                   "a window is from %d to %d intervals long: window %s, interval %s",
                   LEAK_SAMPLES_MIN, LEAK_SAMPLES_MAX, builder_duration(window, r->window, mine),
                   builder_duration(interval, r->interval, theirs));
}

void lint_leak_watch(struct builder *b)
{
    static const char *const keys[] = {"interval", "window", "threshold"};
    const struct yaml_node *leak = yaml_get(yaml_get(b->root, "app"), "leakWatch");
    for (size_t i = 0; i < ARRAY_LEN(keys) && !b->conf->app.leak.enabled; i++) {
        const struct yaml_node *it = yaml_get(leak, keys[i]);
        if (it)
            warning_at(b->problems, it, "has no effect: \"enabled\" is false");
    }
}

void build_app(struct builder *b)
{
    struct conf_app *app = &b->conf->app;
    struct addresses list = {.builder = b};

    check_leak_watch(b);
    for (uint32_t i = 0; i < app->n_ports; i++)
        add_port(&list, app->ports[i]);
    if (app->n_ports == 0 && b->problems->errors == b->errors_before)
        add_listeners(&list, b->conf);
    app->n_addresses = list.n;
    app->addresses = list.at;
}
