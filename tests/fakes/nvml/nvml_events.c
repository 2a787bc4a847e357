/* Event sets: a cursor into the node's list of events, from the moment of registration on. */
#include "nvml.h"
#include <stdlib.h>

struct event_set { uint64_t next, mask[MAX_GPUS]; };

int nvmlEventSetCreate(struct event_set **set)
{
    int refused = begin(__func__);
    if (refused) return refused;
    *set = calloc(1, sizeof **set);
    (*set)->next = node->events_seen;
    return NVML_SUCCESS;
}

int nvmlEventSetFree(struct event_set *set)
{
    free(set);
    return NVML_SUCCESS;
}

int nvmlDeviceGetSupportedEventTypes(device g, uint64_t *types)
{
    ENTER(g);
    *types = EVENT_XID | EVENT_RECOVERY;
    return leave(NVML_SUCCESS);
}

int nvmlDeviceRegisterEvents(device g, uint64_t types, struct event_set *set)
{
    ENTER(g);
    if (types & ~(uint64_t)(EVENT_XID | EVENT_RECOVERY)) return leave(NVML_NOT_SUPPORTED);
    set->mask[index_of(g)] |= types;
    return leave(NVML_SUCCESS);
}

static int take(struct event_set *set, struct event_data *out)
{
    int found = 0;
    node_lock(&node->lock);
    for (; !found && set->next < node->events_seen; set->next++) {
        struct event *e = &node->events[set->next % MAX_EVENTS];
        found = (set->mask[e->gpu] & e->type) != 0;
        if (found) *out = (struct event_data){&node->gpu[e->gpu], e->type, e->code, UINT32_MAX, UINT32_MAX};
    }
    pthread_mutex_unlock(&node->lock);
    return found;
}

static int watches_lost(const struct event_set *set)
{
    for (uint32_t i = 0; i < node->gpus; i++)
        if (set->mask[i] && node->gpu[i].lost) return 1;
    return 0;
}

int nvmlEventSetWait_v2(struct event_set *set, struct event_data *out, uint32_t timeout_ms)
{
    uint64_t end = boottime_ns() + timeout_ms * 1000000ull;
    for (;;) {
        uint32_t turns = node ? __atomic_load_n(&node->turns, __ATOMIC_SEQ_CST) : 0;
        int refused = begin(__func__);
        if (refused) return refused;
        if (take(set, out)) return NVML_SUCCESS;
        if (watches_lost(set)) return NVML_GPU_IS_LOST;
        if (boottime_ns() >= end) return NVML_TIMEOUT;
        node_await_turn(node, turns, end);
    }
}
