#include "writer.h"

#include "base/mem.h"

enum {
    FIRST_SLOTS = 64,
    FIRST_LOANS = 16,
    KEPT_SLOTS = 16384,      /* larger tables do not outlive their image */
    KEPT_BYTES = 1024 * 1024 /* larger buffers do when the last image filled a quarter of them */
};

void etcp_storable_writer_init(etcp_storable_writer *w)
{
    memset(w, 0, sizeof *w);
    etcp_buf_init(&w->out);
}

void etcp_storable_writer_deinit(etcp_storable_writer *w)
{
    etcp_free(w->slots);
    etcp_free(w->loans);
    etcp_buf_deinit(&w->out);
    etcp_storable_writer_init(w);
}

static void drop_slots(etcp_storable_writer *w)
{
    etcp_free(w->slots);
    w->slots = NULL;
    w->slot_count = 0;
}

int etcp_storable_begin(etcp_storable_writer *w, uint8_t minor)
{
    uint8_t *header;

    if (w->out.cap > KEPT_BYTES && etcp_buf_len(&w->out) < w->out.cap / 4)
        etcp_buf_deinit(&w->out);
    etcp_buf_clear(&w->out);
    /* Image numbers mark the slots; when they run out, old marks could be taken for ours. */
    if (w->slot_count > KEPT_SLOTS || ++w->image == 0) {
        drop_slots(w);
        w->image = 1;
    }
    w->seen = 0;
    w->next_tag = 0;
    w->loan_count = 0;
    header = etcp_storable_room(w, 2);
    if (!header)
        return ETCP_ENOMEM;
    header[0] = ETCP_SX_NETWORK_2;
    header[1] = minor;
    etcp_storable_wrote(w, 2);
    return 0;
}

/* ---- what was met before --------------------------------------------------------------------- */

/* The slot that holds address in the current image, or the empty one where it belongs. */
static etcp_storable_slot *find_slot(const etcp_storable_writer *w, const void *address)
{
    /* Addresses are multiples of 8 or more; the multiplication spreads the rest (Knuth 6.4). */
    uint64_t spread = ((uint64_t)(uintptr_t)address >> 3) * UINT64_C(0x9E3779B97F4A7C15);
    size_t i = (size_t)(spread >> 32) & (w->slot_count - 1);

    while (w->slots[i].image == w->image && w->slots[i].address != address)
        i = (i + 1) & (w->slot_count - 1);
    return &w->slots[i];
}

static int grow_slots(etcp_storable_writer *w)
{
    etcp_storable_slot *old = w->slots;
    size_t old_count = w->slot_count;
    size_t count = old_count ? old_count * 2 : FIRST_SLOTS;
    size_t i;

    if (count > SIZE_MAX / sizeof *old)
        return ETCP_ENOMEM;
    w->slots = etcp_zalloc(count * sizeof *old);
    if (!w->slots) {
        w->slots = old;
        return ETCP_ENOMEM;
    }
    w->slot_count = count;
    for (i = 0; i < old_count; i++) {
        if (old[i].image == w->image)
            *find_slot(w, old[i].address) = old[i];
    }
    etcp_free(old);
    return 0;
}

int etcp_storable_meet(etcp_storable_writer *w, const void *address)
{
    etcp_storable_slot *slot;
    uint8_t *to;

    if (w->seen >= w->slot_count / 2 && grow_slots(w) < 0)
        return ETCP_ENOMEM;
    slot = find_slot(w, address);
    if (slot->image != w->image) {
        /* Old peers take tags for signed numbers. */
        if (w->next_tag >= INT32_MAX)
            return ETCP_ETOOBIG;
        slot->address = address;
        slot->tag = w->next_tag++;
        slot->image = w->image;
        w->seen++;
        return 0;
    }
    to = etcp_storable_room(w, 5);
    if (!to)
        return ETCP_ENOMEM;
    to[0] = ETCP_SX_OBJECT;
    etcp_storable_store_u32(to + 1, slot->tag);
    etcp_storable_wrote(w, 5);
    return 1;
}

int etcp_storable_find(const etcp_storable_writer *w, const void *address, uint32_t *tag)
{
    const etcp_storable_slot *slot;

    if (!w->slot_count)
        return 0;
    slot = find_slot(w, address);
    if (slot->image != w->image)
        return 0;
    *tag = slot->tag;
    return 1;
}

/* ---- loans ----------------------------------------------------------------------------------- */

static int reserve_loan(etcp_storable_writer *w)
{
    size_t cap = w->loan_cap ? 2 * w->loan_cap : FIRST_LOANS;
    etcp_storable_loan *loans;

    if (w->loan_count < w->loan_cap)
        return 0;
    loans = etcp_realloc(w->loans, cap * sizeof *loans);
    if (!loans)
        return ETCP_ENOMEM;
    w->loans = loans;
    w->loan_cap = cap;
    return 0;
}

