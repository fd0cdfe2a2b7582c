/* test_mailbox.c - does what threads hand over arrive, whatever the receiver's loop does meanwhile?
 */
#include "io/mailbox.h"

#include "base/mem.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum { SENDERS = 2, LETTERS = 2000 };

struct post {
    struct loop loop;
    struct mailbox mailbox;
    pthread_t thread;
    struct mail stop;
    bool forgets;
    uint32_t seen[SENDERS]; /* letters of each, in order */
};

struct letter {
    struct mail mail;
    uint32_t sender, number;
    _Atomic bool read;
};

struct sender {
    struct post *to;
    uint32_t id;
    bool waits; /* for each letter to be read, so that the receiver sleeps in between */
    pthread_t thread;
    struct letter letters[LETTERS];
};

static void on_letter(struct mail *m, void *owner)
{
    struct letter *l = CONTAINER_OF(m, struct letter, mail);
    struct post *p = owner;
    CHECK(p->seen[l->sender] == l->number);
    p->seen[l->sender]++;
    if (p->forgets)
        loop_forget(&p->loop);
    atomic_store(&l->read, true);
}

static void on_stop(struct mail *m, void *owner)
{
    struct post *p = owner;
    (void)m;
    loop_stop(&p->loop);
}

static void *receive(void *arg)
{
    struct post *p = arg;
    loop_run(&p->loop);
    return NULL;
}

static void *send_all(void *arg)
{
    struct sender *s = arg;
    for (uint32_t i = 0; i < LETTERS; i++) {
        struct letter *l = &s->letters[i];
        l->sender = s->id;
        l->number = i;
        mailbox_post(&s->to->mailbox, &l->mail, on_letter);
        while (s->waits && !atomic_load(&l->read))
            (void)sched_yield();
    }
    return NULL;
}

static void exchange(struct post *p, bool waits)
{
    struct sender *senders = mem_zalloc(SENDERS * sizeof(*senders));
    assert_non_null(senders);
    assert_int_equal(pthread_create(&p->thread, NULL, receive, p), 0);
    for (uint32_t i = 0; i < SENDERS; i++) {
        senders[i].to = p;
        senders[i].id = i;
        senders[i].waits = waits;
        assert_int_equal(pthread_create(&senders[i].thread, NULL, send_all, &senders[i]), 0);
    }
    for (uint32_t i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_join(senders[i].thread, NULL), 0);
    mailbox_post(&p->mailbox, &p->stop, on_stop);
    assert_int_equal(pthread_join(p->thread, NULL), 0);
    for (uint32_t i = 0; i < SENDERS; i++)
        assert_int_equal(p->seen[i], LETTERS);
    free(senders);
}

static int setup(void **state)
{
    struct post *p = mem_zalloc(sizeof(*p));
    assert_non_null(p);
    assert_int_equal(loop_init(&p->loop), 0);
    mailbox_init(&p->mailbox, &p->loop, p);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct post *p = *state;
    mailbox_free(&p->mailbox);
    loop_free(&p->loop);
    free(p);
    return 0;
}

static void test_all_arrive_in_order(void **state)
{
    exchange(*state, false);
}

static void test_each_wakes_the_receiver(void **state)
{
    exchange(*state, true);
}

/* A retiring process's loops do it while the control thread goes on posting. */
static void test_while_the_loop_forgets(void **state)
{
    struct post *p = *state;
    p->forgets = true;
    exchange(p, true);
}

struct work {
    struct mail mail;
    uint32_t left, calls;
};

/* A piece a turn. */
static void on_work(struct mail *m, void *owner)
{
    struct work *w = CONTAINER_OF(m, struct work, mail);
    struct post *p = owner;
    w->calls++;
    if (--w->left > 0)
        mailbox_again(&p->mailbox, m);
}

static void turn(struct post *p)
{
    (void)ev_run(p->loop.ev, EVRUN_NOWAIT);
}

/* What has more to do goes on in the next turn, and nothing overtakes it. */
static void test_again(void **state)
{
    struct post *p = *state;
    struct work w = {.left = 3};
    struct letter l = {.sender = 0};
    mailbox_post(&p->mailbox, &w.mail, on_work);
    mailbox_post(&p->mailbox, &l.mail, on_letter);
    for (uint32_t i = 1; i <= 3; i++) {
        assert_false(l.read);
        turn(p);
        assert_int_equal(w.calls, i);
    }
    assert_true(l.read);
    turn(p);
    assert_int_equal(w.calls, 3);
}

static void test_again_at_the_end(void **state)
{
    struct post *p = *state;
    struct work w = {.left = 5};
    struct letter l = {.sender = 0};
    mailbox_post(&p->mailbox, &w.mail, on_work);
    mailbox_post(&p->mailbox, &l.mail, on_letter);
    mailbox_free(&p->mailbox);
    assert_int_equal(w.calls, 5);
    assert_true(l.read);
    mailbox_init(&p->mailbox, &p->loop, p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_arrive_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_each_wakes_the_receiver, setup, teardown),
        cmocka_unit_test_setup_teardown(test_while_the_loop_forgets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_again_at_the_end, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
