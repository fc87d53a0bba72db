/* Tells noise, such as media files, archives and sealed messages are made of, from what a
 * compressor can shrink: trying costs more than anything else that is done to a large message. */
#ifndef ETCP_CODEC_NOISE_H
#define ETCP_CODEC_NOISE_H

#include <stddef.h>
#include <stdint.h>

/* Whether bytes[0..len) looks like noise wherever it was looked at: at most eight places, evenly
 * spread, so that the cost is bounded. A short message never does. What repeats itself only far
 * apart, or is compressible in a small part only, may be taken for noise. */
int etcp_is_noise(const uint8_t *bytes, size_t len);

#endif
