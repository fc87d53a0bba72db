#include "deadline_list.h"

#include <string.h>

void etcp_deadline_list_init(etcp_deadline_list *l, uint64_t timeout_ms, size_t *expiring)
{
    memset(l, 0, sizeof *l);
    l->timeout_ms = timeout_ms;
    l->expiring = expiring;
}

void etcp_deadline_list_set_timeout(etcp_deadline_list *l, uint64_t timeout_ms)
{
    if (l->timeout_ms)
        *l->expiring -= l->count;
    if (timeout_ms)
        *l->expiring += l->count;
    l->timeout_ms = timeout_ms;
}

void etcp_deadline_start(etcp_deadline_list *l, etcp_deadline *d, uint64_t now_ms)
{
    etcp_deadline_stop(d);
    d->list = l;
    d->since_ms = now_ms;
    d->prev = l->tail;
    d->next = NULL;
    if (l->tail)
        l->tail->next = d;
    else
        l->head = d;
    l->tail = d;
    l->count++;
    *l->expiring += l->timeout_ms != 0;
}

void etcp_deadline_stop(etcp_deadline *d)
{
    etcp_deadline_list *l = d->list;

    if (!l)
        return;
    if (d->prev)
        d->prev->next = d->next;
    else
        l->head = d->next;
    if (d->next)
        d->next->prev = d->prev;
    else
        l->tail = d->prev;
    l->count--;
    *l->expiring -= l->timeout_ms != 0;
    d->prev = d->next = NULL;
    d->list = NULL;
}

etcp_deadline *etcp_deadline_list_expired(const etcp_deadline_list *l, uint64_t now_ms)
{
    return etcp_deadline_list_next(l) <= now_ms ? l->head : NULL;
}
