# Depth and claims: structures nested a million times, and images that say they are large, end in an error.

use strict;
use warnings;

use Test::More;
use lib 't/lib';

use EasyTCPTest;
use Net::EasyTCP;
use Storable;

my $MILLION = 1_000_000;

sub thaw_error {
    my ($image) = @_;
    my $value = eval { Net::EasyTCP::_thaw($image) };
    return ref $value ? 'a value' : $@;
}

sub nested_arrays { my ($levels) = @_; my $value = []; $value = [$value] for 2 .. $levels; return $value }

sub nested_hashes {
    my ($levels) = @_;
    my $value = {};
    $value = { a => $value } for 2 .. $levels;
    return $value;
}

sub nested_references {
    my ($levels) = @_;
    my $value = \1;
    $value = \(my $next = $value) for 2 .. $levels;
    return $value;
}

# ---- freezing ---------------------------------------------------------------------------------------

# Old Storables go on until the C stack ends.
SKIP: {
    skip 'this Storable has no limit of its own', 6 if !defined $Storable::recursion_limit;
    my %make = (arrays => \&nested_arrays, hashes => \&nested_hashes, references => \&nested_references);
    for my $kind (sort keys %make) {
        my $value  = $make{$kind}->($MILLION);
        my $frozen = eval { Net::EasyTCP::_freeze($value) };
        is($frozen, undef, "a million nested $kind are not frozen");
        like($@, qr/^Max\. recursion depth/, "a million nested $kind: Storable's own text");
    }
}

# Deeper than Storable's limits, which are a user's business only beyond what may come in:
# t/37-storable-deep.t.
for my $levels (10, 250, 1600) {
    local $Storable::recursion_limit      = -1;
    local $Storable::recursion_limit_hash = -1;
    my %value = (arrays => nested_arrays($levels), hashes => nested_hashes($levels),
        references => nested_references($levels));
    for my $kind (sort keys %value) {
        my $want = Storable::nfreeze($value{$kind});
        ok(Net::EasyTCP::_freeze($value{$kind}) eq $want, "$levels nested $kind are frozen as by nfreeze");
    }
}

# ---- thawing ----------------------------------------------------------------------------------------

my $item = { arrays => "\2\0\0\0\1\4", references => "\4" };
for my $kind (sort keys %$item) {
    my $image = "\5\13" . $item->{$kind} x $MILLION . "\5";
    like(thaw_error($image), qr/^items nest deeper than \d+ levels/, "a million nested $kind are not thawed");
    my $value = eval { Net::EasyTCP::_thaw("\5\13" . $item->{$kind} x 9000 . "\5") };
    my $depth = 0;
    for (my $at = $value; ref $at; $at = ref $at eq 'ARRAY' ? $at->[0] : $$at) { $depth++ }
    is($depth, 9001, "9000 nested $kind are") or diag($@);
}

# What only Storable can thaw, which goes on until the C stack ends.
my $tied = "\14\21\14Tie::StdHash\3\0\0\0\0";
like(thaw_error("\5\13" . "\4" x 100_000 . $tied), qr/^items nest deeper than \d+ levels/,
    'a tied hash behind 100000 references is not given to Storable');
like(thaw_error("\5\13" . "\23\100" x $MILLION), qr/^items nest deeper than \d+ levels/,
    'nor are a million hooks inside each other');

# Claims of more than is there.
my %claim = (
    'an array'             => "\2\1\0\0\0",
    'a hash'               => "\3\1\0\0\0",
    'a hash with flags'    => "\31\0\1\0\0\0",
    'a string'             => "\1\1\0\0\0x",
    'a string of UTF-8'    => "\30\1\0\0\0x",
    'a key'                => "\3\0\0\0\1\5\1\0\0\0x",
    'a class name'         => "\21\x80\1\0\0\0A\5",
    'a version string'     => "\36\1\0\0\0v",
    'a list of a hook'     => "\23\x90\1A\0\1\0\0\0",
    'a string of a hook'   => "\23\x08\1A\1\0\0\0x",
    'a regular expression' => "\40\1\1\0\0\0x",
    'arrays in arrays'     => join('', map { "\2\0\0" . pack('n', 5 * $_) } reverse 1 .. 1000),
);
my $before = rss_kb();
for my $name (sort keys %claim) {
    like(thaw_error("\5\13$claim{$name}"), qr/^unexpected end\b/, "$name that claims too much");
}
SKIP: {
    skip 'memory is not known here', 1 if !$before;
    cmp_ok(rss_kb() - $before, '<', 16 * 1024, 'claims took no memory (KiB)');
}

done_testing();
