#include "address_count.h"

#include <string.h>

#include "base/mem.h"

enum { ROWS_AT_FIRST = 16 };

struct etcp_address_tally {
    etcp_address_tally *next;
    uint8_t family;
    uint8_t bytes[16];
    size_t count;
};

/* FNV-1a. Whoever picks addresses to make long chains must own that many of them. */
static size_t row_of(size_t row_count, uint8_t family, const uint8_t bytes[16])
{
    uint64_t hash = 0xcbf29ce484222325u ^ family;
    size_t i;

    for (i = 0; i < 16; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return (size_t)(hash ^ hash >> 32) & (row_count - 1);
}

/* Where the address's row in its chain is linked, or would be. There must be rows. */
static etcp_address_tally **find(const etcp_address_count *c, const etcp_address *a)
{
    etcp_address_tally **link = &c->rows[row_of(c->row_count, a->family, a->bytes)];

    while (*link && ((*link)->family != a->family || memcmp((*link)->bytes, a->bytes, 16) != 0))
        link = &(*link)->next;
    return link;
}

static int grow(etcp_address_count *c)
{
    size_t count = c->row_count ? 2 * c->row_count : ROWS_AT_FIRST;
    etcp_address_tally **rows = etcp_zalloc(count * sizeof *rows);
    size_t i;

    if (!rows)
        return -1;
    for (i = 0; i < c->row_count; i++)
        while (c->rows[i]) {
            etcp_address_tally *t = c->rows[i];
            etcp_address_tally **link = &rows[row_of(count, t->family, t->bytes)];

            c->rows[i] = t->next;
            t->next = *link;
            *link = t;
        }
    etcp_free(c->rows);
    c->rows = rows;
    c->row_count = count;
    return 0;
}

size_t etcp_address_count_add(etcp_address_count *c, const etcp_address *address)
{
    etcp_address_tally **link;

    if (c->used >= c->row_count && grow(c) < 0 && !c->row_count)
        return 0;
    link = find(c, address);
    if (!*link) {
        *link = etcp_zalloc(sizeof **link);
        if (!*link)
            return 0;
        (*link)->family = address->family;
        memcpy((*link)->bytes, address->bytes, 16);
        c->used++;
    }
    return ++(*link)->count;
}

void etcp_address_count_remove(etcp_address_count *c, const etcp_address *address)
{
    etcp_address_tally **link = find(c, address);
    etcp_address_tally *t = *link;

    if (--t->count > 0)
        return;
    *link = t->next;
    etcp_free(t);
    c->used--;
}

size_t etcp_address_count_of(const etcp_address_count *c, const etcp_address *address)
{
    const etcp_address_tally *t = c->row_count ? *find(c, address) : NULL;

    return t ? t->count : 0;
}

void etcp_address_count_clear(etcp_address_count *c)
{
    size_t i;

    for (i = 0; i < c->row_count; i++)
        while (c->rows[i]) {
            etcp_address_tally *t = c->rows[i];

            c->rows[i] = t->next;
            etcp_free(t);
        }
    etcp_free(c->rows);
    memset(c, 0, sizeof *c);
}
