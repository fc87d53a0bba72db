/* A set of addresses: texts, compared as they are written, and networks such as 10.0.0.0/8. For the
 * files of csrc/net/ only. */
#ifndef ETCP_NET_ADDRESS_LIST_H
#define ETCP_NET_ADDRESS_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "socket.h"

typedef struct etcp_network {
    uint8_t family; /* 4 or 6 */
    uint8_t length; /* how many bits count; the others are 0 */
    uint8_t bytes[16];
} etcp_network;

/* All zero: empty. */
typedef struct etcp_address_list {
    char **texts; /* sorted */
    size_t text_count;
    etcp_network *networks; /* sorted, those of the same length together */
    size_t network_count;
} etcp_address_list;

/* Adds a text or, when it has a "/", a network; what is there already is not added again. Returns
 * 0, ETCP_EINVAL (a "/", but no network) or ETCP_ENOMEM. */
int etcp_address_list_add(etcp_address_list *l, const char *text);

/* Takes out what is written like that, for a network what means the same. Returns 0, also when it
 * was not there, or ETCP_EINVAL as above. */
int etcp_address_list_remove(etcp_address_list *l, const char *text);

/* Whether the address is one of the texts, as etcp_address_text writes it, or in one of the
 * networks. */
int etcp_address_list_has(const etcp_address_list *l, const etcp_address *address);

static inline int etcp_address_list_is_empty(const etcp_address_list *l)
{
    return l->text_count == 0 && l->network_count == 0;
}

/* Copies from, into an empty list. Returns 0 or ETCP_ENOMEM; clear it after failures too. */
int etcp_address_list_copy(const etcp_address_list *from, etcp_address_list *to);

void etcp_address_list_clear(etcp_address_list *l);

#endif
