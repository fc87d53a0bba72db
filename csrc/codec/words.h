/* Numbers of 32 bits in byte strings of either order, and rotations. */
#ifndef ETCP_CODEC_WORDS_H
#define ETCP_CODEC_WORDS_H

#include <stdint.h>

static inline uint32_t etcp_load_le32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static inline void etcp_store_le32(uint8_t *bytes, uint32_t word)
{
    bytes[0] = (uint8_t)word;
    bytes[1] = (uint8_t)(word >> 8);
    bytes[2] = (uint8_t)(word >> 16);
    bytes[3] = (uint8_t)(word >> 24);
}

static inline uint32_t etcp_load_be32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
           (uint32_t)bytes[3];
}

static inline void etcp_store_be32(uint8_t *bytes, uint32_t word)
{
    bytes[0] = (uint8_t)(word >> 24);
    bytes[1] = (uint8_t)(word >> 16);
    bytes[2] = (uint8_t)(word >> 8);
    bytes[3] = (uint8_t)word;
}

/* Only the low five bits of count matter. */
static inline uint32_t etcp_rotate_left(uint32_t word, uint32_t count)
{
    return word << (count & 31) | word >> (-count & 31);
}

static inline uint32_t etcp_rotate_right(uint32_t word, uint32_t count)
{
    return word >> (count & 31) | word << (-count & 31);
}

#endif
