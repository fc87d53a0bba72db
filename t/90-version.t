# One version, set in one place, and what a release says about it agrees.

use strict;
use warnings;

use Test::More tests => 6;

use Net::EasyTCP;

sub content_of {
    my $file = shift;
    open my $fh, '<', $file or die "Cannot read $file: $!";
    local $/ = undef;
    return scalar <$fh>;
}

my $version = $Net::EasyTCP::VERSION;
like($version, qr/\A\d+\.\d\d\z/, "the version is a plain number: $version");
cmp_ok($version, '>', 0.26, 'later than the last release in Perl');

my $module = content_of('lib/Net/EasyTCP.pm');
my @places = $module =~ /\$VERSION\s*=\s*'([^']+)'/g;
is_deeply(\@places, [$version], 'it is set in one place');

my ($release, $date) = content_of('Changes') =~ /^(\d\S*)\s+(\S+)/m;
is($release, $version, 'Changes begins with it');
like($date, qr/\A\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])\z/, "and with a date: $date");

my $meta = -e 'MYMETA.json' ? content_of('MYMETA.json') : '';
SKIP: {
    skip 'no MYMETA.json here', 1 if !$meta;
    like($meta, qr/"version"\s*:\s*"\Q$version\E"/, 'the metadata have it');
}
