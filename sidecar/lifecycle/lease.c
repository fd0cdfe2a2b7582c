/* lease.c - what is held: taken on, renewed, forgotten. */
#include "lifecycle/lease_parts.h"

#include "base/log.h"
#include "base/mem.h"
#include "lifecycle/cleanup_conf.h"

#include <errno.h>
#include <openssl/rand.h>
#include <unistd.h>

#define CLOSE_PATIENCE (200 * USEC_PER_MSEC)

typedef unsigned long long ull;

/* --- the registry ------------------------------------------------------------------------ */

struct leases *leases_new(struct loop *l, struct mailbox *mailbox, struct cleanup_engine *engine)
{
    struct leases *ls = mem_zalloc(sizeof(*ls));
    if (!ls)
        return NULL;
    ls->loop = l;
    ls->mailbox = mailbox;
    ls->engine = engine;
    list_init(&ls->all);
    list_init(&ls->writes);
    list_init(&ls->unsent);
    cleanup_order_init(&ls->order);
    timer_init(&ls->timer, leases_on_timer);
    ls->max = 10000;
    ls->concurrency = 16;
    ls->max_ttl = 24 * 3600 * USEC_PER_SEC;
    if (RAND_bytes(ls->salt, sizeof(ls->salt)) != 1) {
        free(ls);
        return NULL;
    }
    return ls;
}

struct leases *leases_free(struct leases *ls)
{
    if (!ls)
        return NULL;
    ls->cleaned = NULL;
    while (!list_empty(&ls->all))
        lease_free(LIST_ENTRY(ls->all.next, struct lease, by_age));
    /* Their owners may be gone before the disk is done with them. */
    LIST_FOREACH_SAFE (it, &ls->writes) {
        LIST_ENTRY(it, struct lease_write, link)->owner = NULL;
        list_remove(it);
    }
    struct list *unsent;
    while ((unsent = list_pop(&ls->unsent)))
        free(LIST_ENTRY(unsent, struct lease_write, link));
    leases_abandon_opening(ls);
    ls->journal = journal_close(ls->journal, CLOSE_PATIENCE);
    timer_stop(ls->loop, &ls->timer);
    free(ls->journal_path);
    free(ls->journal_key_file);
    free(ls->ids);
    free(ls);
    return NULL;
}

static struct lease *add_static(struct leases *ls, const struct conf_cleanup *c, uint32_t place)
{
    struct lease *l = lease_add(ls, 0, LEASE_STATIC, c->name, STR_NONE);
    if (!l)
        return NULL;
    l->action = cleanup_from_conf(c);
    if (!l->action || lease_set_after(l, c->after, c->n_after) < 0) {
        lease_free(l);
        return NULL;
    }
    l->state = LEASE_HELD;
    l->acquired_wall = clock_wall();
    l->item.age = place; /* below all that are acquired */
    return l;
}

/* Those up to that one. */
static void drop_statics(struct leases *ls, const struct list *marked)
{
    LIST_FOREACH_SAFE (it, &ls->all) {
        struct lease *l = LIST_ENTRY(it, struct lease, by_age);
        bool last = it == marked;
        if (l->kind == LEASE_STATIC && l->state == LEASE_HELD)
            lease_free(l);
        if (last)
            break;
    }
}

static int take_statics(struct leases *ls, const struct conf *conf)
{
    struct list *last_old = list_last(&ls->all);
    uint32_t made = 0;
    for (uint32_t i = 0; i < conf->n_cleanups; i++) {
        if (!add_static(ls, &conf->cleanups[i], i + 1))
            break;
        made++;
    }
    if (made == conf->n_cleanups) {
        if (last_old)
            drop_statics(ls, last_old);
        return 0;
    }
    while (made-- > 0)
        lease_free(LIST_ENTRY(list_last(&ls->all), struct lease, by_age));
    return -ENOMEM;
}

static int take_journal(struct leases *ls, const struct conf_leases *c)
{
    if (c->journal_path.n > 0)
        ls->journal_path = mem_strndup(c->journal_path);
    if (c->journal_key_file.n > 0)
        ls->journal_key_file = mem_strndup(c->journal_key_file);
    ls->journal_given = c->journal_given;
    return (c->journal_path.n > 0 && !ls->journal_path) ||
                   (c->journal_key_file.n > 0 && !ls->journal_key_file)
               ? -ENOMEM
               : 0;
}

