/* demo_app_session.c - the demo application's paths for sessions, and for ends that nobody expects.
 *
 * Of a device (--sessions N):
 *   POST /login                      200 {"session": "..."}, or 503 when all are taken
 *   POST /logout?session=ID          204; 404: it is not logged in
 *   GET /use?session=ID              200; 403: no longer
 *   GET /sessions[?session=ID]       who is logged in, and counts; how one has fared
 * Of one that holds a session (--login ADDRESS):
 *   GET /held                        which
 *   /exit?code=N  /abort  /oom       the end, at once
 *   /unlisten                        no new connections from now on; it goes on working */
#include "demo_app_conn.h"

#include "demo_app_device.h"
#include "demo_app_holder.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char json[] = "application/json";

static void send_session(struct app *a, struct app_conn *c)
{
    char id[DEVICE_ID_BYTES], text[DEVICE_ID_BYTES + 32];
    device_id(c->session, id);
    int n = snprintf(text, sizeof(text), "{\"session\": \"%s\"}\n", id);
    answer_text(a, c, 200, json, text, (size_t)n);
}

static void login(struct app *a, struct app_conn *c)
{
    c->session = device_is_one() ? device_login() : 0;
    if (c->session == 0) {
        answer_text(a, c, 503, "text/plain", "all sessions are taken\n", 23);
    } else if (a->login_ms > 0) {
        c->state = APP_TIMER;
        demo_conn_set_timer(a, c, a->login_ms);
    } else {
        send_session(a, c);
    }
}

void answer_session_timer(struct app *a, struct app_conn *c)
{
    send_session(a, c);
}

static void send_json(struct app *a, struct app_conn *c, char *text, size_t n)
{
    if (text)
        answer_text(a, c, 200, json, text, n);
    else
        answer_text(a, c, 500, "text/plain", "", 0);
    free(text);
}

/* Those that need the head answer before the body; it is read and means nothing. */
bool answer_session_begin(struct app *a, struct app_conn *c, const struct app_request *r)
{
    struct str id = answer_query_text(r->query, STR("session"));
    unsigned status = 404;
    char *text = NULL;
    size_t n = 0;

    if (c->handler == HANDLE_EXIT)
        c->code = (uint32_t)answer_query_number(r->query, STR("code"), 0);
    if (!device_is_one() ||
        (c->handler != HANDLE_LOGOUT && c->handler != HANDLE_USE && c->handler != HANDLE_SESSIONS))
        return false;
    c->answered = true;
    if (c->handler == HANDLE_SESSIONS) {
        text = id.p ? device_one(id, &n) : device_list(&n);
        send_json(a, c, text, n);
        return true;
    }
    if (c->handler == HANDLE_USE)
        status = device_use(id);
    else if (str_eq(r->method, STR("POST")))
        status = device_logout(id, r->idempotency_key);
    answer_text(a, c, status, "text/plain", "", 0);
    return true;
}

bool answer_session(struct app *a, struct app_conn *c)
{
    char text[192];
    int n = 0;

    if (c->handler != HANDLE_LOGIN && *holder_session() == '\0')
        return false;
    switch ((enum app_handler)c->handler) {
    case HANDLE_LOGIN:
        login(a, c);
        return true;
    case HANDLE_HELD:
        n = snprintf(text, sizeof(text), "{\"session\": \"%s\"}\n", holder_session());
        answer_text(a, c, 200, json, text, (size_t)n);
        return true;
    case HANDLE_EXIT:
        _exit((int)c->code);
    case HANDLE_ABORT:
        holder_abort();
    case HANDLE_OOM:
        holder_out_of_memory();
    case HANDLE_UNLISTEN:
        demo_unlisten();
        answer_text(a, c, 200, "text/plain", "nobody else comes in\n", 21);
        return true;
    default:
        return false;
    }
}
