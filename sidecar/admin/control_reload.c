/* control_reload.c - a new configuration into force while traffic flows, or a refusal that changes
 * nothing. */
#include "admin/control_reload.h"

#include "admin/control.h"
#include "admin/jwks_refresh.h"
#include "admin/operator_words.h"
#include "base/mem.h"
#include "config/problems.h"
#include "proxy/access_log.h"

#include <errno.h>

static void reload_begin(struct control *c);
static void files_begin(struct control *c);

/* From here on nothing changes any more. */
static bool ends(const struct control *c)
{
    return drain_now(&c->process.drain) != DRAIN_SERVING || c->retiring;
}

/* --- the end of a round --- */

static void go_idle(struct control *c)
{
    struct reload *r = c->reload;
    bool told = !r->job.only_files;
    config_job_free(&r->job);
    r->step = RELOAD_IDLE;
    if (told)
        (void)channel_reloading(c->channel, false);
    if (!r->again) {
        if (r->again_files)
            files_begin(c);
        return;
    }
    r->again = false;
    r->trigger = r->again_trigger;
    r->waiters = r->again_waiters;
    r->again_waiters = NULL;
    reload_begin(c);
}

/* Takes the problems over. What runs goes on. */
static void refuse(struct control *c, struct config_problems *p)
{
    struct reload *r = c->reload;
    reload_log_problems(c->config.file, p);
    if (r->first) {
        config_problems_free(p);
        config_job_free(&r->job);
        r->step = RELOAD_IDLE;
        control_started(c, false);
        return;
    }
    log_error("reload (%s): refused; generation %llu stays in force",
              config_trigger_word(r->trigger), (unsigned long long)c->config.generation);
    reload_note_try(c, CONFIG_REFUSED, p);
    config_problems_free(p);
    reload_tell_waiters(c, CONFIG_REFUSED);
    go_idle(c);
}

void reload_refuse_because(struct control *c, const char *why)
{
    struct config_problems p = {0};
    problem_add(&p, 0, 0, "", false, "%s", why);
    refuse(c, &p);
}

static void settle_done(struct control *c)
{
    struct reload *r = c->reload;
    if (r->step == RELOAD_SETTLING && !r->saving && !c->closing_sockets)
        go_idle(c);
}

void control_reload_sockets_closed(struct control *c)
{
    settle_done(c);
}

static void on_saved(struct mail *m, void *owner)
{
    struct control *c = owner;
    struct reload *r = c->reload;
    (void)m;
    if (c->process.stopping)
        return;
    config_job_join(&r->job);
    r->saving = false;
    if (r->job.error < 0)
        log_error("last good copy in %s: %s", c->last_good, strerror(-r->job.error));
    settle_done(c);
}

static void save_last_good(struct control *c)
{
    struct reload *r = c->reload;
    if (!c->last_good || r->source != CONFIG_FROM_FILE)
        return;
    r->job.to = &c->mailbox;
    r->job.save = true;
    r->job.last_good = c->last_good;
    r->job.done = on_saved;
    int rc = config_job_start(&r->job);
    r->saving = rc == 0;
    if (rc < 0)
        log_error("last good copy in %s: %s", c->last_good, strerror(-rc));
}

/* Every worker has it. */
static void entered(struct control *c)
{
    struct reload *r = c->reload;
    struct config_problems none = {0};
    c->config.swap_last = 0;
    for (uint32_t i = 0; i < c->process.n_workers; i++)
        c->config.swap_last =
            max_u64(c->config.swap_last, count_read(&c->workers[i].stats.swap_us));
    c->config.swap_max = max_u64(c->config.swap_max, c->config.swap_last);
    reload_note_try(c, CONFIG_APPLIED, &none);
    certificates_settled(&c->certificates, c->generation);
    if (!r->first)
        log_info("reload (%s): generation %llu is in force after %.1f ms",
                 config_trigger_word(r->trigger), (unsigned long long)c->config.generation,
                 (double)c->config.last.took / 1e3);
    for (uint32_t i = 0; i < c->config.n_pending; i++)
        log_warn("%s: the change waits for a restart", c->config.pending[i]);
    r->first = false;
    r->step = RELOAD_SETTLING;
    save_last_good(c);
    (void)control_close_marked(c);
    reload_tell_waiters(c, CONFIG_APPLIED);
    settle_done(c);
}

