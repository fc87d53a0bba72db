#include "forms.h"

#include "object.h"
#include "storable.h"

static void freeze(pTHX_ SV *data, etcp_forms *f)
{
    const U8 *image;
    STRLEN len;
    int is_ours = etcp_perl_freeze(aTHX_ data, ETCP_FORMS_BEST, &image, &len);

    f->flags = ETCP_MESSAGE_COMPLEX;
    f->best = sv_2mortal(newSVpvn((const char *)image, len));
    if (!is_ours)
        return; /* Storable made it, for everybody */
    (void)etcp_perl_freeze(aTHX_ data, 0, &image, &len);
    if (len != SvCUR(f->best) || memNE(image, SvPVX_const(f->best), len))
        f->any = sv_2mortal(newSVpvn((const char *)image, len));
}

int etcp_forms_make(pTHX_ SV *data, etcp_forms *f)
{
    STRLEN len;
    const char *bytes;

    Zero(f, 1, etcp_forms);
    if (SvROK(data)) {
        freeze(aTHX_ data, f);
        return 1;
    }
    bytes = SvPV_nomg_const(data, len);
    f->best = SvUTF8(data) ? newSVpvn_utf8(bytes, len, 1) : newSVpvn(bytes, len);
    f->best = sv_2mortal(f->best);
    if (!SvUTF8(f->best) || sv_utf8_downgrade(f->best, TRUE))
        return 1;
    etcp_fail(aTHX_ "Error sending data: Wide character in data");
    return 0;
}
