#!/bin/sh
# Crypt::CBC 3.04: what it writes with the header "randomiv", it cannot read. Others can.
#
# Asked for -header => 'randomiv', as messages from before 2006 have it, encrypt works as ever, and decrypt
# gives the empty string, or bytes that nobody wrote, for the same key, without an error. The message itself
# is right: by hand it is read, and by 2.33 with the same options. Whoever tests a migration by writing alone,
# or by letting an old program read, sees nothing wrong. The test is one call: decrypt(encrypt($x)) eq $x.
# Remedy: 3.07, or reading with 2.33.
#
# Debian's packages, unpacked in a temporary folder and run there by the perl that is here. Needs apt and perl
# 5.36 of Debian 12.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
fetch() {
    apt-get -q download "$1=$2" >log 2>&1 || { tail -3 log; exit 2; }
    dpkg-deb -x "$1"_*.deb root
}
fetch libcrypt-cbc-perl 3.04-3
fetch libcrypt-blowfish-perl 2.14-3+b1

cat >show.pl <<'PERL'
use strict;
use warnings;
use Crypt::Blowfish;
use Crypt::CBC;
use Digest::MD5 qw(md5);

print "Crypt::CBC $Crypt::CBC::VERSION, Crypt::Blowfish $Crypt::Blowfish::VERSION, perl $]\n";

# Bytes of chance from elsewhere, so that each run is like the other.
{ no warnings 'redefine'; *Crypt::CBC::_get_random_bytes = sub { substr 'ABCDEFGHIJKLMNOP', 0, $_[1] } }

# The key that every release makes of a passphrase for this header, and plain CBC.
sub by_hand {
    my ($passphrase, $message) = @_;
    my $key = md5($passphrase);
    $key .= md5($key) while length $key < 56;
    my $cipher = Crypt::Blowfish->new(substr $key, 0, 56);
    my ($last, @blocks) = unpack '(a8)*', substr $message, 8;
    my $text = join '', map { my $block = $cipher->decrypt($_) ^ $last; $last = $_; $block } @blocks;
    return substr $text, 0, -ord substr $text, -1;
}

for my $header (qw(salt randomiv)) {
    my @new = (-key => 'a passphrase', -cipher => 'Crypt::Blowfish', -header => $header, -nodeprecate => 1);
    my $message = Crypt::CBC->new(@new)->encrypt('hello, world');
    my $back = Crypt::CBC->new(@new)->decrypt($message);
    printf "%-8s  written %s\n          read back %s\n", $header, unpack('H*', $message),
        $back eq 'hello, world' ? "'$back'" : $back eq '' ? 'as nothing' : 'as other bytes';
    print "          by hand   '", by_hand('a passphrase', $message), "'\n" if $header eq 'randomiv';
}
PERL
PERL5LIB=$tmp/root/usr/share/perl5:$tmp/root/usr/lib/x86_64-linux-gnu/perl5/5.36 perl show.pl | tee said

grep -q '^Crypt::CBC 3\.04, ' said
test "$(grep -c "read back 'hello, world'" said)" = 1
grep -q "^randomiv  written 52616e646f6d49564142434445464748" said
grep -A1 '^randomiv' said | grep -q 'read back as '
grep -q "by hand   'hello, world'" said
echo "as described"
