/* The one Storable image of the negotiation: R(s) = [ s, {s=>s}, [ s, {s=>s}, s ] ], which SVE
 * packets carry to find out whether both ends understand each other's images. It comes from
 * strangers, so it is compared with what it has to be and never read by a general reader. */
#ifndef ETCP_WIRE_SVE_H
#define ETCP_WIRE_SVE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Appends R(s) as nfreeze writes it: network order, major 2, the given minor. s is bytes, not
 * UTF-8. Returns 0, ETCP_ETOOBIG (more than 65535 bytes), or ETCP_ENOMEM; out is unchanged on
 * failure. */
int etcp_sve_write(etcp_buf *out, uint8_t minor, const uint8_t *scalar, size_t len);

/* Whether image[0..image_len) is R(s) for scalar[0..len), no more and no less: network order, major
 * 2, any minor, strings of any of the four kinds, nothing shared. */
int etcp_sve_matches(const uint8_t *image, size_t image_len, const uint8_t *scalar, size_t len);

#endif
