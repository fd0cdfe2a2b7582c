/* learning.c - learned sessions on a stream: the request, and what its response gives. */
#include "proxy/learning_parts.h"

#include "base/mem.h"
#include "proxy/learn_mail.h"
#include "proxy/listener.h"
#include "proxy/view.h"

#include <errno.h>

static void count(struct stream *s, enum learn_count what)
{
    count_add(&s->worker->stats.learned[what], 1);
}

/* --- heads, as the rules read them --- */

static bool field_of(const void *ctx, uint32_t i, struct str *ret_name, struct str *ret_value)
{
    const struct message *m = ctx;
    if (i >= m->n_fields)
        return false;
    const struct field *f = &m->fields[i];
    *ret_name = f->dropped ? STR_NONE : field_name(m, f);
    *ret_value = f->dropped ? STR_NONE : field_value(m, f);
    return true;
}

static struct learn_head head_of(const struct message *m)
{
    return (struct learn_head){
        .method = message_str(m, m->method_text),
        .path = message_str(m, m->path),
        .query = message_str(m, m->query),
        .field = field_of,
        .ctx = m,
    };
}

/* --- the request --- */

static struct learn_part *spare_part(struct worker *w)
{
    if (!w->learn.spare)
        w->learn.spare = mem_alloc(sizeof(*w->learn.spare));
    return w->learn.spare;
}

static void look_at_body(struct learn_part *p, const struct learn_take *takes, uint32_t n,
                         enum learn_from from)
{
    p->n_json = learn_body_values(takes, n, from, &p->values, p->json);
    p->looks = p->n_json > 0;
    p->seen = 0;
    if (p->looks)
        json_take_init(&p->take, p->json, p->n_json);
}

/* NULL: it does not look like that, or memory is short. */
static struct learn_part *match(struct stream *s, const struct learn_rule *r,
                                const struct learn_pattern *pattern)
{
    struct learn_part *p = spare_part(s->worker);
    struct learn_head head = head_of(&s->req);
    if (!p)
        return NULL;
    learn_values_clear(&p->values);
    if (!learn_matches(pattern, &head, &p->values))
        return NULL;
    s->worker->learn.spare = NULL;
    p->rule = r;
    bool acquires = pattern == &r->acquire;
    look_at_body(p, acquires ? r->takes : r->release_takes,
                 acquires ? r->n_takes : r->n_release_takes, LEARN_REQUEST_JSON);
    return p;
}

struct learn_values *learn_uses(struct stream *s, const struct learn_rule *r)
{
    struct learn_part *p = spare_part(s->worker);
    struct learn_head head = head_of(&s->req);
    if (!p)
        return NULL;
    learn_values_clear(&p->values);
    return learn_matches(&r->use, &head, &p->values) ? &p->values : NULL;
}

static bool takes_json(const struct learn_rule *r)
{
    for (uint32_t i = 0; i < r->n_takes; i++) {
        if (r->takes[i].from == LEARN_JSON)
            return true;
    }
    return false;
}

/* So that the body is plain (RFC 9110 §12.5.3). 0 or -ENOMEM. */
static int ask_for_plain(struct message *m)
{
    for (uint32_t i = 0; i < m->n_fields; i++) {
        if (str_ieq(field_name(m, &m->fields[i]), STR("accept-encoding")))
            m->fields[i].dropped = 1;
    }
    return message_add(m, FIELD_OTHER, STR("Accept-Encoding"), STR("identity"));
}

static struct learning *make(struct stream *s, struct learn_part *acquire,
                             struct learn_part *release)
{
    struct learning *l = mem_zalloc(sizeof(*l));
    if (!l) {
        free(acquire);
        free(release);
        return NULL;
    }
    l->stream = s;
    l->acquire = acquire;
    l->release = release;
    l->state = acquire ? LEARN_ASKED : LEARN_SETTLED;
    if (acquire) {
        s->worker->learn.pending++;
        count_add(&s->worker->stats.learn_pending, 1);
    }
    return l;
}

/* Of the rules, the first that fits. */
static void match_all(struct stream *s, const struct learn_rules *rules,
                      struct learn_part **acquire, struct learn_part **release)
{
    *acquire = *release = NULL;
    for (uint32_t i = 0; i < rules->n; i++) {
        const struct learn_rule *r = &rules->rules[i];
        if (!*acquire)
            *acquire = match(s, r, &r->acquire);
        if (!*release)
            *release = match(s, r, &r->release);
    }
}

bool learn_begin(struct stream *s)
{
    struct learn_part *acquire, *release;
    const struct conf *conf = s->view->snapshot->conf;
    if (stream_wants_upgrade(s))
        return true;
    if (stream_prepare(s) < 0) {
        stream_reply(s, REASON_OUT_OF_MEMORY, NULL);
        return false;
    }
    learn_note_use(s);
    match_all(s, s->route->learn, &acquire, &release);
    if (!acquire && !release)
        return true;
    if (acquire && s->worker->learn.pending >= conf->max_acquisitions) {
        count(s, LEARN_COUNT_LIMIT);
        free(acquire);
        acquire = NULL;
        if (!learn_allows(s)) {
            free(release);
            stream_reply(s, REASON_LEARN_LIMIT, NULL);
            return false;
        }
    }
    if (acquire && takes_json(acquire->rule) && ask_for_plain(&s->req) < 0) {
        free(acquire);
        free(release);
        stream_reply(s, REASON_OUT_OF_MEMORY, NULL);
        return false;
    }
    s->learn = acquire || release ? make(s, acquire, release) : NULL;
    if (s->learn || !acquire)
        return true;
    stream_reply(s, REASON_OUT_OF_MEMORY, NULL);
    return false;
}

