/* A payload that lies in several places: pieces, one behind the other. */
#ifndef ETCP_BASE_PIECE_H
#define ETCP_BASE_PIECE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "mem.h"

typedef struct etcp_piece {
    const uint8_t *bytes;
    size_t len;
    void (*release)(void *owner); /* called once, when bytes are not needed any more */
    void *owner;
    int is_forgotten; /* nobody else needs what is in bytes, which may be overwritten: see etcp_forget */
} etcp_piece;

/* Copies all of them to one place, which must have room. */
static inline void etcp_pieces_copy(uint8_t *to, const etcp_piece *pieces, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].len)
            memcpy(to, pieces[i].bytes, pieces[i].len);
        to += pieces[i].len;
    }
}

/* Forgets bytes[from..from + len) of a piece, if that may be done. */
static inline void etcp_piece_forget(const etcp_piece *p, size_t from, size_t len)
{
    union {
        const uint8_t *in;
        uint8_t *out;
    } bytes; /* of a piece that may be written to */

    if (!p->is_forgotten)
        return;
    bytes.in = p->bytes + from;
    etcp_forget(bytes.out, len);
}

#endif
