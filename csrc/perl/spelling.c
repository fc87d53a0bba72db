#include "spelling.h"

enum { LETTERS_MAX = 32, NEAR = 2, SHORT = 3 /* letters; one that differs is enough of these */ };

static size_t least_of(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;

    return least < c ? least : c;
}

/* How many letters must be changed, dropped, added or exchanged to make b of a: the distance of
 * Damerau and Levenshtein, without changing a letter twice. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t rows[3][LETTERS_MAX + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    size_t i, j;

    for (j = 0; j <= b_len; j++)
        last[j] = before[j] = j;
    for (i = 1; i <= a_len; i++) {
        size_t *spare = before;

        now[0] = i;
        for (j = 1; j <= b_len; j++) {
            now[j] = least_of(last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
        before = last;
        last = now;
        now = spare;
    }
    return last[b_len];
}

void etcp_spelling_check(pTHX_ const char *what, SV *name, const char *const *known, size_t count)
{
    STRLEN len;
    const char *text = SvPV_const(name, len);
    const char *nearest = NULL;
    size_t best = len > SHORT ? NEAR + 1 : NEAR;
    size_t i;

    if (len == 0 || len > LETTERS_MAX || text[0] == '_')
        return;
    for (i = 0; i < count; i++) {
        size_t far = known[i][0] == '_' || strlen(known[i]) > LETTERS_MAX
                         ? best
                         : distance(text, len, known[i], strlen(known[i]));
        if (far < best) {
            best = far;
            nearest = known[i];
        }
    }
    if (nearest)
        etcp_spelling_warn(aTHX_ sv_2mortal(newSVpvf("Unknown %s '%" SVf "': is '%s' meant?", what,
                                                     SVfARG(name), nearest)));
}

void etcp_spelling_warn(pTHX_ SV *text)
{
    dSP;

    PUSHMARK(SP);
    XPUSHs(text);
    PUTBACK;
    call_pv("Net::EasyTCP::_warn_once", G_VOID | G_DISCARD);
}