/* --- views come and go --- */

static void count_generations(struct control *c)
{
    uint32_t n = 0;
    LIST_FOREACH (it, &c->generations)
        n++;
    c->config.generations = n;
    c->config.oldest =
        n > 0 ? LIST_ENTRY(c->generations.next, struct generation, link)->snapshot->generation : 0;
}

static void on_view_entered(struct mail *m, void *owner)
{
    struct control *c = owner;
    if (!c->process.stopping && generation_entered(CONTAINER_OF(m, struct view, in)))
        entered(c);
}

static void on_view_left(struct mail *m, void *owner)
{
    struct control *c = owner;
    if (c->process.stopping)
        return;
    generation_left(CONTAINER_OF(m, struct view, out));
    count_generations(c);
}

static void on_view_freed(struct mail *m, void *owner)
{
    struct control *c = owner;
    if (c->process.stopping)
        return;
    generation_freed(CONTAINER_OF(m, struct view, out));
    count_generations(c);
}

static void on_unknown_key(struct mail *m, void *owner)
{
    struct control *c = owner;
    jwks_refresh_asked(c->process.stopping ? NULL : c->jwks_refresh, m);
}

/* --- into force --- */

static int listen_fd(void *ctx, const struct conf_listener *l)
{
    return control_listener_fd(ctx, l);
}

static void addresses(void *ctx, const struct conf_upstream *u, const struct endpoint_address **ret,
                      uint32_t *ret_n)
{
    const struct control *c = ctx;
    discovery_addresses(c->discovery, u, ret, ret_n);
}

/* DNS says otherwise than before. */
static void on_addresses_changed(void *ctx, const struct conf_upstream *u)
{
    struct control *c = ctx;
    const struct endpoint_address *list;
    uint32_t n;
    discovery_addresses(c->discovery, u, &list, &n);
    int rc = generation_update(c->generation, u, list, n);
    health_checks_update(c->checks, u, c->generation->upstreams[u->index]);
    if (rc < 0)
        log_error("upstream %.*s: out of memory for its new addresses; the old ones stay",
                  STR_FMT(u->name));
}

static bool take_redaction(struct control *c)
{
    struct config_job *j = &c->reload->job;
    if (!c->log || !j->redact)
        return false;
    access_log_redact_by(c->log, j->redact);
    j->redact = NULL;
    return true;
}

static void take_process_settings(struct control *c)
{
    const struct conf *conf = c->snapshot->conf;
    struct reload *r = c->reload;
    log_set_level(conf->log_level);
    (void)take_redaction(c);
    c->process.close_listeners_at_drain = control_closes_listeners_at_drain(&conf->lifecycle);
    control_update_max_connections(c);
    if (r->watch)
        config_watch_configure(r->watch, &conf->reload);
    config_pending_free(c->config.pending, c->config.n_pending);
    c->config.pending = NULL;
    c->config.n_pending = 0;
    if (config_pending_restart(&r->at_start, conf, &c->config.pending, &c->config.n_pending) < 0)
        log_warn("out of memory: cannot tell which changes wait for a restart");
}

/* Nothing can fail from here on. */
static void put_in_force(struct control *c, struct generation *g)
{
    struct config_state *s = &c->config;
    list_push_back(&c->generations, &g->link);
    discovery_commit(c->discovery, g->snapshot->conf);
    c->generation = g;
    c->snapshot = g->snapshot;
    s->generation = g->snapshot->generation;
    s->source = c->reload->source;
    s->applied_wall = clock_wall();
    memcpy(s->sha256, c->reload->job.sha256, sizeof(s->sha256));
    count_generations(c);
    certificates_take(&c->certificates, g, &c->reload->job.tls, &c->reload->job.tls_problems);
    jwks_refresh_configure(c->jwks_refresh, g);
    certificates_watch(&c->certificates, c->snapshot->conf, NULL);
    control_keep_listeners(c, c->snapshot->conf);
    control_app_configure(c);
    take_process_settings(c);
    control_leases_configure(c);
    health_checks_configure(c->checks, c->snapshot->conf, g->upstreams);
    c->reload->step = RELOAD_ENTERING;
    if (c->reload->first)
        operator_words_take(c);
    generation_post(g);
    reload_hold_in_memory(c);
    operator_words_hold(c);
    if (c->reload->first)
        control_started(c, true);
}

