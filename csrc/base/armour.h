/* The %XX armour that carries binary fields inside negotiation packets. */
#ifndef ETCP_BASE_ARMOUR_H
#define ETCP_BASE_ARMOUR_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"

/* Appends every byte of bytes[0..len) as '%' and two upper-case hex digits.
 * Returns 0 or ETCP_ENOMEM (out unchanged). Protocol.pod, "Field encodings". */
int etcp_armour_encode(etcp_buf *out, const uint8_t *bytes, size_t len);

/* Appends text[0..len) with each '%' + two of [0-9A-F] replaced by the byte it names; anything else
 * passes through, as originals do. Returns 0 or ETCP_ENOMEM (out unchanged). */
int etcp_armour_decode(etcp_buf *out, const uint8_t *text, size_t len);

#endif
