/* Somebody else's NVML: a handful of calls, no identifiers, no events, no fields, no limits. Shares nothing with our own fake. */
static int cards[3];

int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 3; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle)
{
    if (index >= 3)
        return 2; /* invalid argument */
    *handle = &cards[index];
    return 0;
}
int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts)
{
    *milliwatts = 300000 + 1000 * (unsigned)((int *)handle - cards);
    return 0;
}
int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *celsius)
{
    (void)handle;
    (void)sensor;
    *celsius = 55;
    return 0;
}
int nvmlDeviceGetMemoryInfo(void *handle, void *memory)
{
    (void)handle;
    (void)memory;
    return 3; /* not supported */
}
