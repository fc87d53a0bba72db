#!/usr/bin/perl
# Prints the table of Net::EasyTCP::Protocol that says what releases of Storable wrote differently, from the
# images in t/data/storable-releases.txt. xt/tables.t compares it with the document.

use strict;
use warnings;

# Names of values in the recordings: what they are, in the order of the table.
my @VALUES = (
    [ 'i65536',               '65536' ],
    [ 'i128',                 '128' ],
    [ 'int_used_as_string',   '42, used as a string' ],
    [ 'bigint_used_as_string', '70000, used as one' ],
    [ 'not_as_string',        '!1, used as one' ],
    [ 'bool_arr',             '[ !0, !1, !0, !1 ]' ],
    [ 'sparse',               'an array of 4, 1 there' ],
    [ 'hash_widekey',         'a hash, a key U+263A' ],
);

my (%images, @releases, %seen);
open my $fh, '<', 't/data/storable-releases.txt' or die "Cannot read: $!\n";
while (my $line = <$fh>) {
    next if $line =~ /^#/;
    chomp $line;
    my ($release, $name, $image) = split /\t/, $line;
    push @{ $images{$name} }, [ $release, $image ];
}

sub number {
    my ($digits) = $_[0] =~ /^([\d.]+)/;
    return $digits;
}

print "    value                   Storable             image, behind its first two bytes\n";
print "    ----------------------  -------------------  -----------------------------------------------\n";
foreach my $value (@VALUES) {
    my ($name, $what) = @$value;
    my (%of, @order);
    foreach my $pair (sort { number($a->[0]) <=> number($b->[0]) } @{ $images{$name} || die "no $name\n" }) {
        my ($release, $image) = @$pair;
        my $body = join ' ', substr($image, 4) =~ /(..)/g;
        push @order, $body unless $of{$body};
        push @{ $of{$body} }, $release;
    }
    # By the first release of each. Those between which nothing else was written are a range.
    my @all = sort { $a <=> $b } map { number($_->[0]) } @{ $images{$name} };
    foreach my $body (@order) {
        my @ranges;
        foreach my $release (@{ $of{$body} }) {
            my $before = (grep { $_ < number($release) } @all)[-1];
            my $goes_on = @ranges && defined $before && number($ranges[-1][-1]) == $before;
            $goes_on ? push @{ $ranges[-1] }, $release : push @ranges, [$release];
        }
        my $range = join ', ', map { @$_ > 1 ? "$_->[0] to $_->[-1]" : $_->[0] } @ranges;
        printf "    %-22s  %-19s  %s\n", $what, $range, $body;
        $what = '';
    }
}
