#include "forms.h"

#include "object.h"
#include "storable.h"

enum { FOR_BEST, FOR_NUMBERS, FOR_ALL };

/* The same for every perl: forms may come from another process, whose perl has booleans. */
const unsigned etcp_forms_need[ETCP_FORMS] = {ETCP_CAN_BOOLEANS | ETCP_CAN_EXACT_NUMBERS,
                                              ETCP_CAN_EXACT_NUMBERS, 0};

/* Freezes data in a form, unless it is the same as the best one. */
static void add_form(pTHX_ SV *data, etcp_forms *f, int form)
{
    const U8 *image;
    STRLEN len;

    (void)etcp_perl_freeze(aTHX_ data, etcp_forms_need[form], &image, &len);
    if (len != SvCUR(f->bytes[FOR_BEST]) || memNE(image, SvPVX_const(f->bytes[FOR_BEST]), len))
        f->bytes[form] = sv_2mortal(newSVpvn((const char *)image, len));
}

static void freeze(pTHX_ SV *data, etcp_forms *f)
{
    const U8 *image;
    STRLEN len;
    int is_ours = etcp_perl_freeze(aTHX_ data, etcp_forms_need[FOR_BEST], &image, &len);

    f->flags = ETCP_MESSAGE_COMPLEX;
    f->bytes[FOR_BEST] = sv_2mortal(newSVpvn((const char *)image, len));
    if (!is_ours)
        return; /* Storable made it, for everybody */
    add_form(aTHX_ data, f, FOR_ALL);
    if (f->bytes[FOR_ALL])
        add_form(aTHX_ data, f, FOR_NUMBERS);
}

int etcp_forms_make(pTHX_ SV *data, etcp_forms *f)
{
    STRLEN len;
    const char *bytes;
    SV *text;

    Zero(f, 1, etcp_forms);
    if (SvROK(data)) {
        freeze(aTHX_ data, f);
        return 1;
    }
    bytes = SvPV_nomg_const(data, len);
    text = sv_2mortal(SvUTF8(data) ? newSVpvn_utf8(bytes, len, 1) : newSVpvn(bytes, len));
    f->bytes[FOR_BEST] = text;
    if (!SvUTF8(text) || sv_utf8_downgrade(text, TRUE))
        return 1;
    etcp_fail(aTHX_ "Error sending data: Wide character in data");
    return 0;
}

void etcp_forms_hold(pTHX_ const etcp_forms *f)
{
    int i;

    for (i = 0; i < ETCP_FORMS; i++)
        SvREFCNT_inc_simple_void(f->bytes[i]);
}

void etcp_forms_drop(pTHX_ const etcp_forms *f)
{
    int i;

    for (i = 0; i < ETCP_FORMS; i++)
        SvREFCNT_dec(f->bytes[i]);
}

int etcp_forms_kind(unsigned can)
{
    int form = 0;

    while (etcp_forms_need[form] & ~can)
        form++;
    return form;
}

SV *etcp_forms_for(const etcp_forms *f, unsigned can)
{
    int form = etcp_forms_kind(can);

    while (!f->bytes[form])
        form--;
    return f->bytes[form];
}
