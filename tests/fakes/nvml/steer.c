/* What a test turns while the node runs: fake_* is reached from Python by ctypes (steer.py). */
#include "state.h"
#include <string.h>

#define GPU(field) {#field, offsetof(struct gpu, field)}
#define NODE(field) {#field, offsetof(struct node, field)}
struct knob { const char *name; size_t offset; };

static const struct knob GPU_KNOBS[] = {
    GPU(demand_w), GPU(gain_ratio), GPU(ambient_c), GPU(lost), GPU(gone), GPU(forced_reasons), GPU(requested_w), GPU(other_limit_w),
    GPU(min_w), GPU(max_w), GPU(default_w), GPU(locked_mhz), GPU(ecc_corrected_volatile), GPU(ecc_uncorrected_volatile),
    GPU(ecc_corrected_aggregate), GPU(ecc_uncorrected_aggregate), GPU(remapped_corrected), GPU(remapped_uncorrected),
    GPU(remap_pending), GPU(remap_failure), GPU(recovery_action), GPU(nvlinks_active), GPU(nvlink_errors), GPU(pcie_replays),
    GPU(pcie_generation), GPU(pcie_width), GPU(pcie_bytes_per_s), GPU(persistence), GPU(memory_used_bytes), GPU(no_permission), GPU(disobeys),
    GPU(power_w), GPU(sensor_w), GPU(temperature_c), GPU(true_energy_j), GPU(energy_j), {NULL, 0}};
static const struct knob NODE_KNOBS[] = {NODE(hang), NODE(unloaded), NODE(refusals), NODE(tau_s), NODE(overshoot_ratio), NODE(no_permission),
                                         NODE(set_min_s), NODE(set_max_s), {NULL, 0}};

static double *find(struct node *n, const char *name, int gpu)
{
    char *start = gpu < 0 ? (char *)n : (char *)&n->gpu[gpu];
    for (const struct knob *k = gpu < 0 ? NODE_KNOBS : GPU_KNOBS; k->name; k++)
        if (!strcmp(k->name, name)) return (double *)(start + k->offset);
    return NULL;
}

static void enter(struct node *n)
{
    node_lock(&n->lock);
    for (uint32_t i = 0; i < n->gpus; i++) plant_advance(n, &n->gpu[i]);
}

static int leave(struct node *n, int done)
{
    pthread_mutex_unlock(&n->lock);
    node_turned(n);
    return done;
}

void *fake_create(const char *path, uint32_t gpus, uint64_t seed) { return node_create(path, gpus, seed); }

int fake_set(struct node *n, const char *name, int gpu, double value)
{
    enter(n);
    double *knob = find(n, name, gpu);
    if (knob) *knob = value;
    return leave(n, knob != NULL);
}

int fake_get(struct node *n, const char *name, int gpu, double *value)
{
    enter(n);
    double *knob = find(n, name, gpu);
    if (knob) *value = *knob;
    return leave(n, knob != NULL);
}

int fake_hang(struct node *n, int hung, const char *call)
{
    enter(n);
    strncpy(n->hang_call, call, sizeof n->hang_call - 1);
    n->hang = hung;
    return leave(n, 1);
}

/* Open sessions end with it: whoever holds one has to initialise anew. */
int fake_unload(struct node *n)
{
    enter(n);
    n->unloads++;
    n->unloaded = 1;
    return leave(n, 1);
}

int fake_event(struct node *n, uint32_t gpu, uint64_t type, uint64_t code)
{
    enter(n);
    node_push_event(n, gpu, type, code);
    return leave(n, 1);
}

int fake_process(struct node *n, uint32_t gpu, uint32_t pid, uint64_t bytes)
{
    enter(n);
    struct gpu *g = &n->gpu[gpu];
    int room = g->processes < MAX_PROCESSES;
    if (room) g->pids[g->processes] = pid, g->process_bytes[g->processes++] = bytes;
    return leave(n, room);
}

/* Whoever computes on the card ends. */
void fake_processes_end(struct node *n, uint32_t gpu)
{
    enter(n);
    n->gpu[gpu].processes = 0;
    leave(n, 1);
}

/* The driver is unloaded and loaded: limits, locked clocks, energy and volatile counters start anew. */
int fake_reload(struct node *n)
{
    enter(n);
    n->unloaded = 0;
    for (struct gpu *g = n->gpu; g < n->gpu + n->gpus; g++) {
        g->requested_w = g->default_w;
        g->locked_mhz = g->energy_j = g->sensor_energy_j = g->ecc_corrected_volatile = g->ecc_uncorrected_volatile = 0;
    }
    return leave(n, 1);
}
