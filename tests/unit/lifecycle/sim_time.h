/* sim_time.h - simulated time, for tests. */
#ifndef TESTS_UNIT_LIFECYCLE_SIM_TIME_H
#define TESTS_UNIT_LIFECYCLE_SIM_TIME_H

#include "base/clock.h"

#define SEC(n)  ((usec_t)(n)*USEC_PER_SEC)
#define MSEC(n) ((usec_t)(n)*USEC_PER_MSEC)
#define T0      SEC(1000)

#endif
