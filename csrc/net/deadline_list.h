/* Lists of things that wait equally long: the first to come is the first to expire, so nobody ever
 * searches. Things sit in at most one list. */
#ifndef ETCP_NET_DEADLINE_LIST_H
#define ETCP_NET_DEADLINE_LIST_H

#include <stddef.h>
#include <stdint.h>

typedef struct etcp_deadline etcp_deadline;
typedef struct etcp_deadline_list etcp_deadline_list;

/* One place in a list, part of the thing that waits. All zero: in no list. */
struct etcp_deadline {
    etcp_deadline *prev, *next;
    etcp_deadline_list *list;
    uint64_t since_ms;
};

struct etcp_deadline_list {
    etcp_deadline *head, *tail;
    size_t count;
    uint64_t timeout_ms; /* 0: nothing in this list ever expires */
    size_t *expiring;    /* of all lists that share it: the things that expire some day */
};

/* expiring lives as long as the list. */
void etcp_deadline_list_init(etcp_deadline_list *l, uint64_t timeout_ms, size_t *expiring);

/* From now on things in l wait for so long, those too that are in it. */
void etcp_deadline_list_set_timeout(etcp_deadline_list *l, uint64_t timeout_ms);

/* Puts d at the end of l, taking it out of the list it was in; its time begins now. */
void etcp_deadline_start(etcp_deadline_list *l, etcp_deadline *d, uint64_t now_ms);

/* Takes d out of its list, if it is in one. */
void etcp_deadline_stop(etcp_deadline *d);

/* When the first one expires; UINT64_MAX: never. */
static inline uint64_t etcp_deadline_list_next(const etcp_deadline_list *l)
{
    if (!l->head || !l->timeout_ms)
        return UINT64_MAX;
    return l->head->since_ms + l->timeout_ms;
}

/* The first one if it has expired, still in the list; NULL otherwise. */
etcp_deadline *etcp_deadline_list_expired(const etcp_deadline_list *l, uint64_t now_ms);

#endif