int leases_configure(struct leases *ls, const struct conf *conf)
{
    const char *why;
    int rc = ls->configured ? 0 : take_journal(ls, &conf->leases);
    if (rc < 0)
        return rc;
    ls->configured = true;
    ls->max = conf->leases.max;
    ls->max_ttl = conf->leases.max_ttl;
    ls->concurrency = conf->leases.concurrency;
    ls->on_failure_allow = conf->leases.on_failure == JOURNAL_ALLOW;
    cleanup_engine_allow_link_local(ls->engine, conf->allow_link_local);
    if (ls->cleaning)
        return 0;
    for (uint32_t i = 0; i < conf->n_cleanups; i++) {
        if (!conf->cleanups[i].request.given || cleanup_engine_ready(ls->engine, &why))
            continue;
        log_error("cleanups: %s: no request can be made", why);
        break;
    }
    return take_statics(ls, conf);
}

static void on_tick_start(struct leases *ls)
{
    usec_t due = USEC_NEVER;
    LIST_FOREACH (it, &ls->all) {
        usec_t d = lease_due(LIST_ENTRY(it, struct lease, by_age));
        due = d < due ? d : due;
    }
    leases_look_at(ls, due);
}

void leases_start(struct leases *ls)
{
    const char *why;
    ls->started = true;
    /* Where it was not asked for it is made when there is something to write. */
    if (ls->journal_path && (ls->journal_given || access(ls->journal_path, F_OK) == 0))
        leases_open_journal(ls);
    if (ls->n > 0 && !cleanup_engine_ready(ls->engine, &why))
        log_error("leases: %s: no request can be made", why);
    on_tick_start(ls);
    leases_pump(ls);
}

void leases_tick(struct leases *ls)
{
    if (ls->cleaning)
        return;
    if (ls->journal)
        leases_poll_journal(ls);
    else
        leases_open_again(ls);
}

void leases_retire(struct leases *ls)
{
    uint64_t lost = 0;
    ls->retiring = true;
    timer_set(ls->loop, &ls->timer, 0);
    LIST_FOREACH_SAFE (it, &ls->all) {
        struct lease *l = LIST_ENTRY(it, struct lease, by_age);
        /* What runs goes on to its end: it has been decided. */
        if (l->state == LEASE_RELEASING)
            continue;
        if (l->kind == LEASE_STATIC || l->state == LEASE_WAITING)
            lease_free(l);
        else if (!ls->journal && !ls->opening)
            lost++;
    }
    if (lost > 0)
        log_error("audit: %llu leases are lost: there is no journal to hand them over by",
                  (ull)lost);
}

uint64_t leases_max_ttl(const struct leases *ls)
{
    return ls->max_ttl;
}

/* --- acquiring --------------------------------------------------------------------------- */

/* Everything but the journal. */
static struct lease *make(struct leases *ls, const struct lease_new *n)
{
    struct cleanup_action a = *n->action;
    usec_t now = clock_mono();
    struct lease *l = lease_add(ls, 0, n->kind, n->name, n->key);
    if (!l)
        return NULL;
    if (a.timeout == 0) {
        a.timeout = 5 * USEC_PER_SEC;
        a.retries = 3;
    }
    if (lease_set_action(l, &a, NULL) < 0 || lease_set_after(l, n->after, n->n_after) < 0) {
        lease_free(l);
        return NULL;
    }
    l->duplicate = n->duplicate;
    l->ttl = n->ttl;
    l->expires = n->ttl > 0 ? now + n->ttl : 0;
    l->acquired_wall = clock_wall();
    l->holder = n->holder;
    l->disconnect_grace = n->disconnect_grace;
    return l;
}

static void tell_acquired(const struct lease *l)
{
    char key[LEASE_KEY_SHOWN], shown[CLEANUP_SHOWN_MAX];
    lease_key_shown(l, key);
    log_info("audit: lease acquired: id %016llx name %s kind %s key #%s ttl %llu s, release %s",
             (ull)l->id, l->name, lease_kind_word(l->kind), key, (ull)(l->ttl / USEC_PER_SEC),
             cleanup_action_shown(l->action, shown));
}

/* It is not held; what the other side has given goes back all the same. */
static int refuse(struct leases *ls, const struct lease_new *n, int rc)
{
    struct lease *l;
    ls->stats.refused++;
    if (n->kind != LEASE_LEARNED || ls->n >= 2 * (uint64_t)ls->max)
        return rc;
    l = make(ls, n);
    if (!l)
        return rc;
    lease_queue(l, LEASE_BY_REFUSAL);
    leases_pump(ls);
    return rc;
}

