/* view_reseat.h - so that snapshots do not pile up: many reloads while tunnels and long downloads
 * go on.
 *
 * A stream whose response has begun needs little of its snapshot: times, and names for logs. When
 * a worker has more old views than VIEWS_KEPT, those streams of the oldest ones are given the
 * names' new meaning, where listener, route and upstream still are there. A stream whose listener
 * or route is gone is ended once drainTimeout has passed since; one whose upstream is gone goes on,
 * and holds its old view. Up to VIEWS_KEPT old views are left alone. */
#ifndef SLUICE_PROXY_VIEW_RESEAT_H
#define SLUICE_PROXY_VIEW_RESEAT_H

struct timer;
struct worker;

enum { VIEWS_KEPT = 4 };

/* Does a bounded part of the work, and comes back by timer for the rest. */
void view_reseat(struct worker *w);
void view_reseat_tick(struct timer *t);

#endif
