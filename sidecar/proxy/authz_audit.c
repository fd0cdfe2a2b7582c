/* authz_audit.c - who was refused by a route's authz, in the log. */
#include "proxy/authz_audit.h"

#include "base/log.h"
#include "config/snapshot.h"
#include "http/hop.h"
#include "policies/redact.h"
#include "proxy/stream.h"
#include "proxy/view.h"

/* False: there have been enough in this second. */
static bool take_line(struct authz_audit *a, usec_t now)
{
    if (now >= a->since + USEC_PER_SEC) {
        a->since = now;
        a->told = 0;
    }
    if (a->told == AUTHZ_AUDIT_LINES) {
        a->untold++;
        return false;
    }
    a->told++;
    return true;
}

/* What the access log tells as a hash, this one does not tell. */
static bool tells_client(const struct conf_access_log *log)
{
    for (uint32_t i = 0; i < log->n_redacted; i++) {
        if (log->redacted[i] == REDACT_CLIENT || log->redacted[i] == REDACT_PEER)
            return false;
    }
    return true;
}

void authz_audit(struct stream *s, const struct authz_refusal *r)
{
    struct authz_audit *a = &s->worker->authz_audit;
    const struct message *m = &s->req;
    struct str client = STR_NONE;
    char method[64], from[128], more[64];
    if (!take_line(a, s->worker->loop.now))
        return;
    if (tells_client(&s->view->snapshot->conf->access_log))
        client = hop_client_address(m, s->peer, stream_trusted_hops(s));
    more[0] = '\0';
    if (a->untold > 0)
        (void)snprintf(more, sizeof(more), "; %llu before it were not told",
                       (unsigned long long)a->untold);
    a->untold = 0;
    struct str trace = s->prepared ? hop_trace_id(m) : STR_NONE;
    log_info("audit: route %.*s: %s: %s%s%s%s%.*s: %s%s%s%s%.*s%s", STR_FMT(s->route->name),
             r->dry_run ? "would be refused (dryRun)" : "refused", reason_word(r->reason),
             r->detail ? ", " : "", r->detail ? r->detail : "", r->issuer.n ? ", issuer " : "",
             STR_FMT(r->issuer), log_quote(message_str(m, m->method_text), method, sizeof(method)),
             client.n ? " from " : "", log_quote(client, from, sizeof(from)),
             trace.n ? ", trace " : "", STR_FMT(trace), more);
}
