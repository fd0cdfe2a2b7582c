/* ask.c - a question to a running sluice, and its answer. */
#include "ask.h"

int ask(const struct command *c, const struct admin_target *t, const char *method, const char *path,
        const char *body, struct admin_answer *ret)
{
    char problem[512];
    if (admin_call(t, method, path, body, ret) < 0)
        (void)fprintf(stderr, "sluice %s: %s\n", c->name, ret->error);
    else if (ret->status / 100 != 2)
        (void)fprintf(stderr, "sluice %s: %s\n", c->name,
                      admin_answer_problem(ret, problem, sizeof(problem)));
    else
        return EXIT_DONE;
    admin_answer_free(ret);
    return EXIT_NO;
}

json_t *ask_object(const struct command *c, const struct admin_answer *a)
{
    json_error_t error;
    json_t *o = json_loadb(a->body, a->n, 0, &error);
    if (json_is_object(o))
        return o;
    (void)fprintf(stderr, "sluice %s: the answer is not understood: %s\n", c->name,
                  o ? "it is no object" : error.text);
    json_decref(o);
    return NULL;
}

void ask_print(const struct admin_answer *a)
{
    (void)fwrite(a->body, 1, a->n, stdout);
    if (a->n > 0 && a->body[a->n - 1] != '\n')
        (void)putchar('\n');
}

int ask_and_show(const struct command *c, const struct admin_target *t, const char *path, bool json,
                 void (*show)(const json_t *o))
{
    struct admin_answer a;
    int rc = ask(c, t, "GET", path, NULL, &a);
    if (rc != EXIT_DONE)
        return rc;
    json_t *o = json ? NULL : ask_object(c, &a);
    if (json)
        ask_print(&a);
    else if (o)
        show(o);
    else
        rc = EXIT_FAULT;
    json_decref(o);
    admin_answer_free(&a);
    return rc;
}
