/* Twofish's constants, in the names of its specification (Schneier et al., "Twofish: A 128-Bit Block
 * Cipher", 1998). */
#ifndef ETCP_CODEC_TWOFISH_TABLES_H
#define ETCP_CODEC_TWOFISH_TABLES_H

#include <stdint.h>

/* The permutations q0 and q1 of section 4.3.5. */
extern const uint8_t etcp_twofish_q[2][256];

/* What is left of function h (section 4.3.2) after the last key byte was mixed in: the last permutation
 * of each of the four bytes, and the byte's column of the MDS matrix. The four words are XORed. */
extern const uint32_t etcp_twofish_mds[4][256];

#endif
