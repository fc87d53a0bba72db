# Each attack that CONTRIBUTING.md lists has its test: the file is there, and says what the table says.
use strict;
use warnings;

use Test::More;

open my $in, '<', 'CONTRIBUTING.md' or die "CONTRIBUTING.md: $!";
my ($rows) = do {
    local $/ = undef;
    <$in>;
} =~ /^\| Attack \|.*\n\| ---.*\n((?:\|.*\n)+)/m or die 'no table of attacks';
my $count = 0;
foreach my $row (split /\n/, $rows) {
    my (undef, $attack, undef, $test) = split /\s*\|\s*/, $row;
    next if $attack =~ /^\*\*/;    # a heading
    my ($file, $text) = $test =~ /^`(\S+)`(?:: | - )(.+)/ or do { fail("$attack: names a test"); next };
    open my $source, '<', $file or do { fail("$attack: $file is here"); next };
    my $all = do { local $/ = undef; <$source> };
    $all =~ s/"\s*\n\s*"//g;    # strings of C that go on in the next line
    ok(index($all, $text) >= 0, "$attack: $file says: $text");
    $count++;
}
cmp_ok($count, '>', 30, "$count attacks");
done_testing();
