#include "guesses.h"

#include <string.h>

#include "base/mem.h"

enum { ROOM_AT_FIRST = 16 };

void etcp_guesses_deinit(etcp_guesses *g)
{
    etcp_free(g->entries);
    memset(g, 0, sizeof *g);
}

unsigned etcp_guesses_delay_ms(unsigned step)
{
    unsigned delay_ms = (unsigned)ETCP_GUESSES_DELAY_MS << (step - 1);

    return delay_ms < ETCP_GUESSES_DELAY_MAX_MS ? delay_ms : ETCP_GUESSES_DELAY_MAX_MS;
}

/* What of an address is counted. Returns 0: nothing. */
static int make_key(const etcp_address *from, etcp_guess *key)
{
    memset(key, 0, sizeof *key);
    key->family = from->family;
    if (from->family)
        memcpy(key->prefix, from->bytes, from->family == 4 ? 4 : sizeof key->prefix);
    return from->family != 0;
}

static etcp_guess *find(const etcp_guesses *g, const etcp_guess *key)
{
    size_t i;

    for (i = 0; i < g->count; i++)
        if (g->entries[i].family == key->family &&
            memcmp(g->entries[i].prefix, key->prefix, sizeof key->prefix) == 0)
            return &g->entries[i];
    return NULL;
}

static void forgive(etcp_guess *e, uint64_t now_ms)
{
    const uint64_t forgiven = (now_ms - e->since_ms) / ETCP_GUESSES_FORGIVE_MS;

    e->count = forgiven < e->count ? e->count - (uint32_t)forgiven : 0;
    e->since_ms = e->count ? e->since_ms + forgiven * ETCP_GUESSES_FORGIVE_MS : now_ms;
}

static int grow(etcp_guesses *g)
{
    const size_t room = g->room ? g->room * 2 : ROOM_AT_FIRST;
    etcp_guess *larger = etcp_realloc(g->entries, room * sizeof *larger);

    if (!larger)
        return 0;
    g->entries = larger;
    g->room = room;
    return 1;
}

/* A new entry, or the one that was quiet for longest. NULL: out of memory. */
static etcp_guess *make(etcp_guesses *g)
{
    etcp_guess *quiet;
    size_t i;

    if (g->count < ETCP_GUESSES_MAX && (g->count < g->room || grow(g)))
        return &g->entries[g->count++];
    quiet = g->entries;
    for (i = 1; i < g->count; i++)
        if (g->entries[i].last_ms < quiet->last_ms)
            quiet = &g->entries[i];
    return quiet;
}

unsigned etcp_guesses_count(etcp_guesses *g, const etcp_address *from, uint64_t now_ms)
{
    etcp_guess key;
    etcp_guess *e;
    uint32_t before;

    if (!make_key(from, &key))
        return 0;
    e = find(g, &key);
    if (!e) {
        e = make(g);
        if (!e)
            return 0;
        *e = key;
        e->since_ms = now_ms;
    }
    forgive(e, now_ms);
    e->last_ms = now_ms;
    before = e->count++;
    if (before < ETCP_GUESSES_FREE)
        return 0;
    before -= ETCP_GUESSES_FREE - 1;
    return before < ETCP_GUESSES_STEPS ? before : ETCP_GUESSES_STEPS;
}

void etcp_guesses_take_back(etcp_guesses *g, const etcp_address *from, uint64_t now_ms)
{
    etcp_guess key;
    etcp_guess *e = make_key(from, &key) ? find(g, &key) : NULL;

    if (!e)
        return;
    forgive(e, now_ms);
    if (e->count)
        e->count--;
}
