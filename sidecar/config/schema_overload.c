/* schema_overload.c - the keys of the stages of overload. */
#include "config/schema_rows.h"

#include "base/check.h"
#include "policies/overload.h"

#define RULES(member) MEMBER(struct overload_rules, member)

/* Percent here, parts per million behind build_overload.c. */
#define PERCENT(signal_, stage, default_)                                                          \
    SCHEMA_INT, RULES(signal[signal_].at[stage]), .preset = (default_), .max = 100
#define LAG(stage)                                                                                 \
    SCHEMA_DURATION, RULES(signal[OVERLOAD_LOOP_LAG].at[stage]), .preset = "0", .max = WEEK

static const char no_keep_alive[] =
    "clients are asked to leave, and idle connections are closed; 0: never";
static const char refuse_low[] = "requests of routes with priority: low are refused too; 0: never";
static const char no_connections[] = "no connections are accepted, and only requests of routes "
                                     "with priority: critical served; 0: never";

#define PERCENTS(signal, keep_alive, low, connections)                                             \
    {                                                                                              \
        {"noKeepAlive", no_keep_alive, PERCENT(signal, OVERLOAD_NO_KEEP_ALIVE, keep_alive)},       \
            {"refuseLow", refuse_low, PERCENT(signal, OVERLOAD_REFUSE_LOW, low)},                  \
            {"noConnections", no_connections,                                                      \
             PERCENT(signal, OVERLOAD_NO_CONNECTIONS, connections)},                               \
    }

static const struct schema_key memory_keys[] = PERCENTS(OVERLOAD_MEMORY, "90", "95", "98");
static const struct schema_key fds_keys[] = PERCENTS(OVERLOAD_FDS, "85", "90", "95");
static const struct schema_key some_keys[] = PERCENTS(OVERLOAD_PRESSURE_SOME, "0", "0", "0");
static const struct schema_key full_keys[] = PERCENTS(OVERLOAD_PRESSURE_FULL, "0", "0", "0");
static const struct schema_key lag_keys[] = {
    {"noKeepAlive", no_keep_alive, LAG(OVERLOAD_NO_KEEP_ALIVE)},
    {"refuseLow", refuse_low, LAG(OVERLOAD_REFUSE_LOW)},
    {"noConnections", no_connections, LAG(OVERLOAD_NO_CONNECTIONS)},
};
static const struct schema_map memory_map = {MAP(memory_keys)};
static const struct schema_map fds_map = {MAP(fds_keys)};
static const struct schema_map some_map = {MAP(some_keys)};
static const struct schema_map full_map = {MAP(full_keys)};
static const struct schema_map lag_map = {MAP(lag_keys)};

static const struct schema_key pressure_keys[] = {
    {"some", "percent of the last 10 s, in which a thread waited for memory", SCHEMA_MAP,
     .map = &some_map},
    {"full", "percent of the last 10 s, in which all threads did", SCHEMA_MAP, .map = &full_map},
};
static const struct schema_map pressure_map = {MAP(pressure_keys)};

static const struct schema_key overload_keys[] = {
    {"memory",
     "percent of the control group's limit that is used; without app.command, or where it is given",
     SCHEMA_MAP, .map = &memory_map},
    {"fds", "percent of the limit of open files that are open", SCHEMA_MAP, .map = &fds_map},
    {"pressure", "the kernel's pressure stall information of memory", SCHEMA_MAP,
     .map = &pressure_map},
    {"loopLag", "how far the worker that is furthest behind is behind", SCHEMA_MAP,
     .map = &lag_map},
    {"hold", "so long below a threshold until its stage ends", SCHEMA_DURATION, RULES(hold),
     .preset = "2s", .max = WEEK},
    {"hysteresis", "percent of a threshold that a reading has to be below it for that", SCHEMA_INT,
     RULES(margin), .preset = "5", .max = 50},
    {"dryRun", "counts and tells, and sheds nothing", SCHEMA_BOOL, RULES(dry_run),
     .preset = "false"},
};
const struct schema_map schema_overload = {MAP(overload_keys)};
