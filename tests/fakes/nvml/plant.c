/* Physics, integrated in 5 ms steps whenever somebody looks.
 *
 * Power goes towards min(demand, limit in force, what the clocks allow) with a first-order lag. The sensor shows the mean of
 * the last 25 ms every 100 ms, at a phase of the card's own and with a gain error of the card's own; energy and the 1 s average
 * come from the same sensor. Temperature follows power. Board power goes with about the 2.4th power of the clock. */
#include "state.h"
#include <math.h>

#define CLOCK_POWER 2.4
#define HEAT_TAU_S 20.0
#define C_PER_W 0.07
#define SLOWDOWN_C 88.0

static double clock_ratio(const struct gpu *g, uint32_t slowdowns)
{
    double ratio = g->locked_mhz > 0 ? g->locked_mhz / MAX_CLOCK_MHZ : 1;
    if (slowdowns & REASON_SW_THERMAL) ratio = fmin(ratio, 0.8);
    if (slowdowns & REASON_HW_THERMAL) ratio = fmin(ratio, 0.5);
    if (slowdowns & REASON_BRAKE) ratio = fmin(ratio, 288.0 / 1410.0);
    return ratio;
}

static uint32_t slowdowns(const struct gpu *g)
{
    return (uint32_t)g->forced_reasons | (g->temperature_c >= SLOWDOWN_C ? REASON_SW_THERMAL : 0);
}

static double wish_w(const struct gpu *g)
{
    double top = fmax(g->max_w, g->demand_w);
    return fmin(g->demand_w, IDLE_W + (top - IDLE_W) * pow(clock_ratio(g, slowdowns(g)), CLOCK_POWER));
}

double plant_enforced_w(const struct gpu *g)
{
    return g->other_limit_w > 0 ? fmin(g->requested_w, g->other_limit_w) : g->requested_w;
}

static double target_w(const struct gpu *g)
{
    return g->disobeys ? g->wish_w : fmin(g->wish_w, plant_enforced_w(g));
}

double plant_average_w(const struct gpu *g)
{
    double sum = 0;
    for (int i = 0; i < RING_STEPS; i++) sum += g->ring[i];
    return sum / RING_STEPS * (1 + g->gain_ratio);
}

double plant_clock_mhz(const struct gpu *g)
{
    if (g->reasons & REASON_IDLE) return IDLE_CLOCK_MHZ;
    double ratio = clock_ratio(g, slowdowns(g));
    if (g->reasons & REASON_POWER) ratio *= pow((plant_enforced_w(g) - IDLE_W) / (g->wish_w - IDLE_W), 1 / CLOCK_POWER);
    return round(MAX_CLOCK_MHZ * ratio / 15) * 15;
}

static uint32_t reasons(const struct gpu *g)
{
    if (g->demand_w <= IDLE_W) return REASON_IDLE | (uint32_t)g->forced_reasons;
    return slowdowns(g) | (g->locked_mhz > 0 ? REASON_LOCKED : 0) | (g->wish_w > plant_enforced_w(g) ? REASON_POWER : 0);
}

static void count_time(struct gpu *g, double s)
{
    if (g->reasons & REASON_POWER) g->power_s += s;
    if (g->reasons & (REASON_SW_THERMAL | REASON_HW_THERMAL)) g->thermal_s += s;
    if (g->reasons & REASON_SW_THERMAL) g->software_thermal_s += s;
    if (g->reasons & REASON_HW_THERMAL) g->hardware_thermal_s += s;
    if (g->reasons & REASON_BRAKE) g->brake_s += s;
}

static void count_flow(struct gpu *g, double s)
{
    g->true_energy_j += g->power_w * s;
    g->energy_j += g->power_w * s * (1 + g->gain_ratio);
    g->pcie_bytes += g->pcie_bytes_per_s * s;
    count_time(g, s);
    double heat_c = g->ambient_c + C_PER_W * g->power_w;
    g->temperature_c += (heat_c - g->temperature_c) * (1 - exp(-s / HEAT_TAU_S));
}

static void refresh_sensor(struct gpu *g)
{
    double sum = 0;
    for (uint64_t i = 0; i < WINDOW_STEPS; i++) sum += g->ring[(g->step - i) % RING_STEPS];
    g->sensor_w = sum / WINDOW_STEPS * (1 + g->gain_ratio);
    g->sensor_energy_j = g->energy_j;
    g->sensor_step = g->step;
}

static void step(const struct node *n, struct gpu *g)
{
    double limit_w = plant_enforced_w(g), before_w = g->wish_w, keep = exp(-STEP_S / n->tau_s);
    g->wish_w = wish_w(g);
    g->reasons = reasons(g);
    if (n->overshoot_ratio > 0 && g->wish_w > limit_w && before_w <= limit_w)
        g->power_w = fmax(g->power_w, fmin(g->wish_w, limit_w * (1 + n->overshoot_ratio))); /* load is quicker than the card */
    g->power_w = target_w(g) + (g->power_w - target_w(g)) * keep;
    g->step++;
    g->ring[g->step % RING_STEPS] = g->power_w;
    count_flow(g, STEP_S);
    if ((g->step + g->phase) % SENSOR_STEPS == 0) refresh_sensor(g);
}

void plant_start(struct node *n, struct gpu *g)
{
    g->power_w = g->wish_w = IDLE_W;
    g->temperature_c = g->ambient_c + C_PER_W * IDLE_W;
    plant_advance(n, g);
}

/* Nobody looked for longer than the steps we are willing to make: the card has long settled. */
static void skip(struct gpu *g, uint64_t steps)
{
    g->wish_w = wish_w(g);
    g->reasons = reasons(g);
    g->power_w = target_w(g);
    count_flow(g, (double)steps * STEP_S);
    g->step += steps;
}

void plant_advance(struct node *n, struct gpu *g)
{
    uint64_t now = (boottime_ns() - n->start_ns) / STEP_NS;
    if (now > g->step + CATCH_UP_STEPS) skip(g, now - g->step - CATCH_UP_STEPS);
    while (g->step < now) step(n, g);
}
