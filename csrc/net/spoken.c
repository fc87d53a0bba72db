#include "spoken.h"

#include "clock.h"
#include "process.h"

/* Names are kept as hashes of 64 bits: that two of a thousand agree will not happen by chance, and
 * would only cost a connection. Guarded by etcp_process_lock. */
static struct place {
    uint64_t name; /* 0: free, at_ms is 0 then, too */
    uint64_t at_ms;
} places[ETCP_SPOKEN_MAX];

/* FNV-1a. */
static uint64_t hash(const char *text)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    return h ? h : 1;
}

/* The place of this name, or the one it would get. */
static struct place *find(uint64_t name)
{
    struct place *oldest = &places[0];
    unsigned i;

    for (i = 0; i < ETCP_SPOKEN_MAX; i++) {
        if (places[i].name == name)
            return &places[i];
        if (places[i].at_ms < oldest->at_ms)
            oldest = &places[i];
    }
    return oldest;
}

void etcp_spoken_note(const char *endpoint, uint64_t now_ms)
{
    uint64_t name = hash(endpoint);
    struct place *p;

    etcp_process_lock();
    p = find(name);
    p->name = name;
    p->at_ms = now_ms;
    etcp_process_unlock();
}

int etcp_spoken_lately(const char *endpoint, uint64_t now_ms)
{
    uint64_t name = hash(endpoint);
    const struct place *p;
    int is;

    etcp_process_lock();
    p = find(name);
    is = p->name == name && etcp_clock_left(p->at_ms, ETCP_SPOKEN_MS, now_ms) > 0;
    etcp_process_unlock();
    return is;
}
