/* Where Blowfish's key schedule starts: the fraction of pi in hexadecimal, cut into 32-bit words, first
 * the subkeys, then the four S-boxes. */
#ifndef ETCP_CODEC_BLOWFISH_PI_H
#define ETCP_CODEC_BLOWFISH_PI_H

#include <stdint.h>

enum { ETCP_BLOWFISH_SUBKEYS = 18 };

extern const uint32_t etcp_blowfish_p[ETCP_BLOWFISH_SUBKEYS];
extern const uint32_t etcp_blowfish_s[4][256];

#endif
