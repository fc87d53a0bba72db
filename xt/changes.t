# Changes follows CPAN::Changes::Spec: releases newest first, known groups, one bullet style.

use strict;
use warnings;

use Test::More;

open my $fh, '<', 'Changes' or plan skip_all => "Cannot read Changes: $!";
my @lines = <$fh>;
chomp @lines;

like($lines[0], qr/\ARevision history for Net-EasyTCP\z/, 'the title');

my @bad = grep {
    my $line = $lines[$_];
    !($line eq '' || $_ == 0 || $line =~ /\A\d+\.\d\d \d{4}-\d\d-\d\d\z/
        || $line =~ /\A {4}\[(?:Security|Incompatible|Fixes|Features|Build|Documentation)\]\z/
        || $line =~ /\A {4}- \S/
        || $line =~ /\A {6}\S/)
} 0 .. $#lines;
is_deeply([ map { $lines[$_] } @bad ], [], 'releases, groups, entries and continued lines, nothing else');
is_deeply([ grep { /\s\z/ || length > 110 } @lines ], [], 'no space at the end, no endless line');

my @versions = map { /\A(\d+\.\d\d) / ? $1 : () } @lines;
is_deeply(\@versions, [ sort { $b <=> $a } @versions ], 'newest first');

SKIP: {
    skip 'Test::CPAN::Changes is not here', 1 if !eval { require Test::CPAN::Changes; 1 };
    my $changes = CPAN::Changes->load('Changes');
    ok($changes->release($versions[0]) && $changes->release($versions[0])->date, 'CPAN::Changes can read it');
}
done_testing();