static void apply(struct control *c)
{
    struct reload *r = c->reload;
    struct config_problems p = {0};
    struct snapshot *snapshot = r->first ? c->snapshot : NULL;
    struct conf *conf = r->first ? snapshot->conf : r->job.conf;

    if (ends(c) && !r->first) {
        discovery_abandon(c->discovery, conf);
        reload_refuse_because(c, "a drain runs: nothing changes any more");
        return;
    }
    if (control_open_listeners(c, conf, &p) < 0) {
        discovery_abandon(c->discovery, conf);
        refuse(c, &p);
        return;
    }
    if (!r->first) {
        snapshot = snapshot_new(conf, c->config.generation + 1);
        if (snapshot)
            r->job.conf = NULL;
    }
    struct generation_source from = {
        .workers = c->workers,
        .n_workers = c->process.n_workers,
        .in_force = c->generation,
        .listen_fd = listen_fd,
        .addresses = addresses,
        .ctx = c,
    };
    struct generation *g = snapshot ? generation_new(snapshot, &from) : NULL;
    if (g) {
        put_in_force(c, g);
        return;
    }
    discovery_abandon(c->discovery, conf);
    if (!r->first)
        (void)snapshot_free(snapshot);
    control_close_fresh(c);
    reload_refuse_because(c, "out of memory");
}

/* What is known of its names by now is what it begins with. */
static void on_resolved(void *ctx)
{
    apply(ctx);
}

static void resolve(struct control *c, const struct conf *conf)
{
    c->reload->step = RELOAD_RESOLVING;
    int rc = discovery_prepare(c->discovery, conf, on_resolved, c);
    if (rc < 0)
        reload_refuse_because(c, rc == -EIO ? "resolv.conf cannot be read" : "out of memory");
}

/* --- reading --- */

static void on_read(struct mail *m, void *owner)
{
    struct control *c = owner;
    struct reload *r = c->reload;
    struct config_job *j = &r->job;
    (void)m;
    if (c->process.stopping)
        return;
    config_job_join(j);
    if (j->looked && take_redaction(c))
        log_info("access log: redaction: the salt is the file's again");
    if (j->looked && !ends(c))
        certificates_look(&c->certificates, c->generation, c->config.file, &j->tls,
                          &j->tls_problems);
    if (j->only_files) {
        go_idle(c);
        return;
    }
    if (j->refused) {
        r->refused_for_files = true;
        certificates_watch(&c->certificates, c->snapshot->conf, j->refused);
    }
    if (j->unchanged) {
        struct config_problems none = {0};
        bool was_bad = !c->config.last_ok;
        reload_note_try(c, CONFIG_UNCHANGED, &none);
        if (was_bad)
            log_info("reload (%s): the file is again what is in force, generation %llu",
                     config_trigger_word(r->trigger), (unsigned long long)c->config.generation);
        reload_tell_waiters(c, CONFIG_UNCHANGED);
        go_idle(c);
        return;
    }
    if (!j->conf) {
        struct config_problems p = j->problems;
        j->problems = (struct config_problems){0};
        refuse(c, &p);
        return;
    }
    reload_log_problems(c->config.file, &j->problems);
    resolve(c, j->conf);
}

static struct config_job new_job(struct control *c)
{
    return (struct config_job){
        .file = c->config.file,
        .to = &c->mailbox,
        .done = on_read,
        .conf_in_force = c->snapshot->conf,
        .has_log = c->log != NULL,
        .salt_stands_in = c->log && access_log_salt_stands_in(c->log),
        .tls_in_force = &c->certificates.set,
    };
}

static void reload_begin(struct control *c)
{
    struct reload *r = c->reload;
    r->began = clock_mono();
    r->source = CONFIG_FROM_FILE;
    r->step = RELOAD_READING;
    r->refused_for_files = false;
    r->job = new_job(c);
    /* What stands in for a bad file is not what the file should become. */
    if (c->config.source == CONFIG_FROM_FILE || c->config.last_ok)
        memcpy(r->job.in_force, c->config.sha256, sizeof(r->job.in_force));
    (void)channel_reloading(c->channel, true);
    int rc = config_job_start(&r->job);
    if (rc < 0)
        reload_refuse_because(c, strerror(-rc));
}

