/* learn_mail.c - between workers and the registry of leases. */
#include "proxy/learn_mail.h"

#include "base/mem.h"
#include "lifecycle/app.h"
#include "lifecycle/lease.h"
#include "proxy/learn_text.h"
#include "proxy/learning.h"
#include "proxy/stream.h"

#include <errno.h>

/* --- acquiring --- */

struct acquisition *learn_acquisition(const struct stream *s, const struct learn_rule *r,
                                      const struct learn_values *v, uint64_t holder, int *ret_rc)
{
    struct acquisition *a = mem_zalloc(sizeof(*a));
    if (!a) {
        *ret_rc = -ENOMEM;
        return NULL;
    }
    a->worker = s->worker;
    a->text = lease_text_new(s, r, v, holder, ret_rc);
    if (!a->text) {
        free(a);
        return NULL;
    }
    return a;
}

static void free_acquisition(struct acquisition *a)
{
    free(a->text);
    free(a);
}

static void on_answer(struct mail *m, void *owner)
{
    struct acquisition *a = CONTAINER_OF(m, struct acquisition, mail);
    (void)owner;
    if (a->learning)
        learn_on_journaled(a->learning);
    else
        learn_settle(a);
}

static void post_back(struct acquisition *a)
{
    list_remove(&a->link);
    if (a->worker->process->stopping)
        free_acquisition(a);
    else
        mailbox_post(&a->worker->mailbox, &a->mail, on_answer);
}

/* On the control thread. */
static void on_journaled(void *ctx, uint64_t id, int rc)
{
    struct acquisition *a = ctx;
    a->id = id;
    a->rc = rc;
    a->answered = true;
    if (!a->asking)
        post_back(a);
}

/* The answer may come from within: the texts are looked at until the call returns, so the worker
 * has it back only then. */
static void on_acquisition(struct mail *m, void *owner)
{
    struct acquisition *a = CONTAINER_OF(m, struct acquisition, mail);
    struct process *p = a->worker->process;
    (void)owner;
    list_push_back(&p->acquisitions, &a->link);
    if (p->app)
        app_acquires(p->app);
    a->asking = true;
    int rc = p->leases ? leases_acquire(p->leases, &a->text->lease, on_journaled, a) : -ESHUTDOWN;
    a->asking = false;
    if (rc < 0)
        on_journaled(a, 0, rc);
    else if (a->answered)
        post_back(a);
}

void learn_send(struct acquisition *a)
{
    mailbox_post(a->worker->process->control, &a->mail, on_acquisition);
}

void learn_mail_end(struct process *p)
{
    struct list *it;
    while ((it = list_pop(&p->acquisitions)))
        free_acquisition(LIST_ENTRY(it, struct acquisition, link));
}

/* --- the rest --- */

enum note_kind { NOTE_FORGET, NOTE_DISCONNECTED, NOTE_RECONNECTED, NOTE_GIVE_BACK };

struct note {
    struct mail mail;
    struct process *process;
    enum note_kind kind;
    uint64_t number; /* holder, or id */
    struct str name, key;
    char bytes[];
};

static void on_note(struct mail *m, void *owner)
{
    struct note *n = CONTAINER_OF(m, struct note, mail);
    struct leases *ls = n->process->leases;
    (void)owner;
    if (ls && n->kind == NOTE_FORGET)
        leases_forget(ls, n->name, n->key);
    else if (ls && n->kind == NOTE_DISCONNECTED)
        leases_disconnected(ls, n->number);
    else if (ls && n->kind == NOTE_RECONNECTED)
        leases_reconnected(ls, n->name, n->key, n->number);
    else if (ls)
        (void)leases_release(ls, n->number, NULL);
    free(n);
}

static void tell(struct worker *w, enum note_kind kind, uint64_t number, struct str name,
                 struct str key)
{
    struct note *n = mem_alloc(sizeof(*n) + name.n + key.n);
    if (!n)
        return;
    *n = (struct note){.process = w->process, .kind = kind, .number = number};
    if (name.n > 0)
        memcpy(n->bytes, name.p, name.n);
    if (key.n > 0)
        memcpy(n->bytes + name.n, key.p, key.n);
    n->name = (struct str){n->bytes, name.n};
    n->key = (struct str){n->bytes + name.n, key.n};
    mailbox_post(w->process->control, &n->mail, on_note);
}

void learn_settle(struct acquisition *a)
{
    if (a->give_back && a->rc == 0)
        tell(a->worker, NOTE_GIVE_BACK, a->id, STR_NONE, STR_NONE);
    free_acquisition(a);
}

void learn_tell_forget(struct worker *w, struct str name, struct str key)
{
    tell(w, NOTE_FORGET, 0, name, key);
}

void learn_tell_disconnected(struct worker *w, uint64_t holder)
{
    tell(w, NOTE_DISCONNECTED, holder, STR_NONE, STR_NONE);
}

void learn_tell_reconnected(struct worker *w, struct str name, struct str key, uint64_t holder)
{
    tell(w, NOTE_RECONNECTED, holder, name, key);
}
