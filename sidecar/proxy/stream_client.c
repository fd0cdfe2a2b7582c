/* stream_client.c - whose request it is: the connection's peer, or who a trusted proxy says. */
#include "http/hop.h"
#include "proxy/stream.h"

uint32_t stream_trusted_hops(const struct stream *s)
{
    const struct conf_listener *l = s->listener;
    if (l->trusted_hops > 0)
        return l->trusted_hops;
    for (uint32_t i = 0; i < l->n_trusted; i++) {
        if (cidr_contains(&l->trusted[i], s->peer_ip))
            return 1;
    }
    return 0;
}

struct ip stream_client_ip(const struct stream *s)
{
    uint32_t hops = stream_trusted_hops(s);
    struct ip ip = {.known = false};
    if (hops == 0)
        return *s->peer_ip;
    if (ip_parse(hop_client_address(&s->req, s->peer, hops), &ip) < 0)
        ip.known = false;
    return ip;
}