/* Behind maxBody nothing is looked at: its values are missing then. */
static void look(struct learn_part *p, const char *bytes, size_t n)
{
    if (!p || !p->looks)
        return;
    p->seen += n;
    if (p->seen > p->rule->max_body)
        p->looks = false;
    else
        (void)json_take_feed(&p->take, bytes, n);
}

void learn_on_request_body(struct stream *s, const char *p, size_t n)
{
    if (s->learn->state == LEARN_ASKED)
        look(s->learn->acquire, p, n);
    look(s->learn->release, p, n);
}

/* What its body had; once. */
static void take_body(struct learn_part *p, const struct learn_take *takes, uint32_t n,
                      enum learn_from from)
{
    if (p->looks && json_take_end(&p->take) == JSON_WHOLE)
        learn_take_body(takes, n, from, p->json, &p->values);
    p->looks = false;
}

/* --- giving back, by the application itself --- */

static void settle_release(struct stream *s)
{
    struct learn_part *p = s->learn->release;
    const struct learn_rule *r = p->rule;
    char key[LEARN_KEY_MAX];
    size_t n = 0;
    s->learn->release = NULL;
    if (learn_status_gone(s->exchange->res.status)) {
        take_body(p, r->release_takes, r->n_release_takes, LEARN_REQUEST_JSON);
        if (template_render(&r->key, p->values.v, key, sizeof(key), &n) == 0) {
            count(s, LEARN_COUNT_GIVEN_BACK);
            learn_tell_forget(s->worker, r->name, (struct str){key, n});
        }
    }
    free(p);
}

/* --- acquiring --- */

static void settled(struct learning *l)
{
    if (l->state == LEARN_SETTLED)
        return;
    l->state = LEARN_SETTLED;
    l->stream->worker->learn.pending--;
    count_add(&l->stream->worker->stats.learn_pending, -1);
}

/* Nothing is learned, and nothing is held back. */
static void pass(struct stream *s, enum learn_count why)
{
    count(s, why);
    settled(s->learn);
}

/* All values are there, or never will be. True: the response waits for the journal. */
static bool acquire_now(struct stream *s)
{
    struct learning *l = s->learn;
    int rc = 0;
    l->acquisition =
        learn_acquisition(s, l->acquire->rule, &l->acquire->values, learn_holder(s), &rc);
    if (!l->acquisition) {
        pass(s, rc == -ENOMEM ? LEARN_COUNT_REFUSED : LEARN_COUNT_NOT_FOUND);
        return false;
    }
    l->acquisition->learning = l;
    l->state = LEARN_JOURNALING;
    l->deadline = s->worker->loop.now + l->acquire->rule->journal_timeout;
    learn_send(l->acquisition);
    return true;
}

static bool is_encoded(const struct message *m)
{
    const struct field *f = message_find(m, FIELD_CONTENT_ENCODING);
    return f && !str_ieq(field_value(m, f), STR("identity"));
}

/* True: its body is looked at, and held back. */
static bool begin_reading(struct stream *s)
{
    struct learn_part *p = s->learn->acquire;
    const struct message *m = &s->exchange->res;
    enum learn_count why = m->body == BODY_NONE ? LEARN_COUNT_NOT_FOUND
                           : is_encoded(m)      ? LEARN_COUNT_ENCODED
                           : m->body == BODY_LENGTH && m->content_length > p->rule->max_body
                               ? LEARN_COUNT_TOO_LONG
                               : LEARN_COUNTS;
    if (why != LEARN_COUNTS) {
        pass(s, why);
        return false;
    }
    look_at_body(p, p->rule->takes, p->rule->n_takes, LEARN_JSON);
    s->learn->state = LEARN_READING;
    return true;
}

bool learn_on_response(struct stream *s)
{
    struct learning *l = s->learn;
    struct learn_head head = head_of(&s->exchange->res);
    if (l->release)
        settle_release(s);
    if (l->state != LEARN_ASKED)
        return false;
    struct learn_part *p = l->acquire;
    if (!learn_status_fits(p->rule, s->exchange->res.status)) {
        settled(l);
        return learn_orphaned(s);
    }
    take_body(p, p->rule->takes, p->rule->n_takes, LEARN_REQUEST_JSON);
    learn_take_head(p->rule, &head, &p->values);
    bool waits = takes_json(p->rule) ? begin_reading(s) : acquire_now(s);
    if ((!waits || l->state == LEARN_JOURNALING) && learn_orphaned(s))
        return true;
    if (!waits)
        return false;
    s->response.to = NULL; /* its body waits in relay.early */
    if (s->deadline_changed)
        s->deadline_changed(s);
    return true;
}

