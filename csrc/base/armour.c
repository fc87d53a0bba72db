#include "armour.h"

#include "error.h"

int etcp_armour_encode(etcp_buf *out, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789ABCDEF";
    uint8_t *tail;
    size_t i;

    if (len > SIZE_MAX / 3 || etcp_buf_reserve(out, 3 * len) < 0)
        return ETCP_ENOMEM;
    tail = etcp_buf_tail(out);
    for (i = 0; i < len; i++) {
        *tail++ = '%';
        *tail++ = (uint8_t)digits[bytes[i] >> 4];
        *tail++ = (uint8_t)digits[bytes[i] & 15];
    }
    etcp_buf_commit(out, 3 * len);
    return 0;
}

static int digit_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int etcp_armour_decode(etcp_buf *out, const uint8_t *text, size_t len)
{
    uint8_t *tail;
    size_t written = 0;
    size_t i = 0;

    if (etcp_buf_reserve(out, len) < 0)
        return ETCP_ENOMEM;
    tail = etcp_buf_tail(out);
    while (i < len) {
        if (text[i] == '%' && len - i >= 3 && digit_value(text[i + 1]) >= 0 &&
            digit_value(text[i + 2]) >= 0) {
            tail[written++] = (uint8_t)(digit_value(text[i + 1]) * 16 + digit_value(text[i + 2]));
            i += 3;
        } else {
            tail[written++] = text[i++];
        }
    }
    etcp_buf_commit(out, written);
    return 0;
}