/* Nothing but the certificates' files. */
static void files_begin(struct control *c)
{
    struct reload *r = c->reload;
    r->again_files = false;
    r->step = RELOAD_READING;
    r->job = new_job(c);
    r->job.only_files = true;
    int rc = config_job_start(&r->job);
    if (rc == 0)
        return;
    log_error("certificates: their files cannot be read: %s", strerror(-rc));
    r->step = RELOAD_IDLE;
}

/* --- asking for one --- */

void control_reload(struct control *c, enum config_trigger trigger, struct http_request *req)
{
    struct reload *r = c->reload;
    if (ends(c)) {
        if (req)
            http_reply_problem(req, 409, "draining", "A drain runs: nothing changes any more.");
        else
            log_warn("reload (%s): refused, a drain runs", config_trigger_word(trigger));
        return;
    }
    bool idle = r->step == RELOAD_IDLE;
    if (req && !reload_add_waiter(idle ? &r->waiters : &r->again_waiters, req))
        return;
    if (idle) {
        r->trigger = trigger;
        reload_begin(c);
        return;
    }
    r->again = true;
    r->again_trigger = trigger;
}

static void on_file_changed(void *ctx, bool by_poll)
{
    struct control *c = ctx;
    if (!ends(c))
        control_reload(c, by_poll ? CONFIG_BY_POLL : CONFIG_BY_WATCH, NULL);
}

static void on_files_news(void *ctx, enum files_news how)
{
    struct control *c = ctx;
    struct reload *r = c->reload;
    if (ends(c))
        return;
    if (r->refused_for_files && how != FILES_LOOK)
        control_reload(c, how == FILES_BY_POLL ? CONFIG_BY_POLL : CONFIG_BY_WATCH, NULL);
    else if (r->step == RELOAD_IDLE)
        files_begin(c);
    else
        r->again_files = true;
}

/* --- the beginning and the end --- */

void reload_connect(struct control *c)
{
    c->process.control = &c->mailbox;
    c->process.on_view_entered = on_view_entered;
    c->process.on_view_left = on_view_left;
    c->process.on_view_freed = on_view_freed;
    c->process.on_unknown_key = on_unknown_key;
}

void control_first_reload(struct control *c)
{
    struct reload *r = c->reload;
    const struct conf *conf = c->snapshot->conf;
    r->watch = config_watch_new(&c->loop, c->config.file, &conf->reload, on_file_changed, c);
    if (!r->watch)
        log_warn("%s is not watched: out of memory", c->config.file);
    c->certificates.watch = files_watch_new(&c->loop, on_files_news, c);
    if (!c->certificates.watch)
        log_warn("the certificates' files are not watched: out of memory");
    c->discovery = discovery_new(&c->loop, &conf->dns, on_addresses_changed, c);
    if (c->discovery)
        resolve(c, conf);
    else
        reload_refuse_because(c, "out of memory");
}

void control_reload_unwatch(struct control *c)
{
    if (!c->reload)
        return;
    c->reload->watch = config_watch_free(c->reload->watch);
    c->certificates.watch = files_watch_free(c->certificates.watch);
}

void control_reload_join(struct control *c)
{
    struct reload *r = c->reload;
    if (r && (r->step == RELOAD_READING || r->saving))
        config_job_join(&r->job);
}

void control_reload_free(struct control *c)
{
    struct reload *r = c->reload;
    if (!r)
        return;
    config_job_free(&r->job);
    r->watch = config_watch_free(r->watch);
    certificates_free(&c->certificates);
    c->discovery = discovery_free(c->discovery);
    while (r->waiters || r->again_waiters) {
        struct reload_waiter **list = r->waiters ? &r->waiters : &r->again_waiters;
        struct reload_waiter *w = *list;
        *list = w->next;
        free(w); /* its request went with the server */
    }
    r->at_start_arena = arena_free(r->at_start_arena);
    config_state_free(&c->config);
    free(r);
    c->reload = NULL;
}
