# The manual says what the event loops that are installed here do: xt/loops-table.pl tries them.
use strict;
use warnings;

use Test::More;

my $said = `$^X xt/loops-table.pl --compare 2>&1`;
my ($right, $all) = $said =~ /^(\d+) of (\d+) loops/m or BAIL_OUT($said);
plan skip_all => 'no event loop is installed here' if $all <= 1;    # IO::Select comes with perl
plan tests => 1;
is($right, $all, 'they do as the manual says') or diag $said;
