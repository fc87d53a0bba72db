#!/bin/sh
# Storable 3.26: what nfreeze has frozen is no number any more, and JSON shows it.
#
# In network order Storable writes whole numbers up to 32 bits as such, and all other numbers as text: 0.5,
# 1.5, 2147483648, a time in milliseconds. thaw makes strings of them, of at most 15 digits. Perl computes
# with them as before, and nobody notices until the structure leaves Perl: JSON::PP writes "0.5" where it
# wrote 0.5, and a program in another language is given another type, for some values of the same field. 0.1 +
# 0.2 also compares unlike itself afterwards. freeze, in the machine's own order, keeps numbers. Remedy:
# freeze where both ends are alike, or add 0 to each number that thaw gives.
#
# Debian 12's packages, unpacked in a temporary folder and run by the perl that is here. Needs
# apt, and perl 5.36 of Debian 12.
set -eu
version=5.36.0-7+deb12u4
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
for package in libperl5.36 perl-modules-5.36 perl-base; do
    apt-get -q download "$package=$version" >log 2>&1 || { tail -3 log; exit 2; }
done
for package in *.deb; do dpkg-deb -x "$package" root; done

cat >show.pl <<'PERL'
use strict;
use warnings;
use JSON::PP ();
use Storable qw(freeze nfreeze thaw);

print "Storable $Storable::VERSION, JSON::PP $JSON::PP::VERSION, perl $]\n";
my $json = JSON::PP->new;
my @numbers = (1, 0.5, -1.5, 2147483647, 2147483648, 1764380000123);
print 'before:        ', $json->encode([@numbers]), "\n";
print 'after freeze:  ', $json->encode(thaw(freeze([@numbers]))), "\n";
print 'after nfreeze: ', $json->encode(thaw(nfreeze([@numbers]))), "\n";
my $sum = 0.1 + 0.2;
for my $how ([freeze => \&freeze], [nfreeze => \&nfreeze]) {
    my $back = thaw($how->[1]->([$sum]))->[0];
    printf "0.1 + 0.2 after %s: %s\n", $how->[0], $back == $sum ? 'equal' : 'not equal';
}
PERL
lib=$tmp/root/usr
perl -I"$lib/lib/x86_64-linux-gnu/perl/5.36.0" -I"$lib/share/perl/5.36.0" show.pl | tee said

grep -q '^after freeze:  \[1,0\.5,-1\.5,2147483647,2147483648,1764380000123\]$' said
grep -q '^after nfreeze: \[1,"0\.5","-1\.5",2147483647,"2147483648","1764380000123"\]$' said
grep -q '^0\.1 + 0\.2 after freeze: equal$' said
grep -q '^0\.1 + 0\.2 after nfreeze: not equal$' said
echo "as described"
