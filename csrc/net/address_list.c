#include "address_list.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { MAPPED_BITS = 96 }; /* in front of an IPv4 address that is written as IPv6 */

/* ---- networks -------------------------------------------------------------------------------- */

static void mask(etcp_network *n)
{
    size_t whole = n->length / 8u;

    if (whole >= sizeof n->bytes)
        return;
    n->bytes[whole] &= (uint8_t)(0xff00u >> n->length % 8u);
    memset(n->bytes + whole + 1, 0, sizeof n->bytes - whole - 1);
}

/* Digits only; returns -1 when it is no number of at most max. */
static int read_length(const char *text, long max)
{
    char *end;
    long length = strtol(text, &end, 10);

    return *text < '0' || *text > '9' || *end != '\0' || length > max ? -1 : (int)length;
}

/* Peers of a listener for both kinds are known by their IPv4 addresses: so are their networks. */
static void unmap(etcp_network *n)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    if (n->family != 6 || n->length < MAPPED_BITS || memcmp(n->bytes, mapped, sizeof mapped) != 0)
        return;
    memmove(n->bytes, n->bytes + 12, 4);
    n->family = 4;
    n->length = (uint8_t)(n->length - MAPPED_BITS);
}

static int read_network(const char *text, const char *slash, etcp_network *n)
{
    char address[INET6_ADDRSTRLEN];
    size_t len = (size_t)(slash - text);
    int length;

    if (len >= sizeof address)
        return ETCP_EINVAL;
    memcpy(address, text, len);
    address[len] = '\0';
    memset(n, 0, sizeof *n);
    if (inet_pton(AF_INET, address, n->bytes) == 1)
        n->family = 4;
    else if (inet_pton(AF_INET6, address, n->bytes) == 1)
        n->family = 6;
    else
        return ETCP_EINVAL;
    length = read_length(slash + 1, n->family == 4 ? 32 : 128);
    if (length < 0)
        return ETCP_EINVAL;
    n->length = (uint8_t)length;
    unmap(n);
    mask(n);
    return 0;
}

/* By family, then by length: so networks of one length can be searched by halves, and how they lie
 * within each other does not matter. */
static int compare_networks(const etcp_network *a, const etcp_network *b)
{
    if (a->family != b->family)
        return a->family < b->family ? -1 : 1;
    if (a->length != b->length)
        return a->length < b->length ? -1 : 1;
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

/* The first network that is not before key; network_count: there is none. */
static size_t network_place(const etcp_address_list *l, const etcp_network *key)
{
    size_t low = 0;
    size_t high = l->network_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare_networks(&l->networks[middle], key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int is_network_at(const etcp_address_list *l, size_t place, const etcp_network *key)
{
    return place < l->network_count && compare_networks(&l->networks[place], key) == 0;
}

static int add_network(etcp_address_list *l, const etcp_network *n)
{
    size_t place = network_place(l, n);
    etcp_network *grown;

    if (is_network_at(l, place, n))
        return 0;
    grown = etcp_realloc(l->networks, (l->network_count + 1) * sizeof *grown);
    if (!grown)
        return ETCP_ENOMEM;
    l->networks = grown;
    memmove(grown + place + 1, grown + place, (l->network_count - place) * sizeof *grown);
    grown[place] = *n;
    l->network_count++;
    return 0;
}

static void remove_network(etcp_address_list *l, const etcp_network *n)
{
    size_t place = network_place(l, n);

    if (!is_network_at(l, place, n))
        return;
    l->network_count--;
    memmove(l->networks + place, l->networks + place + 1,
            (l->network_count - place) * sizeof *l->networks);
}

/* One search for each length that is in use, the shortest first. */
static int has_network(const etcp_address_list *l, const etcp_address *address)
{
    int bits = address->family == 4 ? 32 : 128;
    int length = 0;

    while (length <= bits) {
        etcp_network key;
        size_t place;

        memset(&key, 0, sizeof key);
        key.family = address->family;
        key.length = (uint8_t)length;
        place = network_place(l, &key);
        if (place == l->network_count || l->networks[place].family != address->family)
            return 0;
        key.length = l->networks[place].length;
        memcpy(key.bytes, address->bytes, address->family == 4 ? 4 : 16);
        mask(&key);
        if (is_network_at(l, network_place(l, &key), &key))
            return 1;
        length = key.length + 1;
    }
    return 0;
}

/* ---- texts ----------------------------------------------------------------------------------- */

static size_t text_place(const etcp_address_list *l, const char *text)
{
    size_t low = 0;
    size_t high = l->text_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(l->texts[middle], text) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int is_text_at(const etcp_address_list *l, size_t place, const char *text)
{
    return place < l->text_count && strcmp(l->texts[place], text) == 0;
}

static int add_text(etcp_address_list *l, const char *text)
{
    size_t place = text_place(l, text);
    char **grown;
    char *copy;

    if (is_text_at(l, place, text))
        return 0;
    grown = etcp_realloc(l->texts, (l->text_count + 1) * sizeof *grown);
    if (!grown)
        return ETCP_ENOMEM;
    l->texts = grown;
    copy = etcp_memdup(text, strlen(text));
    if (!copy)
        return ETCP_ENOMEM;
    memmove(grown + place + 1, grown + place, (l->text_count - place) * sizeof *grown);
    grown[place] = copy;
    l->text_count++;
    return 0;
}

static void remove_text(etcp_address_list *l, const char *text)
{
    size_t place = text_place(l, text);

    if (!is_text_at(l, place, text))
        return;
    etcp_free(l->texts[place]);
    l->text_count--;
    memmove(l->texts + place, l->texts + place + 1, (l->text_count - place) * sizeof *l->texts);
}

/* ---- both ------------------------------------------------------------------------------------ */

int etcp_address_list_add(etcp_address_list *l, const char *text)
{
    const char *slash = strchr(text, '/');
    etcp_network n;

    if (!slash)
        return add_text(l, text);
    return read_network(text, slash, &n) < 0 ? ETCP_EINVAL : add_network(l, &n);
}

int etcp_address_list_remove(etcp_address_list *l, const char *text)
{
    const char *slash = strchr(text, '/');
    etcp_network n;

    if (!slash)
        remove_text(l, text);
    else if (read_network(text, slash, &n) < 0)
        return ETCP_EINVAL;
    else
        remove_network(l, &n);
    return 0;
}

int etcp_address_list_has(const etcp_address_list *l, const etcp_address *address)
{
    char text[64];

    if (l->text_count &&
        is_text_at(l, text_place(l, etcp_address_text(address, text, sizeof text)), text))
        return 1;
    return l->network_count && (address->family == 4 || address->family == 6) &&
           has_network(l, address);
}

int etcp_address_list_copy(const etcp_address_list *from, etcp_address_list *to)
{
    size_t i;

    for (i = 0; i < from->text_count; i++)
        if (add_text(to, from->texts[i]) < 0)
            return ETCP_ENOMEM;
    for (i = 0; i < from->network_count; i++)
        if (add_network(to, &from->networks[i]) < 0)
            return ETCP_ENOMEM;
    return 0;
}

void etcp_address_list_clear(etcp_address_list *l)
{
    size_t i;

    for (i = 0; i < l->text_count; i++)
        etcp_free(l->texts[i]);
    etcp_free(l->texts);
    etcp_free(l->networks);
    memset(l, 0, sizeof *l);
}