static int count_one_more(struct lease *l, const struct lease_new *n, lease_done *done, void *ctx)
{
    if (l->refs == UINT32_MAX)
        return -EUSERS;
    l->refs++;
    l->holder = n->holder ? n->holder : l->holder;
    l->grace_at = 0;
    if (n->ttl > 0) {
        l->ttl = n->ttl;
        l->expires = clock_mono() + n->ttl;
        leases_look_at(l->owner, lease_due(l));
    }
    int rc = lease_record(l, false, 0, done, ctx);
    if (rc < 0)
        l->refs--;
    return rc;
}

int leases_acquire(struct leases *ls, const struct lease_new *n, lease_done *done, void *ctx)
{
    const char *why;
    int rc;
    if (n->name.n == 0 || n->name.n > LEASE_NAME_MAX || n->key.n > LEASE_KEY_MAX ||
        n->n_after > LEASE_AFTER_MAX || n->action->n_fields > LEASE_FIELDS_MAX)
        return -EMSGSIZE;
    if (!cleanup_engine_ready(ls->engine, &why)) {
        log_error("a lease is refused: %s", why);
        return -ELIBACC;
    }
    struct lease *old =
        n->duplicate == LEASE_DUPLICATE_ADDS ? NULL : lease_find_key(ls, n->name, n->key);
    bool held = old && (old->state == LEASE_PENDING || old->state == LEASE_HELD);
    if (held && n->duplicate == LEASE_DUPLICATE_COUNTS)
        return count_one_more(old, n, done, ctx);
    rc = ls->cleaning ? -ESHUTDOWN : !old && ls->n >= ls->max ? -EUSERS : 0;
    if (rc < 0)
        return refuse(ls, n, rc);
    struct lease *l = make(ls, n);
    if (!l)
        return -ENOMEM;
    uint64_t id = l->id;
    tell_acquired(l);
    leases_look_at(ls, lease_due(l));
    rc = lease_record(l, true, old ? old->id : 0, done, ctx);
    if (rc < 0) {
        lease_free(l);
        return rc;
    }
    l = lease_find(ls, id);
    /* It was on its way when its holder ended. */
    if (l && n->began != 0 && n->began < ls->gone_at && !ls->retiring) {
        lease_queue(l, LEASE_BY_HOLDER);
        leases_pump(ls);
    }
    return 0;
}

/* --- renewing and forgetting ------------------------------------------------------------- */

int leases_renew(struct leases *ls, uint64_t id, usec_t ttl, lease_done *done, void *ctx)
{
    struct lease *l = lease_find(ls, id);
    if (!l || l->kind == LEASE_STATIC || (l->state != LEASE_HELD && l->state != LEASE_PENDING))
        return -ENOENT;
    if (ttl > 0)
        l->ttl = ttl;
    l->grace_at = 0;
    l->expires = l->ttl > 0 ? clock_mono() + l->ttl : 0;
    ls->stats.renewed++;
    leases_look_at(ls, lease_due(l));
    return lease_record(l, false, 0, done, ctx);
}

static void forget(struct lease *l)
{
    log_info("audit: lease forgotten: id %016llx name %s kind %s", (ull)l->id, l->name,
             lease_kind_word(l->kind));
    l->owner->stats.forgotten++;
    lease_record_drop(l);
    lease_settle(l);
}

void leases_forget(struct leases *ls, struct str name, struct str key)
{
    struct lease *l = lease_find_key(ls, name, key);
    if (!l) {
        leases_poll_journal(ls); /* at an upgrade the other process may have taken it on */
        l = lease_find_key(ls, name, key);
    }
    if (!l)
        return;
    if (l->duplicate == LEASE_DUPLICATE_COUNTS && l->refs > 1 &&
        (l->state == LEASE_PENDING || l->state == LEASE_HELD)) {
        l->refs--;
        lease_record_again(l);
        return;
    }
    forget(l);
    leases_pump(ls);
}

int leases_drop(struct leases *ls, uint64_t id)
{
    struct lease *l = lease_find(ls, id);
    if (!l || l->kind == LEASE_STATIC)
        return -ENOENT;
    forget(l);
    leases_pump(ls);
    return 0;
}
