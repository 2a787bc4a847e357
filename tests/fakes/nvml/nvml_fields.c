/* nvmlDeviceGetFieldValues: many values in one call, each with a result of its own. */
#include "nvml.h"
#include <stdio.h>
#include <time.h>

enum { UINT = 1, ULONG_LONG = 3 };

static void put(struct field_value *v, uint32_t type, uint64_t number)
{
    v->type = type;
    v->result = NVML_SUCCESS;
    if (type == UINT) v->value.u32 = (uint32_t)number;
    else v->value.u64 = number;
}
static void put_w(struct field_value *v, double watts) { put(v, UINT, (uint64_t)(watts * 1000 + 0.5)); }
static void put_count(struct field_value *v, double count) { put(v, ULONG_LONG, (uint64_t)count); }
static void put_ns(struct field_value *v, double seconds) { put(v, ULONG_LONG, (uint64_t)(seconds * 1e9)); }

static void fill_power(device g, struct field_value *v)
{
    switch (v->field) {
    case 185: put(v, UINT, read_power_mw(g, AVERAGE)); break;
    case 186: put(v, UINT, read_power_mw(g, INSTANT)); break;
    case 187: put_w(v, g->min_w); break;
    case 188: put_w(v, g->max_w); break;
    case 189: put_w(v, g->default_w); break;
    case 190: put_w(v, plant_enforced_w(g)); break;
    case 192: put_w(v, g->requested_w); break;
    case 83: put_count(v, g->sensor_energy_j * 1000); break;
    case 74: put_ns(v, g->power_s); break;
    case 75: put_ns(v, g->thermal_s); break;
    case 269: put_ns(v, g->software_thermal_s); break;
    case 270: put_ns(v, g->hardware_thermal_s); break;
    case 271: put_ns(v, g->brake_s); break;
    }
}

static void fill_errors(device g, struct field_value *v)
{
    switch (v->field) {
    case 3: put_count(v, g->ecc_corrected_volatile); break;
    case 4: put_count(v, g->ecc_uncorrected_volatile); break;
    case 5: put_count(v, g->ecc_corrected_aggregate); break;
    case 6: put_count(v, g->ecc_uncorrected_aggregate); break;
    case 142: put(v, UINT, (uint64_t)g->remapped_corrected); break;
    case 143: put(v, UINT, (uint64_t)g->remapped_uncorrected); break;
    case 144: put(v, UINT, (uint64_t)g->remap_pending); break;
    case 145: put(v, UINT, (uint64_t)g->remap_failure); break;
    case 230: put(v, UINT, (uint64_t)g->recovery_action); break;
    }
}

static void fill_links(device g, struct field_value *v)
{
    switch (v->field) {
    case 38: case 45: case 59: put_count(v, 0); break;
    case 52: put_count(v, g->nvlink_errors); break;
    case 91: put(v, UINT, 18); break;
    case 165: if (v->scope < 18) put(v, UINT, v->scope < g->nvlinks_active); break;
    case 94: put(v, UINT, (uint64_t)g->pcie_replays); break;
    case 197: case 198: put_count(v, g->pcie_bytes); break;
    case 82: put(v, UINT, (uint64_t)(g->temperature_c + 8)); break;
    }
}

int nvmlDeviceGetFieldValues(device g, int count, struct field_value *values)
{
    ENTER(g);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    for (struct field_value *v = values; v < values + count; v++) {
        char name[16];
        snprintf(name, sizeof name, "%u", v->field);
        v->timestamp = now.tv_sec * 1000000ll + now.tv_nsec / 1000;
        v->latency_us = 0;
        v->result = NVML_NOT_SUPPORTED;
        if (lacks(name)) continue;
        fill_power(g, v);
        fill_errors(g, v);
        fill_links(g, v);
    }
    return leave(NVML_SUCCESS);
}
