# Tables of the documents that a script makes are what it makes now.
use strict;
use warnings;

use Test::More tests => 3;

my %MADE_BY = ('xt/storable-table.pl' => 'lib/Net/EasyTCP/Protocol.pod');

foreach my $script (sort keys %MADE_BY) {
    my $table = `$^X $script`;
    open my $fh, '<', $MADE_BY{$script} or die "$MADE_BY{$script}: $!";
    my $text = do { local $/ = undef; <$fh> };
    ok($? == 0 && length $table && index($text, "\n\n$table\n") > 0,
        "$MADE_BY{$script} has the table of $script");
}

# Of this one, what can be said here: the row of the release that is installed.
SKIP: {
    my @needed = map { "Crypt/$_.pm" } qw(CBC Blowfish Rijndael);
    my ($missing) = grep { !eval { require $_; 1 } } @needed;
    skip "$missing is not installed", 1 if defined $missing;
    my $said = `$^X xt/crypt-cbc-table.pl --compare 2>&1`;
    ok($? == 0, 'Protocol.pod says what the installed release of Crypt::CBC does') or diag $said;
}

SKIP: {
    my $said = `$^X xt/openssl-table.pl --compare 2>&1`;
    my ($right, $known) = $said =~ /^(\d+) of (\d+) releases/m;
    skip 'the release of OpenSSL here is not in the table', 1 if defined $known && !$known;
    ok(defined $right && $right == $known, 'the manual says how this release of OpenSSL is') or diag $said;
}