/* Out with what was held back. */
static void let_go(struct stream *s)
{
    settled(s->learn);
    stream_give_response(s);
    if (s->step == STREAM_FINISHED)
        return;
    relay_open(&s->response, &s->worker->loop.bufs, s->down);
}

/* Reading is over without a result. */
static bool stop_reading(struct stream *s, enum learn_count why)
{
    pass(s, why);
    if (learn_orphaned(s))
        return false;
    let_go(s);
    return s->step != STREAM_FINISHED;
}

bool learn_on_response_body(struct stream *s, const char *p, size_t n)
{
    struct learning *l = s->learn;
    struct learn_part *part = l->acquire;
    struct buf_pool *bufs = &s->worker->loop.bufs;
    if (l->state != LEARN_READING && l->state != LEARN_JOURNALING)
        return false;
    s->active_at = s->worker->loop.now;
    if (l->state == LEARN_READING) {
        part->seen += n;
        bool bad = json_take_feed(&part->take, p, n) == JSON_MALFORMED;
        if (bad || part->seen > part->rule->max_body)
            return !stop_reading(s, bad ? LEARN_COUNT_NOT_FOUND : LEARN_COUNT_TOO_LONG);
    }
    if (relay_push(&s->response, bufs, p, n) < 0) {
        stream_reply(s, REASON_OUT_OF_MEMORY, NULL);
        return true;
    }
    /* It may send on: how much is bounded. Once all is known, what still comes waits there. */
    if (l->state == LEARN_READING)
        relay_drained(&s->response);
    return true;
}

bool learn_on_response_end(struct stream *s)
{
    struct learning *l = s->learn;
    struct learn_part *p = l->acquire;
    if (l->state == LEARN_READING) {
        take_body(p, p->rule->takes, p->rule->n_takes, LEARN_JSON);
        if (!acquire_now(s)) {
            if (!learn_orphaned(s))
                let_go(s);
            return s->step == STREAM_FINISHED;
        }
        if (s->deadline_changed)
            s->deadline_changed(s);
    }
    if (l->state != LEARN_JOURNALING)
        return false;
    l->ended = true;
    bool clean = s->request_ended && !s->up->blocked;
    stream_drop_upstream(s, clean, REASON_NONE);
    (void)learn_orphaned(s);
    return true;
}

/* --- the answer of the journal, or its absence --- */

/* Out with what was held back, from outside of what the upstream tells. */
static void go_on(struct stream *s)
{
    bool ended = s->learn->ended;
    s->active_at = s->worker->loop.now;
    let_go(s);
    if (s->step != STREAM_FINISHED && ended)
        stream_on_response_end(s);
    else if (s->step != STREAM_FINISHED)
        s->down->ops->flush(s->down);
}

void learn_on_journaled(struct learning *l)
{
    struct stream *s = l->stream;
    struct acquisition *a = l->acquisition;
    int rc = a->rc;
    l->acquisition = NULL;
    learn_settle(a);
    count(s, rc == 0 ? LEARN_COUNT_ACQUIRED : LEARN_COUNT_REFUSED);
    if (learn_orphaned(s))
        return;
    if (rc == 0)
        go_on(s);
    else
        stream_reply(s, REASON_LEARN_REFUSED, NULL); /* the registry has given it back */
}

usec_t learn_deadline(const struct stream *s)
{
    return s->learn->state == LEARN_JOURNALING ? s->learn->deadline : USEC_NEVER;
}

bool learn_check(struct stream *s, usec_t now)
{
    if (now < learn_deadline(s))
        return false;
    if (learn_allows(s)) {
        count(s, LEARN_COUNT_LATE);
        s->learn->acquisition->learning = NULL; /* it is held, once it is known */
        s->learn->acquisition = NULL;
        go_on(s);
    } else {
        stream_reply(s, REASON_LEARN_TIMEOUT, NULL);
    }
    return true;
}

/* --- the end --- */

void learn_end(struct stream *s)
{
    struct learning *l = s->learn;
    struct acquisition *a = l->acquisition;
    if (a) {
        /* An answer of ours has gone out in its place: the application does not know of it. Else it
         * is not certain that it does not, and it is held. */
        a->give_back = s->response_begun;
        count(s, a->give_back ? LEARN_COUNT_REFUSED : LEARN_COUNT_ACQUIRED);
        a->learning = NULL;
        l->acquisition = NULL;
    } else if (l->state == LEARN_READING || (l->state == LEARN_ASKED && s->tries > 0)) {
        count(s, LEARN_COUNT_UNREAD);
    }
    settled(l);
    learn_leave_orphans(l);
}

struct learning *learn_free(struct learning *l)
{
    if (!l)
        return NULL;
    free(l->acquire);
    free(l->release);
    free(l);
    return NULL;
}

void learn_worker_init(struct learn_worker *lw)
{
    list_init(&lw->orphans);
}

void learn_worker_free(struct learn_worker *lw)
{
    free(lw->spare);
    lw->spare = NULL;
}
