#include "proxy_header.h"

#include <arpa/inet.h>
#include <string.h>

static const uint8_t text_start[] = {'P', 'R', 'O', 'X', 'Y', ' '};
static const uint8_t binary_start[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                         0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

enum {
    COMMAND_LOCAL = 0x20,
    COMMAND_PROXY = 0x21,
    TCP4 = 0x11,
    TCP6 = 0x21,
    UNIX_STREAM = 0x31,
    UNSPECIFIED = 0x00,
    TLV_CRC32C = 0x03,
    TLV_HEAD = 3, /* type and length */
    CRC_SIZE = 4
};

static unsigned read_16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

/* ---- version 1: a line of text ------------------------------------------------------------------
 */

/* The next word, which one space or the end follows; NULL: there is none. It becomes a string. */
static char *next_word(char **at)
{
    char *word = *at;
    char *space = strchr(word, ' ');

    *at = space ? space + 1 : word + strlen(word);
    if (space)
        *space = '\0';
    return *word ? word : NULL;
}

static int read_port(const char *text, unsigned *port)
{
    const char *at = text;

    *port = 0;
    for (; *at >= '0' && *at <= '9' && *port <= 65535; at++)
        *port = *port * 10 + (unsigned)(*at - '0');
    return at != text && !*at && *port <= 65535 && (text[0] != '0' || text[1] == '\0');
}

static int read_addresses(etcp_proxy_header *h, char *at, int family)
{
    uint8_t destination[16];
    const char *words[4];
    unsigned port, other;
    int i;

    for (i = 0; i < 4; i++)
        if (!(words[i] = next_word(&at)))
            return ETCP_EPROXY;
    if (*at || at[-1] == '\0' || inet_pton(family, words[0], h->source) != 1 ||
        inet_pton(family, words[1], destination) != 1 || !read_port(words[2], &port) ||
        !read_port(words[3], &other))
        return ETCP_EPROXY;
    h->family = family == AF_INET ? 4 : 6;
    h->port = (uint16_t)port;
    return 1;
}

static int read_text(etcp_proxy_header *h)
{
    char line[ETCP_PROXY_TEXT_MAX];
    size_t len = h->len - 2;
    char *at = line + sizeof text_start;
    const char *protocol;

    if (memchr(h->bytes, '\0', len))
        return ETCP_EPROXY;
    memcpy(line, h->bytes, len);
    line[len] = '\0';
    protocol = next_word(&at);
    if (!protocol)
        return ETCP_EPROXY;
    if (strcmp(protocol, "TCP4") == 0)
        return read_addresses(h, at, AF_INET);
    if (strcmp(protocol, "TCP6") == 0)
        return read_addresses(h, at, AF_INET6);
    return strcmp(protocol, "UNKNOWN") == 0 ? 1 : ETCP_EPROXY; /* whatever follows */
}

static int is_line(const etcp_proxy_header *h)
{
    return h->len > sizeof text_start && h->bytes[h->len - 1] == '\n' &&
           h->bytes[h->len - 2] == '\r';
}

/* ---- version 2: binary
 * --------------------------------------------------------------------------- */

/* The sum of RFC 3720, appendix B.4, of the whole header, its own field taken as zero. */
static uint32_t crc32c(const uint8_t *bytes, size_t len, size_t field)
{
    uint32_t crc = 0xffffffffu;
    size_t i;
    int bit;

    for (i = 0; i < len; i++) {
        crc ^= i >= field && i < field + CRC_SIZE ? 0 : bytes[i];
        for (bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

static int is_sum_right(const etcp_proxy_header *h, size_t field)
{
    uint32_t sum = (uint32_t)read_16(h->bytes + field) << 16 | read_16(h->bytes + field + 2);

    return sum == crc32c(h->bytes, h->len, field);
}

/* What follows the addresses: types we do not know mean nothing to us. */
static int check_vectors(const etcp_proxy_header *h, size_t at)
{
    while (at < h->len) {
        size_t len;

        if (h->len - at < TLV_HEAD)
            return ETCP_EPROXY;
        len = read_16(h->bytes + at + 1);
        if (h->len - at - TLV_HEAD < len)
            return ETCP_EPROXY;
        if (h->bytes[at] == TLV_CRC32C && (len != CRC_SIZE || !is_sum_right(h, at + TLV_HEAD)))
            return ETCP_EPROXY;
        at += TLV_HEAD + len;
    }
    return 1;
}

static int read_binary_addresses(etcp_proxy_header *h, uint8_t family, size_t size)
{
    const uint8_t *at = h->bytes + ETCP_PROXY_FIXED;

    if (h->len - ETCP_PROXY_FIXED < 2 * size + 4)
        return ETCP_EPROXY;
    if (check_vectors(h, ETCP_PROXY_FIXED + 2 * size + 4) < 0)
        return ETCP_EPROXY;
    h->family = family;
    memcpy(h->source, at, size);
    h->port = (uint16_t)read_16(at + 2 * size);
    return 1;
}

/* A block that says nothing of use is skipped by its length: some fill it with zeros. */
static int read_binary(etcp_proxy_header *h)
{
    if (h->bytes[12] == COMMAND_LOCAL)
        return 1;
    switch (h->bytes[13]) {
    case TCP4: return read_binary_addresses(h, 4, 4);
    case TCP6: return read_binary_addresses(h, 6, 16);
    case UNIX_STREAM:
    case UNSPECIFIED: return 1;
    default: return ETCP_EPROXY;
    }
}

/* ---- both
 * ---------------------------------------------------------------------------------------- */

/* Whether what is here agrees with the beginning of a header. */
static int agrees_with(const etcp_proxy_header *h, const uint8_t *start, size_t size)
{
    return memcmp(h->bytes, start, h->len < size ? h->len : size) == 0;
}

/* How many more bytes surely belong to the header: 0 when it is complete; or ETCP_EPROXY. */
static int wanted(const etcp_proxy_header *h)
{
    size_t whole;

    if (agrees_with(h, text_start, sizeof text_start)) {
        if (is_line(h))
            return 0;
        return h->len < ETCP_PROXY_TEXT_MAX ? 1 : ETCP_EPROXY;
    }
    if (!agrees_with(h, binary_start, sizeof binary_start))
        return ETCP_EPROXY;
    if (h->len < ETCP_PROXY_FIXED)
        return h->len < sizeof binary_start ? 1 : (int)(ETCP_PROXY_FIXED - h->len);
    whole = ETCP_PROXY_FIXED + read_16(h->bytes + 14);
    if (h->bytes[12] != COMMAND_LOCAL && h->bytes[12] != COMMAND_PROXY)
        return ETCP_EPROXY;
    return whole <= ETCP_PROXY_MAX ? (int)(whole - h->len) : ETCP_EPROXY;
}

int etcp_proxy_header_feed(etcp_proxy_header *h, const uint8_t *bytes, size_t len, size_t *used)
{
    int more;

    *used = 0;
    while ((more = wanted(h)) > 0) {
        size_t part = len - *used < (size_t)more ? len - *used : (size_t)more;

        if (part == 0)
            return ETCP_AGAIN;
        memcpy(h->bytes + h->len, bytes + *used, part);
        h->len += part;
        *used += part;
    }
    if (more < 0)
        return more;
    return h->bytes[0] == text_start[0] ? read_text(h) : read_binary(h);
}
