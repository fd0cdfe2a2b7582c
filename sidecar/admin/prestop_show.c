/* prestop_show.c - what metrics and /v1/status tell of the calls of /prestop. */
#include "admin/prestop.h"

void prestop_metrics(const struct control_prestop *p, struct exposition *t)
{
    static const char *const results[PRESTOP_CALL_RESULTS] = {"held", "at_once", "refused",
                                                              "too_many", "caller_gone"};
    metric_family(t, "prestop_held", "gauge", "Calls of /prestop that are held.");
    metric_put(t, "sluice_prestop_held %u\n", p->n_held);
    metric_family(t, "prestop_calls_total", "counter", "Calls of /prestop, by how they ended.");
    for (int i = 0; i < PRESTOP_CALL_RESULTS; i++)
        metric_put(t, "sluice_prestop_calls_total{result=\"%s\"} %llu\n", results[i],
                   (unsigned long long)p->results[i]);
    metric_family(t, "prestop_state", "gauge", "1 for what the calls of /prestop mean now.");
    for (int i = 0; i < PRESTOP_STATES; i++)
        metric_put(t, "sluice_prestop_state{state=\"%s\"} %d\n",
                   prestop_state_word((enum prestop_state)i), i == (int)p->rules.state);
}

json_t *prestop_json(const struct control_prestop *p)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "state", json_string(prestop_state_word(p->rules.state)));
    (void)json_object_set_new(o, "held", json_integer(p->n_held));
    return o;
}
