#include "capability_list.h"

#include <string.h>

/* In alphabetical order. */
static const struct row {
    char letter;
    char number; /* one digit is enough so far */
    unsigned bit;
    struct flag {
        char letter; /* in alphabetical order; 0: no more */
        unsigned bit;
    } flags[3];
} rows[] = {
    {'B', '1', ETCP_CAN_BOOLEANS, {{0, 0}}},
    {'M', '1', ETCP_CAN_MIX, {{'l', ETCP_CAN_MIX_LZF}, {'z', ETCP_CAN_MIX_ZLIB}}},
    {'N', '1', ETCP_CAN_EXACT_NUMBERS, {{0, 0}}},
    {'T', '1', ETCP_CAN_TLS, {{'r', ETCP_TLS_REQUIRED}, {'w', ETCP_TLS_ASKS}}},
};

static int is_between(uint8_t c, char first, char last)
{
    return c >= (uint8_t)first && c <= (uint8_t)last;
}

/* The row of a letter with the number digits[0..len), or NULL. */
static const struct row *row_of(uint8_t letter, const uint8_t *digits, size_t len)
{
    size_t i;

    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (letter == (uint8_t)rows[i].letter && len == 1 && digits[0] == (uint8_t)rows[i].number)
            return &rows[i];
    }
    return NULL;
}

static unsigned flag_of(const struct row *row, uint8_t letter)
{
    const struct flag *f;

    for (f = row->flags; f->letter; f++)
        if (letter == (uint8_t)f->letter)
            return f->bit;
    return 0;
}

unsigned etcp_capability_list_parse(const uint8_t *text, size_t len)
{
    unsigned set = 0;
    uint8_t last = 0;
    size_t i = 0;

    if (len > ETCP_CAPABILITY_LIST_MAX)
        return 0;
    while (i < len) {
        const struct row *row = NULL;
        const uint8_t letter = text[i++];
        const size_t start = i;

        if (!is_between(letter, 'A', 'Z') || letter < last)
            return 0;
        while (i < len && is_between(text[i], '0', '9'))
            i++;
        if (i == start)
            return 0;
        if (letter != last)
            row = row_of(letter, text + start, i - start);
        set |= row ? row->bit : 0;
        for (; i < len && is_between(text[i], 'a', 'z'); i++)
            set |= row ? flag_of(row, text[i]) : 0;
        last = letter;
    }
    return set;
}

void etcp_capability_list_compose(unsigned set, char list[ETCP_CAPABILITY_LIST_MAX + 1])
{
    size_t len = 0;
    size_t i;

    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct flag *f;

        if (!(set & rows[i].bit))
            continue;
        list[len++] = rows[i].letter;
        list[len++] = rows[i].number;
        for (f = rows[i].flags; f->letter; f++)
            if (set & f->bit)
                list[len++] = f->letter;
    }
    list[len] = '\0';
}
