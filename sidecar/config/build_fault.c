/* build_fault.c - faults that a route injects. */
#include "config/builder.h"

#include "config/problems.h"
#include "config/scalar.h"

static uint32_t ppm_of(struct str percent)
{
    uint32_t ppm = 0;
    if (percent.p)
        (void)scalar_percent(percent, &ppm); /* a wrong one is reported already */
    return ppm;
}

static void build_headers(struct builder *b, const struct draft_fault *d,
                          const struct yaml_node *list, struct fault_rules *r)
{
    char why[160] = "";
    uint32_t bad = 0;
    struct route_match match = {.n_headers = d->n_headers};
    match.headers = build_header_conditions(b, d->headers, d->n_headers, list);
    if (!match.headers || b->problems->errors != b->errors_before)
        return;
    r->headers = route_table_new(&match, 1, &bad, why, sizeof(why));
    if (!r->headers && bad == UINT32_MAX)
        builder_no_memory(b);
    else if (!r->headers)
        problem_at(b->problems, list, "%s", why);
}

void build_fault(struct builder *b, const struct draft_fault *d, const struct yaml_node *node,
                 struct conf_route *route)
{
    if (!d->given)
        return;
    struct fault_rules *r = builder_alloc(b, sizeof(*r));
    if (!r)
        return;
    *r = d->rules;
    r->delay_ppm = ppm_of(d->delay_percent);
    r->abort_ppm = ppm_of(d->abort_percent);
    r->abort_grpc = d->has_grpc_status ? (int8_t)d->grpc_status : -1;
    if (d->n_headers > 0)
        build_headers(b, d, yaml_get(node, "headers"), r);
    route->fault = r;
}
