/* csrc/wire/sve.c: the one Storable image of the negotiation. */
#include "wire/sve.h"

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "base/error.h"
#include "tap.h"

/* R("ab") as nfreeze of Storable 3.26 writes it. */
static const uint8_t image_of_ab[] = {
    0x05, 0x0b, 0x02, 0,    0,   0,   3,   0x0a, 2,    'a', 'b', 0x04, 0x03, 0,    0,
    0,    1,    0x0a, 2,    'a', 'b', 0,   0,    0,    2,   'a', 'b',  0x04, 0x02, 0,
    0,    0,    3,    0x0a, 2,   'a', 'b', 0x04, 0x03, 0,   0,   0,    1,    0x0a, 2,
    'a',  'b',  0,    0,    0,   2,   'a', 'b',  0x0a, 2,   'a', 'b'};

static int matches(const uint8_t *image, size_t len, const char *scalar)
{
    uint8_t *block = malloc(len ? len : 1);
    int result;

    if (len)
        memcpy(block, image, len);
    result = etcp_sve_matches(block, len, (const uint8_t *)scalar, strlen(scalar));
    free(block);
    return result;
}

static void test_known(void)
{
    etcp_buf out;

    etcp_buf_init(&out);
    tap_is_int(etcp_sve_write(&out, 11, (const uint8_t *)"ab", 2), 0, "written");
    tap_is_mem(etcp_buf_bytes(&out), etcp_buf_len(&out), image_of_ab, sizeof image_of_ab,
               "as Storable writes it");
    etcp_buf_deinit(&out);
    tap_ok(matches(image_of_ab, sizeof image_of_ab, "ab"), "read");
    tap_ok(!matches(image_of_ab, sizeof image_of_ab, "ac"), "another scalar");
    tap_ok(!matches(image_of_ab, sizeof image_of_ab, "a"), "a shorter scalar");
    tap_ok(!matches(image_of_ab, sizeof image_of_ab, "abc"), "a longer scalar");
}

static void test_variants(void)
{
    uint8_t image[sizeof image_of_ab + 1];

    memcpy(image, image_of_ab, sizeof image_of_ab);
    image[sizeof image_of_ab] = 0;
    tap_ok(!matches(image, sizeof image, "ab"), "bytes behind the image");
    image[1] = 4;
    tap_ok(matches(image, sizeof image_of_ab, "ab"), "another minor version");
    image[7] = 0x17;
    tap_ok(matches(image, sizeof image_of_ab, "ab"), "a string that is marked UTF-8");
    image[0] = 0x04;
    tap_ok(!matches(image, sizeof image_of_ab, "ab"), "native byte order");
}

/* Every truncation and every change of a byte is seen, but for the minor version and the kinds of
 * strings. */
static void test_damage(void)
{
    size_t i;
    unsigned accepted = 0;

    for (i = 0; i < sizeof image_of_ab; i++)
        accepted += (unsigned)matches(image_of_ab, i, "ab");
    tap_is_int(accepted, 0, "no truncated image is accepted");
    for (i = 0; i < sizeof image_of_ab; i++) {
        unsigned value;

        for (value = 0; value < 256; value++) {
            uint8_t image[sizeof image_of_ab];

            memcpy(image, image_of_ab, sizeof image);
            image[i] = (uint8_t)value;
            if (value != image_of_ab[i])
                accepted += (unsigned)matches(image, sizeof image, "ab");
        }
    }
    tap_is_int(accepted, 255 + 5, "of changed images, only those that mean the same");
}

static void test_sizes(void)
{
    static const size_t sizes[] = {0, 1, 129, 255, 256, 1024, 65535};
    size_t i;

    for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t *scalar = malloc(sizes[i] + 1);
        etcp_buf out;

        memset(scalar, 'x', sizes[i] + 1);
        etcp_buf_init(&out);
        tap_is_int(etcp_sve_write(&out, 11, scalar, sizes[i]), 0, "%lu bytes: written",
                   (unsigned long)sizes[i]);
        tap_ok(etcp_sve_matches(etcp_buf_bytes(&out), etcp_buf_len(&out), scalar, sizes[i]),
               "%lu bytes: read back", (unsigned long)sizes[i]);
        etcp_buf_deinit(&out);
        free(scalar);
    }
}

static void test_failures(void)
{
    static uint8_t big[65536];
    etcp_buf out;

    etcp_buf_init(&out);
    tap_is_int(etcp_sve_write(&out, 11, big, sizeof big), ETCP_ETOOBIG, "too long a scalar");
    alloc_fail_at(1);
    tap_is_int(etcp_sve_write(&out, 11, big, 129), ETCP_ENOMEM, "no memory");
    tap_is_int((long long)etcp_buf_len(&out), 0, "nothing half-written");
    alloc_reset();
}

int main(void)
{
    test_known();
    test_variants();
    test_damage();
    test_sizes();
    test_failures();
    return tap_done();
}
