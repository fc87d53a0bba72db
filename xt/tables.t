# Tables of the documents that a script makes are what it makes now.
use strict;
use warnings;

use Test::More;

my %MADE_BY = ('xt/storable-table.pl' => 'lib/Net/EasyTCP/Protocol.pod');

plan tests => scalar keys %MADE_BY;
foreach my $script (sort keys %MADE_BY) {
    my $table = `$^X $script`;
    open my $fh, '<', $MADE_BY{$script} or die "$MADE_BY{$script}: $!";
    my $text = do { local $/ = undef; <$fh> };
    ok($? == 0 && length $table && index($text, "\n\n$table\n") > 0, "$MADE_BY{$script} has the table of $script");
}
