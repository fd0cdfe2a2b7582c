/* metrics_jwt.c - tokens and authorization. Labels are issuers, routes and words of ours: bounded
 * by the configuration. */
#include "admin/control.h"
#include "admin/exposition.h"
#include "admin/jwks_refresh.h"

#include "config/conf_authz.h"
#include "proxy/jwt_state.h"
#include "proxy/route_state.h"

typedef unsigned long long ull;

static void put_issuer(struct exposition *t, const struct control *c, const struct conf_jwt *j)
{
    uint64_t results[JWT_RESULTS] = {0}, cached = 0;
    for (uint32_t k = 0; k < c->process.n_workers; k++) {
        const struct jwt_state *st = c->generation->views[k]->jwts[j->index];
        cached += count_read(&st->cached);
        for (unsigned r = 0; r < JWT_RESULTS; r++)
            results[r] += count_read(&st->results[r]);
    }
    for (unsigned r = 0; r < JWT_RESULTS; r++) {
        if (results[r] > 0 || r == JWT_VALID)
            metric_put(t, "sluice_jwt_tokens_total{jwt=\"%.*s\",result=\"%s\"} %llu\n",
                       STR_FMT(j->name), jwt_result_word((enum jwt_result)r), (ull)results[r]);
    }
    metric_put(t, "sluice_jwt_tokens_total{jwt=\"%.*s\",result=\"cached\"} %llu\n",
               STR_FMT(j->name), (ull)cached);
}

static void put_route(struct exposition *t, const struct control *c, const struct conf_listener *l,
                      const struct conf_route *r)
{
    static const char *const words[AUTHZ_DECISIONS] = {
        [AUTHZ_ALLOWED] = "allowed",
        [AUTHZ_REFUSED] = "refused",
        [AUTHZ_DRY_RUN] = "dry_run",
    };
    for (int d = 0; d < AUTHZ_DECISIONS; d++) {
        uint64_t n = 0;
        for (uint32_t k = 0; k < c->process.n_workers; k++)
            n += count_read(&c->generation->views[k]->routes[r->index].state->stats.authz[d]);
        metric_put(
            t,
            "sluice_authz_requests_total{direction=\"%s\",route=\"%.*s\",decision=\"%s\"} %llu\n",
            l->direction == DIRECTION_INBOUND ? "inbound" : "outbound", STR_FMT(r->name), words[d],
            (ull)n);
    }
}

static void put_fetches(struct exposition *t, const struct control *c)
{
    const struct conf *conf = c->snapshot->conf;
    struct jwks_fetched f;
    metric_family(t, "jwt_key_fetches_total", "counter",
                  "Fetches of issuers' keys from their URLs, by the result.");
    for (uint32_t i = 0; i < conf->n_jwts; i++) {
        const struct conf_jwt *j = &conf->jwts[i];
        if (!jwks_refresh_state(c->jwks_refresh, j, &f))
            continue;
        for (unsigned r = 0; r < JWKS_RESULTS; r++)
            metric_put(t, "sluice_jwt_key_fetches_total{jwt=\"%.*s\",result=\"%s\"} %llu\n",
                       STR_FMT(j->name), jwks_result_word((enum jwks_result)r), (ull)f.results[r]);
    }
    metric_family(t, "jwt_key_age_seconds", "gauge",
                  "Since an issuer's keys were last fetched from their URL.");
    for (uint32_t i = 0; i < conf->n_jwts; i++) {
        if (jwks_refresh_state(c->jwks_refresh, &conf->jwts[i], &f) && f.at > 0)
            metric_put(t, "sluice_jwt_key_age_seconds{jwt=\"%.*s\"} %.3f\n",
                       STR_FMT(conf->jwts[i].name), (double)(clock_mono() - f.at) / USEC_PER_SEC);
    }
}

void metrics_jwt(struct exposition *t, const struct control *c)
{
    const struct conf *conf = c->snapshot->conf;
    const struct jwks_set *set = &c->certificates.set.jwks;
    const struct jwks *jwks = &c->certificates.jwks;
    metric_family(t, "jwt_tokens_total", "counter", "Tokens that were looked at, by the result.");
    for (uint32_t i = 0; i < conf->n_jwts; i++)
        put_issuer(t, c, &conf->jwts[i]);
    metric_family(t, "jwt_keys", "gauge", "Keys in force.");
    for (uint32_t i = 0; i < conf->n_jwts && i < set->n; i++)
        metric_put(t, "sluice_jwt_keys{jwt=\"%.*s\"} %u\n", STR_FMT(conf->jwts[i].name),
                   set->entries[i].keys ? jwt_keys_count(set->entries[i].keys) : 0);
    put_fetches(t, c);
    metric_family(t, "jwt_key_reloads_total", "counter",
                  "Changes of JWK set files that were taken, and those that were refused.");
    metric_put(t, "sluice_jwt_key_reloads_total{result=\"applied\"} %llu\n", (ull)jwks->applied);
    metric_put(t, "sluice_jwt_key_reloads_total{result=\"refused\"} %llu\n", (ull)jwks->refusals);
    metric_family(t, "jwt_key_last_reload_success", "gauge",
                  "1: all JWK set files are in force; 0: one was refused, and old keys stay.");
    metric_put(t, "sluice_jwt_key_last_reload_success %d\n", jwks->n_refused == 0);
}

void metrics_authz(struct exposition *t, const struct control *c)
{
    const struct conf *conf = c->snapshot->conf;
    metric_family(t, "authz_requests_total", "counter",
                  "Requests of routes with authz, by what was decided.");
    for (uint32_t i = 0; i < conf->n_listeners; i++) {
        const struct conf_listener *l = &conf->listeners[i];
        for (uint32_t k = 0; k < l->n_routes; k++) {
            if (l->routes[k].authz)
                put_route(t, c, l, &l->routes[k]);
        }
    }
}
