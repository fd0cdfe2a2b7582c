/* stream_limit.c - limit: may this request come through now? */
#include "proxy/stream_steps.h"

#include "http/hop.h"
#include "policies/jwt.h"
#include "proxy/route_limits.h"
#include "proxy/view.h"

#include <stdio.h>

enum { IP_BYTES = 16, OVERLOAD_RETRY_AFTER_MAX = 60 };

/* The IPv6 network that the client is in, or its IPv4 address; what a trusted proxy tells that is
 * neither stands for itself, as "unix" does. */
static struct str client_key(const struct stream *s, uint32_t prefix, uint8_t room[IP_BYTES])
{
    static const uint8_t four[12] = {[10] = 0xff, [11] = 0xff};
    struct ip ip = stream_client_ip(s);
    if (!ip.known)
        return hop_client_address(&s->req, s->peer, stream_trusted_hops(s));
    memcpy(room, ip.bytes, IP_BYTES);
    for (uint32_t i = 0; i < IP_BYTES && memcmp(room, four, sizeof(four)) != 0; i++) {
        uint32_t bits = prefix > 8 * i ? prefix - 8 * i : 0;
        room[i] &= (uint8_t)(bits >= 8 ? 0xff : 0xff00 >> bits);
    }
    return (struct str){(const char *)room, IP_BYTES};
}

/* Two issuers' claims are never the same, whatever they say (RFC 7519 §4.1.2), be it each other's
 * names: the order counts. */
static uint64_t hash_of(const struct rate_keys *keys, struct str issuer, struct str text)
{
    const uint64_t both[2] = {rate_keys_hash(keys, issuer), rate_keys_hash(keys, text)};
    return rate_keys_hash(keys, (struct str){(const char *)both, sizeof(both)});
}

/* The claims do not outlive their step, and this is the next one: what stands for each is kept. */
void stream_limit_note_claims(struct stream *s, const struct jwt_claims *claims, struct str issuer)
{
    const struct conf_route *r = s->route;
    char text[JWT_TEXT_MAX];
    for (uint32_t i = 0; i < r->n_rate_limits; i++) {
        const struct rate_keys *keys = s->view->routes[r->index].limits->at[i]->keys;
        uint64_t *key = &s->exchange->limit_claims[i];
        size_t n;
        *key = 0;
        if (claims && r->rate_limits[i].claim.p &&
            jwt_claim_text(claims, &r->rate_limits[i].claim_path, text, &n))
            *key = hash_of(keys, issuer, (struct str){text, n});
    }
}

void stream_limit_note_token(struct stream *s, const struct field *token)
{
    const struct conf_route *r = s->route;
    struct str name = field_name(&s->req, token);
    for (uint32_t i = 0; i < r->n_rate_limits && token->dropped; i++) {
        if (str_ieq(r->rate_limits[i].header, name))
            s->exchange->limit_claims[i] = rate_keys_hash(
                s->view->routes[r->index].limits->at[i]->keys, field_value(&s->req, token));
    }
}

static struct str claim_key(const struct stream *s, uint32_t i)
{
    const uint64_t *key = &s->exchange->limit_claims[i];
    return s->route->authz && *key != 0 ? (struct str){(const char *)key, sizeof(*key)} : STR_NONE;
}

static struct str key_of(const struct stream *s, uint32_t i, uint8_t room[IP_BYTES])
{
    const struct conf_rate_limit *c = &s->route->rate_limits[i];
    if (c->claim.p)
        return claim_key(s, i);
    if (c->by_client)
        return client_key(s, c->ipv6_prefix, room);
    if (field_id_of(c->header) == FIELD_HOST && s->prepared) /* before the route's rewrite */
        return message_str(&s->req, s->exchange->asked_authority);
    struct str value = message_value(&s->req, c->header);
    return value.p ? value : claim_key(s, i); /* all that have none are one */
}

static struct rate_verdict ask(const struct stream *s, uint32_t i)
{
    const struct conf_rate_limit *c = &s->route->rate_limits[i];
    struct route_limit *l = s->view->routes[s->route->index].limits->at[i];
    usec_t now = s->worker->loop.now;
    uint8_t room[IP_BYTES];
    return l->keys ? rate_keys_take(l->keys, &c->rule, key_of(s, i, room), now)
                   : rate_take(&l->word, &c->rule, now);
}

static void give_back(const struct stream *s, uint32_t i, const struct rate_verdict *v)
{
    struct route_limit *l = s->view->routes[s->route->index].limits->at[i];
    uint8_t room[IP_BYTES];
    if (l->keys)
        rate_keys_give_back(l->keys, key_of(s, i, room), v);
    else
        rate_give_back(&l->word, v);
}

static struct route_limit_stats *stats_of(const struct stream *s, uint32_t i)
{
    return &s->view->routes[s->route->index].limits->at[i]->worker[s->worker->id].stats;
}

/* What the others have given it is theirs again: a request that one limit refuses costs none. */
static void refuse(struct stream *s, uint32_t by, usec_t wait, const struct rate_verdict *given)
{
    count_add(&stats_of(s, by)->refused, 1);
    for (uint32_t i = 0; i < by; i++) {
        if (given[i].allowed)
            give_back(s, i, &given[i]);
    }
    s->retry_after = (uint32_t)((wait + USEC_PER_SEC - 1) / USEC_PER_SEC);
    s->rate_limit = (uint8_t)by;
    stream_reply(s, REASON_RATE_LIMITED, NULL);
}

bool stream_limit(struct stream *s)
{
    struct rate_verdict v[RATE_LIMITS_MAX];
    for (uint32_t i = 0; i < s->route->n_rate_limits; i++) {
        v[i] = ask(s, i);
        if (!v[i].allowed && !s->route->rate_limits[i].dry_run) {
            refuse(s, i, v[i].wait, v);
            return false;
        }
    }
    for (uint32_t i = 0; i < s->route->n_rate_limits; i++)
        count_add(v[i].allowed ? &stats_of(s, i)->allowed : &stats_of(s, i)->refused_dry_run, 1);
    return true;
}

void stream_refuse_overloaded(struct stream *s)
{
    usec_t hold = s->view->snapshot->conf->overload.hold; /* it does not end sooner */
    uint64_t seconds = (hold + USEC_PER_SEC - 1) / USEC_PER_SEC;
    s->retry_after = (uint32_t)min_u64(max_u64(seconds, 1), OVERLOAD_RETRY_AFTER_MAX);
    stream_reply(s, REASON_OVERLOADED, NULL);
}

/* draft-ietf-httpapi-ratelimit-headers, as its first versions have it and most clients know it. */
void stream_limit_answer(const struct stream *s, struct message *res)
{
    const struct conf_rate_limit *c = &s->route->rate_limits[s->rate_limit];
    char number[16];
    (void)snprintf(number, sizeof(number), "%u", c->rule.requests);
    (void)message_add(res, FIELD_OTHER, STR("RateLimit-Limit"), str_of(number));
    (void)message_add(res, FIELD_OTHER, STR("RateLimit-Remaining"), STR("0"));
    (void)snprintf(number, sizeof(number), "%u", s->retry_after);
    (void)message_add(res, FIELD_OTHER, STR("RateLimit-Reset"), str_of(number));
}