int etcp_storable_lend_string(etcp_storable_writer *w, const void *bytes, size_t len, int is_utf8,
                              void *owner)
{
    uint8_t *to = etcp_storable_room(w, 5);
    etcp_storable_loan *loan;

    if (!to || reserve_loan(w) < 0)
        return ETCP_ENOMEM;
    to[0] = is_utf8 ? ETCP_SX_LUTF8STR : ETCP_SX_LSCALAR;
    etcp_storable_store_u32(to + 1, (uint32_t)len);
    etcp_storable_wrote(w, 5);
    loan = &w->loans[w->loan_count++];
    loan->at = etcp_buf_len(&w->out);
    loan->bytes = bytes;
    loan->len = len;
    loan->owner = owner;
    return 0;
}

/* ---- items ----------------------------------------------------------------------------------- */

static int put_digits(etcp_storable_writer *w, int is_negative, uint64_t magnitude)
{
    char text[24];
    char *at = text + sizeof text;

    do
        *--at = (char)('0' + magnitude % 10);
    while ((magnitude /= 10) != 0);
    if (is_negative)
        *--at = '-';
    return etcp_storable_put_string(w, at, (size_t)(text + sizeof text - at), 0);
}

int etcp_storable_put_integer(etcp_storable_writer *w, int is_negative, uint64_t magnitude,
                              int with_netint)
{
    uint32_t bits;
    uint8_t *to;

    if (magnitude > (is_negative ? UINT64_C(0x80000000) : UINT64_C(0x7fffffff)))
        return put_digits(w, is_negative, magnitude);
    bits = is_negative ? 0u - (uint32_t)magnitude : (uint32_t)magnitude;
    to = etcp_storable_room(w, 5);
    if (!to)
        return ETCP_ENOMEM;
    if (bits + 128 <= 255) {
        to[0] = ETCP_SX_BYTE;
        to[1] = (uint8_t)(bits + 128);
        etcp_storable_wrote(w, 2);
        return 0;
    }
    if (!with_netint)
        return put_digits(w, is_negative, magnitude);
    to[0] = ETCP_SX_NETINT;
    etcp_storable_store_u32(to + 1, bits);
    etcp_storable_wrote(w, 5);
    return 0;
}

static int put_exact(etcp_storable_writer *w, etcp_storable_op op, uint64_t bits)
{
    uint8_t *to = etcp_storable_room(w, 9);

    if (!to)
        return ETCP_ENOMEM;
    to[0] = (uint8_t)op;
    etcp_storable_store_u32(to + 1, (uint32_t)(bits >> 32));
    etcp_storable_store_u32(to + 5, (uint32_t)bits);
    etcp_storable_wrote(w, 9);
    return 0;
}

int etcp_storable_put_exact_double(etcp_storable_writer *w, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return put_exact(w, ETCP_SX_EXACT_DOUBLE, bits);
}

int etcp_storable_put_exact_integer(etcp_storable_writer *w, int is_negative, uint64_t magnitude)
{
    if (magnitude <= (is_negative ? UINT64_C(0x80000000) : UINT64_C(0x7fffffff)))
        return etcp_storable_put_integer(w, is_negative, magnitude, 1);
    if (is_negative)
        return put_exact(w, ETCP_SX_EXACT_INTEGER, 0 - magnitude);
    return put_exact(w, magnitude >> 63 ? ETCP_SX_EXACT_UNSIGNED : ETCP_SX_EXACT_INTEGER,
                     magnitude);
}

int etcp_storable_put_exact_decimal(etcp_storable_writer *w, const char *text, size_t len)
{
    uint8_t *to = etcp_storable_room(w, len + 2);

    if (!to)
        return ETCP_ENOMEM;
    to[0] = ETCP_SX_EXACT_DECIMAL;
    to[1] = (uint8_t)len;
    memcpy(to + 2, text, len);
    etcp_storable_wrote(w, len + 2);
    return 0;
}

/* The opcode, and a number in the short or long form of BLESS and IX_BLESS. */
static uint8_t *put_class_number(uint8_t *to, etcp_storable_op op, uint32_t number)
{
    *to++ = (uint8_t)op;
    if (number <= ETCP_SX_SHORT_CLASS_MAX) {
        *to++ = (uint8_t)number;
        return to;
    }
    *to++ = ETCP_SX_LONG_CLASS;
    etcp_storable_store_u32(to, number);
    return to + 4;
}

