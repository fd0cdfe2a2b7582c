/* control_leaks.c - what the application takes, as the control thread has it sampled and told. */
#include "admin/control.h"

#include "admin/exposition.h"
#include "lifecycle/leak_watch.h"

static pid_t pid_of_app(void *ctx)
{
    const struct control *c = ctx;
    return app_pid(c->app.watch);
}

static uint64_t connections(void *ctx)
{
    return control_app_connections(ctx);
}

void control_leaks_start(struct control *c)
{
    struct leak_watch_source source = {pid_of_app, connections, c};
    c->app.leaks = leak_watch_new(&c->loop, &source);
    if (!c->app.leaks)
        log_warn("what the application takes is not watched: out of memory");
}

void control_leaks_configure(struct control *c)
{
    if (c->app.leaks)
        leak_watch_configure(c->app.leaks, &c->snapshot->conf->app.leak);
}

void control_leaks_stop(struct control *c)
{
    if (c->app.leaks)
        leak_watch_stop(c->app.leaks);
}

void control_leaks_free(struct control *c)
{
    c->app.leaks = leak_watch_free(c->app.leaks);
}

json_t *control_leaks_json(const struct control *c)
{
    return c->app.leaks ? leak_watch_json(c->app.leaks) : json_null();
}

static void put_usage(const struct leak_watch *w, struct exposition *t)
{
    static const char *const help[LEAK_RESOURCES] = {
        [LEAK_FDS] = "Descriptors that the application has open.",
        [LEAK_THREADS] = "Its threads.",
        [LEAK_RSS] = "Its resident memory.",
        [LEAK_SOCKETS] = "Sockets that it has open.",
    };
    uint64_t value[LEAK_RESOURCES];
    uint32_t processes = 0;
    bool known = leak_watch_usage(w, value, &processes);
    metric_family(t, "app_processes", "gauge", "Processes of the application that are sampled.");
    metric_put(t, "sluice_app_processes %u\n", processes);
    for (int r = 0; r < LEAK_RESOURCES; r++) {
        char name[32];
        const char *word = leak_word((enum leak_resource)r);
        (void)snprintf(name, sizeof(name), "app_%s", word);
        metric_family(t, name, "gauge", help[r]);
        if (known && value[r] != LEAK_UNKNOWN)
            metric_put(t, "sluice_app_%s %llu\n", word, (unsigned long long)value[r]);
    }
}

void control_leaks_metrics(const struct control *c, struct exposition *t)
{
    const struct leak_watch *w = c->app.leaks;
    if (!w)
        return;
    put_usage(w, t);
    metric_family(t, "app_leak_suspected", "gauge",
                  "1: this resource of the application only grows.");
    for (int r = 0; r < LEAK_RESOURCES; r++)
        metric_put(t, "sluice_app_leak_suspected{resource=\"%s\"} %d\n",
                   leak_word((enum leak_resource)r), leak_watch_suspects(w, (enum leak_resource)r));
    metric_family(t, "app_leak_reports_total", "counter", "Reports that it grows, in the log.");
    for (int r = 0; r < LEAK_RESOURCES; r++)
        metric_put(t, "sluice_app_leak_reports_total{resource=\"%s\"} %llu\n",
                   leak_word((enum leak_resource)r),
                   (unsigned long long)leak_watch_reports(w, (enum leak_resource)r));
}
