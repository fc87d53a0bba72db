/* A payload that lies in several places: pieces, one behind the other. */
#ifndef ETCP_BASE_PIECE_H
#define ETCP_BASE_PIECE_H

#include <stddef.h>
#include <stdint.h>

typedef struct etcp_piece {
    const uint8_t *bytes;
    size_t len;
    void (*release)(void *owner); /* called once, when bytes are not needed any more */
    void *owner;
    int is_forgotten; /* nobody else needs what is in bytes, which may be overwritten: see etcp_forget */
} etcp_piece;

#endif