int etcp_storable_put_class(etcp_storable_writer *w, const uint8_t *name, size_t len)
{
    uint8_t *start = etcp_storable_room(w, len + 6);
    uint8_t *to;

    if (!start)
        return ETCP_ENOMEM;
    to = put_class_number(start, ETCP_SX_BLESS, (uint32_t)len);
    memcpy(to, name, len);
    etcp_storable_wrote(w, (size_t)(to - start) + len);
    return 0;
}

int etcp_storable_put_class_index(etcp_storable_writer *w, uint32_t index)
{
    uint8_t *start = etcp_storable_room(w, 6);

    if (!start)
        return ETCP_ENOMEM;
    etcp_storable_wrote(w, (size_t)(put_class_number(start, ETCP_SX_IX_BLESS, index) - start));
    return 0;
}

/* ---- hooks ----------------------------------------------------------------------------------- */

/* The opcode unless it was written before, flags, and what is tied. */
static int put_hook_start(etcp_storable_writer *w, const etcp_storable_hook *h, unsigned flags)
{
    uint8_t *to = etcp_storable_room(w, 3);
    size_t len = 0;

    if (!to)
        return ETCP_ENOMEM;
    if (!h->has_begun)
        to[len++] = ETCP_SX_HOOK;
    to[len++] = (uint8_t)(flags | h->kind);
    if (!h->has_begun && h->kind == ETCP_SX_HOOK_TIED)
        to[len++] = (uint8_t)h->tied;
    etcp_storable_wrote(w, len);
    return 0;
}

int etcp_storable_begin_hook(etcp_storable_writer *w, etcp_storable_hook *h)
{
    int rc = put_hook_start(w, h, ETCP_SX_HOOK_RECURSE);

    h->has_begun = 1;
    return rc;
}

/* A number in one byte, or in four. */
static uint8_t *put_hook_number(uint8_t *to, int is_large, size_t n)
{
    if (!is_large) {
        *to = (uint8_t)n;
        return to + 1;
    }
    etcp_storable_store_u32(to, (uint32_t)n);
    return to + 4;
}

static unsigned hook_flags(const etcp_storable_hook *h)
{
    unsigned flags = h->name ? 0 : ETCP_SX_HOOK_CLASS_INDEX;

    if ((h->name ? h->name_len : h->index) > ETCP_SX_SHORT_MAX)
        flags |= ETCP_SX_HOOK_LARGE_CLASS;
    if (h->text_len > ETCP_SX_SHORT_MAX)
        flags |= ETCP_SX_HOOK_LARGE_STRING;
    if (h->tag_count)
        flags |= ETCP_SX_HOOK_LIST;
    if (h->tag_count > ETCP_SX_SHORT_MAX)
        flags |= ETCP_SX_HOOK_LARGE_LIST;
    return flags;
}

int etcp_storable_put_hook(etcp_storable_writer *w, const etcp_storable_hook *h)
{
    const size_t name_len = h->name ? h->name_len : 0;
    const unsigned flags = hook_flags(h);
    uint8_t *start;
    uint8_t *to;

    if (put_hook_start(w, h, flags) < 0)
        return ETCP_ENOMEM;
    start = etcp_storable_room(w, name_len + h->text_len + 12);
    if (!start)
        return ETCP_ENOMEM;
    to = put_hook_number(start, flags & ETCP_SX_HOOK_LARGE_CLASS, h->name ? name_len : h->index);
    if (name_len)
        memcpy(to, h->name, name_len);
    to = put_hook_number(to + name_len, flags & ETCP_SX_HOOK_LARGE_STRING, h->text_len);
    if (h->text_len)
        memcpy(to, h->text, h->text_len);
    to += h->text_len;
    if (h->tag_count)
        to = put_hook_number(to, flags & ETCP_SX_HOOK_LARGE_LIST, h->tag_count);
    etcp_storable_wrote(w, (size_t)(to - start));
    return 0;
}

/* ---- version strings ------------------------------------------------------------------------- */

int etcp_storable_put_literal(etcp_storable_writer *w, const uint8_t *literal, size_t len)
{
    uint8_t *to = etcp_storable_room(w, len + 5);
    size_t head = len <= ETCP_SX_SHORT_MAX ? 2 : 5;

    if (!to)
        return ETCP_ENOMEM;
    if (head == 2) {
        to[0] = ETCP_SX_VSTRING;
        to[1] = (uint8_t)len;
    } else {
        to[0] = ETCP_SX_LVSTRING;
        etcp_storable_store_u32(to + 1, (uint32_t)len);
    }
    if (len)
        memcpy(to + head, literal, len);
    etcp_storable_wrote(w, head + len);
    return 0;
}
