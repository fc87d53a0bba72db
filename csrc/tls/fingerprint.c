#include "fingerprint.h"

#include <string.h>

#include "base/error.h"

static const char prefix[] = "SHA256:";

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int etcp_fingerprint_parse(const char *text, size_t len, uint8_t out[ETCP_FINGERPRINT])
{
    const char *hex = text + sizeof prefix - 1;
    size_t i;

    if (len != ETCP_FINGERPRINT_TEXT - 1 || memcmp(text, prefix, sizeof prefix - 1) != 0)
        return ETCP_EINVAL;
    for (i = 0; i < ETCP_FINGERPRINT; i++) {
        int high = digit(hex[2 * i]);
        int low = digit(hex[2 * i + 1]);

        if (high < 0 || low < 0)
            return ETCP_EINVAL;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

void etcp_fingerprint_format(const uint8_t fingerprint[ETCP_FINGERPRINT],
                             char text[ETCP_FINGERPRINT_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    char *at = text + sizeof prefix - 1;
    size_t i;

    memcpy(text, prefix, sizeof prefix);
    for (i = 0; i < ETCP_FINGERPRINT; i++) {
        *at++ = digits[fingerprint[i] >> 4];
        *at++ = digits[fingerprint[i] & 15];
    }
    *at = '\0';
}
