/* certificates_show.c - the certificates in force, for /v1/config and the metrics. */
#include "admin/certificates.h"

#include "admin/config_state.h"
#include "base/utf8.h"

enum { LABEL_MAX = 160 };

/* --- one by one --- */

struct certificate {
    bool upstream;
    const char *direction; /* of a listener */
    struct str owner;      /* the listener's name, or the upstream's */
    struct str file;
    time_t not_after;
};

typedef void each_certificate(void *ctx, const struct certificate *it);

/* One file may be given twice. */
static bool seen_before(const struct tls_context *x, uint32_t n, struct str file)
{
    struct str other;
    time_t t;
    for (uint32_t i = 0; i < n; i++) {
        if (tls_context_certificate(x, i, &other, &t) && str_eq(other, file))
            return true;
    }
    return false;
}

static void each(const struct certificates *c, const struct conf *conf, each_certificate *fn,
                 void *ctx)
{
    for (uint32_t i = 0; i < c->set.n; i++) {
        const struct tls_context *x = c->set.entries[i].context;
        struct certificate it = {.upstream = i >= c->set.n_listeners};
        if (it.upstream) {
            it.owner = conf->upstreams[i - c->set.n_listeners].name;
        } else {
            it.owner = conf->listeners[i].name;
            it.direction =
                conf->listeners[i].direction == DIRECTION_INBOUND ? "inbound" : "outbound";
        }
        for (uint32_t k = 0; x && tls_context_certificate(x, k, &it.file, &it.not_after); k++) {
            if (!seen_before(x, k, it.file))
                fn(ctx, &it);
        }
    }
}

/* --- JSON --- */

static bool set(json_t *o, const char *key, json_t *value)
{
    return json_object_set_new(o, key, value) == 0;
}

static json_t *time_json(usec_t wall)
{
    char text[CLOCK_RFC3339_LEN];
    if (wall == 0)
        return json_null();
    clock_format_rfc3339(wall, text);
    return json_string(text);
}

static json_t *text_json(struct str s)
{
    char *clean = utf8_clean(s);
    json_t *o = clean ? json_string(clean) : NULL;
    free(clean);
    return o;
}

static void add_json(void *ctx, const struct certificate *it)
{
    json_t *o = json_object();
    (void)set(o, it->upstream ? "upstream" : "listener", text_json(it->owner));
    (void)set(o, "file", text_json(it->file));
    (void)set(o, "not_after", time_json((usec_t)it->not_after * USEC_PER_SEC));
    (void)json_array_append_new(ctx, o);
}

json_t *certificates_json(const struct certificates *c, const struct conf *conf)
{
    json_t *o = json_object(), *list = json_array();
    each(c, conf, add_json, list);
    bool ok = set(o, "in_force", list) && set(o, "last_applied", time_json(c->applied_wall)) &&
              set(o, "last_refused", time_json(c->refused_wall)) &&
              set(o, "applied", json_integer((json_int_t)c->applied)) &&
              set(o, "refused", json_integer((json_int_t)c->refusals)) &&
              set(o, "problems", config_problems_json(&c->problems));
    if (o && ok)
        return o;
    json_decref(o);
    return NULL;
}

/* --- metrics --- */

/* As a label's value: escaped; of a long name the end. out has 2 * LABEL_MAX + 1 bytes. */
static const char *label(struct str s, char *out)
{
    size_t o = 0, from = s.n > LABEL_MAX ? s.n - LABEL_MAX : 0;
    while (from < s.n && ((unsigned char)s.p[from] & 0xc0) == 0x80)
        from++;
    for (size_t i = from; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            out[o++] = '\\';
        out[o++] = s.p[i];
    }
    out[o] = '\0';
    return out;
}

struct expiry {
    struct exposition *t;
    time_t now;
};

static void put_expiry(void *ctx, const struct certificate *it)
{
    const struct expiry *e = ctx;
    char file[2 * LABEL_MAX + 1];
    long long left = (long long)it->not_after - (long long)e->now;
    if (it->upstream)
        metric_put(e->t, "sluice_certificate_expiry_seconds{upstream=\"%.*s\",file=\"%s\"} %lld\n",
                   STR_FMT(it->owner), label(it->file, file), left);
    else
        metric_put(e->t,
                   "sluice_certificate_expiry_seconds{direction=\"%s\",listener=\"%.*s\","
                   "file=\"%s\"} %lld\n",
                   it->direction, STR_FMT(it->owner), label(it->file, file), left);
}

void certificates_metrics(const struct certificates *c, const struct conf *conf,
                          struct exposition *t)
{
    struct expiry e = {t, (time_t)(clock_wall() / USEC_PER_SEC)};
    metric_family(t, "certificate_expiry_seconds", "gauge",
                  "Until a certificate in force expires; negative: it has.");
    each(c, conf, put_expiry, &e);
    metric_family(t, "certificate_reloads_total", "counter",
                  "Changes of certificate files that were taken, and those that were refused.");
    metric_put(t, "sluice_certificate_reloads_total{result=\"applied\"} %llu\n",
               (unsigned long long)c->applied);
    metric_put(t, "sluice_certificate_reloads_total{result=\"refused\"} %llu\n",
               (unsigned long long)c->refusals);
    metric_family(
        t, "certificate_last_reload_success", "gauge",
        "1: all certificate files are in force; 0: one was refused, and an old one stays.");
    metric_put(t, "sluice_certificate_last_reload_success %d\n", c->n_refused == 0);
}
