#!/usr/bin/perl
# Prints what the Storable of the perl that runs this writes for the values of the table in
# Net::EasyTCP::Protocol, as lines of t/data/storable-releases.txt: how those of other releases are added.
#
#     /path/to/another/perl xt/storable-images.pl

use strict;
use warnings;

use Storable qw(nfreeze);

my ($int, $bigint, $not) = (42, 70000, !1);
my $text = "$int$bigint$not";    # they have been strings
my @sparse;
$sparse[3] = 1;
my @values = (
    [ i65536                => \65536 ],
    [ i128                  => \128 ],
    [ int_used_as_string    => \$int ],
    [ bigint_used_as_string => \$bigint ],
    [ not_as_string         => \$not ],
    [ bool_arr              => [ !0, !1, !0, !1 ] ],
    [ sparse                => \@sparse ],
    [ hash_widekey          => { "\x{263a}" => 1 } ],
);
foreach my $value (@values) {
    print join("\t", Storable->VERSION, $value->[0], unpack 'H*', nfreeze($value->[1])), "\n";
}
