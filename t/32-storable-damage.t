# Damaged images: cut at every byte, and with every byte changed. Each is thawed, or refused with a text; none
# crashes, hangs, or makes memory grow, and none smuggles in a class that is not allowed.
# EASYTCP_TEST_CHANGES=255 tries every value of every byte.

use strict;
use warnings;

use Test::More tests => 11;
use lib 't/lib';

use EasyTCPTest;
use Net::EasyTCP;
use Storable;
use StorableTest;

my $changes = $ENV{EASYTCP_TEST_CHANGES} || 0;
my $longest = 130;

# Storable looks for the modules of classes; names that damage makes up shall not cost time. Hooks get what
# they cannot understand, and warn.
unshift @INC, sub { die "no modules in this test\n" };
local $SIG{__WARN__} = sub { };

my %images;
for (read_table('storable-values.txt', 4)) {
    my ($name, undef, $image) = @$_;
    next if $image !~ /\A(?:[0-9a-f]{2})+\z/ || length($image) / 2 > $longest;
    $images{$name} = pack 'H*', $image;
}
$images{'of release 1.007'} = pack 'H*', '05031108466f6f3a3a42617203000000010402000000010881000000016b';
$images{'native order'} = Storable::freeze({ a => [ 1, 1e9, 0.5, 'x', undef, \1 ] });
my @names   = sort keys %images;
my @objects = grep { $images{$_} =~ /[\21\23\40]/ } @names;

my ($thawed, $refused, $silent) = (0) x 3;

sub try {
    my ($image, @policy) = @_;
    my $value = eval { Net::EasyTCP::_thaw($image, @policy) };
    if    (ref $value)                      { $thawed++ }
    elsif (defined $value || !length $@) { $silent++ }
    else                                    { $refused++ }
    return $value;
}

# Calls code with each damaged form of an image. Unless all values are wanted: each bit, and the values where
# ranges end.
sub damage {
    my ($image, $code) = @_;
    my @values = $changes >= 255 ? (0 .. 255) : (0, 1, 2, 0x7f, 0x80, 0xff);
    $code->(substr $image, 0, $_) for 0 .. length($image) - 1;
    for my $at (0 .. length($image) - 1) {
        my $damaged = $image;
        my $old     = ord substr $image, $at, 1;
        for my $new (@values, $changes >= 255 ? () : map { $old ^ 1 << $_ } 0 .. 7) {
            substr($damaged, $at, 1) = chr $new;
            $code->($damaged);
        }
    }
    return;
}

# What is thawed can be walked through; only ties to what is no class of ties cannot.
sub walk { my ($value) = @_; my $text = eval { describe($value) }; return defined $text ? $text : '' }

my $walked = 0;
my %fault;

sub look_at {
    my ($value) = @_;
    return if !ref $value;
    $fault{$_}++ for faults_of($value);
    $walked += length walk($value);
    return;
}

for my $name (@names) {
    damage($images{$name}, sub { look_at(try($_[0])) });
}
cmp_ok($thawed,  '>', 1000, 'of ' . ($thawed + $refused) . ' images, some are still sound');
cmp_ok($refused, '>', 1000, 'and some are refused');
is($silent, 0, 'each refusal has a text');
cmp_ok($walked, '>', 1000, 'what is thawed can be walked through');
is_deeply(\%fault, {}, 'and is what Perl could have made');

# The walk itself: shapes that a damaged image could ask for.
{
    my @sound = ([ 1, [], undef, {}, \1, sub { }, \*STDOUT ], { a => [], b => undef }, \\'x',
        bless({ a => qr/x/ }, 'A'));
    tie my %tied, 'Tie::StdHash';
    $tied{a} = 1;
    my @array = (1, 2);
    $#array = 5;
    is_deeply([ map { faults_of($_) } @sound, \(%tied, @array), \$tied{a} ], [],
        'sound structures have no faults');
}

# Places of arrays and hashes where only scalars can be, by every way to write them.
{
    my $tie = "\4\21\14Tie::StdHash\3\0\0\0\0";
    my %body = (
        'an array' => "\2\0\0\0\0", 'a hash' => "\3\0\0\0\0", 'a hash with flags' => "\31\0\0\0\0\0",
        'a restricted hash' => "\31\1\0\0\0\0", 'a tied hash' => "\14$tie", 'a tied array' => "\13$tie",
        'a hooked array'    => "\23\1\4THkA\0",   'a hooked hash' => "\23\2\3THk\0", 'code' => "\32\12\0021;",
        'an object'         => "\21\1A\2\0\0\0\0", 'the outer array' => "\0\0\0\0\0",
    );
    my %wrong;
    for my $name (sort keys %body) {
        for my $place ("\2\0\0\0\1%s", "\2\0\0\0\2\4%s%s", "\2\0\0\0\1\3\0\0\0\1%s\0\0\0\1a", "\25$tie%s") {
            my $image = $place;
            $image =~ s/%s/$body{$name}/g;
            $wrong{$name}++ if ref try("\5\13$image") || ref try("\5\13$image", 1);
        }
    }
    is_deeply(\%wrong, {}, 'arrays, hashes and code are refused where a scalar must be');
}

# Ties to what is no object: Perl would call methods of the class that a string names.
{
    my %wrong;
    for my $op ("\13%s", "\14%s", "\15%s", "\25%s\12\1a", "\26%s\0\0\0\0", "\23\3\4\3THk\0%s") {
        for my $target ("\12\3TTs", "\5", "\4\12\3TTs", "\4\3\0\0\0\0", "\3\0\0\0\0", "\4\4\21\3TTs\5") {
            (my $image = $op) =~ s/%s/$target/;
            $wrong{ unpack 'H*', $image }++ if grep { ref } map { try("\5\13\2\0\0\0\1\4$image", @$_) } [],
                [1], [ 2, ['THk'] ];
        }
    }
    is_deeply(\%wrong, {}, 'nothing is tied to what is no object, whatever is allowed');
}

# Cycles are never freed; a thousand or so of them are meant to come up here.
SKIP: {
    my $before = rss_kb();
    skip 'memory is not known here', 1 if !$before;
    skip 'a sanitizer keeps what is freed', 1 if ($ENV{LD_PRELOAD} || '') =~ /asan/;
    for (1 .. 3) {
        damage($images{$_}, \&try) for @names;
    }
    cmp_ok(rss_kb() - $before, '<', 4096 * ($changes ? 20 : 1), 'memory does not grow (KiB)');
}

sub classes_of { my ($value) = @_; return ref $value ? walk($value) =~ /<([^>]*)>/g : () }

my %found;
for my $name (@objects) {
    damage($images{$name}, sub { $found{$_}++ for classes_of(try($_[0], 1)) });
}
is_deeply(\%found, {}, 'no damage smuggles in an object where none is allowed');

my @allowed = qw(A B Foo THk THkA THkS TOv Regexp Tie::StdHash Tie::StdArray TTs);
for my $name (@objects) {
    damage($images{$name}, sub { $found{$_}++ for classes_of(try($_[0], 2, \@allowed)) });
}
delete @found{@allowed};
is_deeply(\%found, {}, 'or one of a class that is not allowed');
