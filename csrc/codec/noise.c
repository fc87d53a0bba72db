#include "noise.h"

#include <string.h>

enum {
    SHORTEST = 1024, /* below, compressing is cheap and counting proves little */
    PLACES = 8,
    COUNTED = 2048,   /* bytes of a place whose values are counted */
    SEARCHED = 16384, /* and where repeats are looked for */
    SLOT_BITS = 12
};

/* Whether some values are so much more frequent than others that a code with shorter words for them
 * pays. Of len even values, about len + len^2 / 256 pairs are equal; a tenth more of the latter is
 * far more than chance, and still an entropy of 7.86 bits of 8 at least. */
static int has_favourites(const uint8_t *bytes, size_t len)
{
    uint32_t counts[256];
    size_t pairs = 0;

    memset(counts, 0, sizeof counts);
    for (size_t i = 0; i < len; i++)
        counts[bytes[i]]++;
    for (size_t i = 0; i < 256; i++)
        pairs += (size_t)counts[i] * counts[i];
    return pairs > len + len * len / 256 * 11 / 10;
}

static uint32_t four_bytes(const uint8_t *bytes)
{
    uint32_t four;

    memcpy(&four, bytes, sizeof four); /* in either byte order: they are only compared */
    return four;
}

/* Whether one place in 128 begins with four bytes that were there before. The table forgets most of
 * what is far back, but where much repeats, enough is left. */
static int has_repeats(const uint8_t *bytes, size_t len)
{
    uint16_t last[1 << SLOT_BITS];
    size_t repeats = 0;

    memset(last, 0, sizeof last); /* begins with what is at 0 everywhere, which harms nothing */
    for (size_t at = 1; at + 4 <= len; at++) {
        const uint32_t four = four_bytes(bytes + at);
        uint16_t *slot = &last[(uint32_t)(four * 2654435761u) >> (32 - SLOT_BITS)];

        if (four_bytes(bytes + *slot) == four && ++repeats > len / 128)
            return 1;
        *slot = (uint16_t)at;
    }
    return 0;
}

typedef int test_fn(const uint8_t *bytes, size_t len);

/* Whether test says yes anywhere: of count windows of this size, the first is at the front and the
 * last a few bytes from the end at most. */
static int any(test_fn *test, const uint8_t *bytes, size_t len, size_t size)
{
    size_t count = len / size;

    if (count <= 1)
        return test(bytes, len < 2 * size ? len : size);
    if (count > PLACES)
        count = PLACES;
    for (size_t n = 0; n < count; n++)
        if (test(bytes + (len - size) / (count - 1) * n, size))
            return 1;
    return 0;
}

int etcp_is_noise(const uint8_t *bytes, size_t len)
{
    /* Most of what is no noise shows it in the first few bytes, and does not wait long here. */
    return len >= SHORTEST && !any(has_favourites, bytes, len, COUNTED) &&
           !any(has_repeats, bytes, len, SEARCHED);
}
