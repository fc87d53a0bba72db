# Random structures: frozen as nfreeze does, thawed as thaw does, and not changed by either.
# EASYTCP_TEST_SEED repeats a run, EASYTCP_TEST_ROUNDS makes it longer.

use strict;
use warnings;

use Test::More tests => 7;
use lib 't/lib';

use Hash::Util ();
use Net::EasyTCP;
use Scalar::Util qw(dualvar isweak readonly reftype weaken);
use Storable;
use StorableTest;

my $seed   = $ENV{EASYTCP_TEST_SEED} || (time ^ $$ << 8);
my $rounds = $ENV{EASYTCP_TEST_ROUNDS} || 3000;
srand $seed;

# References to things made before in the same structure, to be met again.
my @pool;
my $budget;
my $is_special;    # of every second structure

my @integers = (0, 1, -1, 42, 126 .. 129, -127 .. -130, 255, 256, 32767, 32768, 65535, 65536, 2147483646,
    2147483647, 2147483648, 4294967295, 4294967296, -2147483647, -2147483648, -2147483649, ~0, ~0 >> 1,
    -(~0 >> 1) - 1, 9007199254740992, 9007199254740993);
my @floats = (0.1, 0.5, -0.0, 1.5, 2.25, 1e15, 1e16, 123456789.123456, 1e-5, 0.001, 0.0009999, 1e20, -1e300,
    3.0, 1e9 + 0.5, 999999999.999999, 0.1 + 0.2, 1 / 3, 9**9**9, -9**9**9, 2**53, 2**53 + 2, 2**63, 2**64,
    4294967295.5, 2147483647.5, -2147483648.5);

sub pick { return $_[ rand @_ ] }

sub random_string {
    my $length = pick(0, 1, 2, 3, 5, 8, 20, 254, 255, 256, 300);
    return join '', map { chr rand 256 } 1 .. $length;
}

sub random_characters {
    no warnings 'utf8';    # perls before 5.14 warn of U+FFFF
    my $string = join '', map { chr pick(65, 233, 255, 256, 0x263a, 0xffff, 0x1f600) } 1 .. rand 12;
    utf8::upgrade($string);
    return $string;
}

sub random_decimal { return sprintf('%.' . int(rand 8) . 'f', (rand() - 0.5) * 10**int rand 12) + 0 }

# Numbers and strings that were used as the other, once.
sub random_mixed {
    my $number = pick(pick(@integers), random_decimal());
    my $string = pick('12', '12.5', '12abc', '', '1e3');
    no warnings;
    my $unused = pick("$number", $string + 0, int $string);
    return pick($number, $string, dualvar(5, 'five'), dualvar(2.5, 'b'));
}

my @scalars = (
    sub { pick(@integers) },
    sub { int rand 1000 },
    sub { pick(@floats) },
    sub { rand() * 10**int(rand 30) },
    \&random_decimal,
    \&random_string,
    \&random_characters,
    \&random_mixed,
    sub { pick(v1.22.333, v5.36.0, v1.300.2) },
    sub {undef},
    sub { !!1 },
    sub { !!0 },
    sub { my $s = 'caf' . chr(233) . 'x' x rand 9; $s =~ /x/g; pos($s) = 1; $s },
);

sub random_scalar { return pick(@scalars)->() }

sub random_key {
    return pick('a' .. 'f', '', 'key' . int(rand 20), "caf\xe9", random_characters(), random_string());
}

sub aliases { return \@_ }

sub random_array {
    my @array = map { random_value() } 1 .. rand 5;
    $array[ @array + rand 4 ] = random_scalar() if rand() < 0.1;
    delete $array[ rand @array ] if @array && rand() < 0.1;
    # Not with absent elements: what Perl passes for them is beyond plain data.
    return \@array if rand() > 0.05 || grep { !exists $array[$_] } 0 .. $#array;
    return aliases(undef, 1, @array, !!1, !!0);
}

sub random_hash {
    my %hash = map { (random_key() => random_value()) } 1 .. rand 5;
    delete $hash{ pick(keys %hash) } if %hash && rand() < 0.1;
    return \%hash;
}

sub random_reference {
    my $kind = rand;
    return \pick(undef, !!1, !!0) if $kind < 0.03;
    my $target = $kind < 0.4 ? random_array() : $kind < 0.8 ? random_hash() : \(my $scalar = random_value());
    bless $target, pick(qw(Plain Other::Class TOv Plain), 'C' x 130) if rand() < 0.2;
    push @pool, $target;
    return $target;
}

# What runs Perl code while it is frozen, or is not plain: objects with hooks, ties, restricted hashes.
my @special = (
    sub { bless { v => random_scalar() }, 'THk' },
    sub { bless { a => random_reference(), b => pick(@pool, random_reference()) }, 'THkR' },
    sub { bless random_hash(), 'THkN' },
    sub { bless [ map { int rand 100 } 1 .. rand 4 ], 'THkA' },
    sub { bless \(my $s = 'x' x rand 300), 'THkS' },
    sub { bless {}, 'THkL' },
    sub { tie my %hash, 'Tie::StdHash'; %hash = (a => random_value(), b => random_value()); \%hash },
    sub {
        tie my @array, 'Tie::StdArray';
        push @array, random_value() for 1 .. rand 4;
        bless \@array, pick('Plain', 'THkL');
    },
    sub { tie my $scalar, 'TTs'; $scalar = random_value(); \$scalar },
    sub { tie my %hash, 'Tie::StdHash'; %hash = (a => random_value()); \$hash{a} },
    sub { tie my @array, 'Tie::StdArray'; @array = (random_value(), 5); \$array[1] },
    sub {
        my $hash = random_hash();
        Hash::Util::lock_keys(%$hash, keys %$hash, random_key());
        Hash::Util::lock_value(%$hash, pick(keys %$hash)) if %$hash && rand() < 0.5;
        return $hash;
    },
);

sub random_special {
    my $special = pick(@special)->();
    push @pool, $special if rand() < 0.3;
    return $special;
}

sub random_value {
    return random_scalar() if --$budget < 0 || rand() < 0.6;
    return pick(@pool) if @pool && rand() < 0.15;
    return random_special() if $is_special && rand() < 0.3;
    return random_reference();
}

# Hooks expect what they are made for, and restricted hashes take no more.
sub is_closed {
    my ($thing) = @_;
    return 1 if (Scalar::Util::blessed($thing) || '') =~ /^THk/;
    return reftype($thing) eq 'HASH' && (tied %$thing || Internals::SvREADONLY(%$thing));
}

# Makes some things refer back to where they are.
sub tie_knots {
    for my $thing (@pool) {
        next if rand() > 0.05 || is_closed($thing);
        my $target = pick(@pool);
        push @$thing, $target if reftype($thing) eq 'ARRAY';
        $thing->{knot} = $target if reftype($thing) eq 'HASH';
    }
    return;
}

sub weaken_some {
    my $weakened = 0;
    for my $thing (grep { reftype($_) eq 'HASH' && !is_closed($_) } @pool) {
        next if !ref $thing->{knot} || isweak($thing->{knot}) || rand() < 0.5;
        weaken($thing->{knot});
        $weakened++;
    }
    return $weakened;
}

sub random_structure {
    @pool   = ();
    $budget = 30;
    my $root = pick(random_array(), random_hash(), random_reference(), $is_special ? random_special() : ());
    push @pool, $root;
    tie_knots();
    return $root;
}

# Cycles would stay in memory for ever.
sub dissolve {
    for (@pool) {
        my $type = reftype($_);
        if    ($type eq 'ARRAY') { @$_ = () }
        elsif ($type eq 'HASH')  { Internals::SvREADONLY(%$_, 0); %$_ = () }
        elsif (!readonly($$_)) { undef $$_ }
    }
    @pool = ();
    return;
}

# Storable's nfreeze, and how often it was needed for what was asked of us.
my $delegated = 0;
my $nfreeze   = \&Storable::nfreeze;
{
    no warnings 'redefine';
    *Storable::nfreeze = sub { $delegated++; return $nfreeze->(@_) };
}

my %failed = map { $_ => 0 } qw(order changed bytes canonical weak thawed native);

sub note_failure {
    my ($what, $round, $got, $want) = @_;
    diag("seed $seed, round $round: $what\n got: $got\nwant: $want") if $failed{$what}++ < 3;
    return;
}

sub thawed {
    my ($image) = @_;
    my $value = eval { Net::EasyTCP::_thaw($image) };
    return ref $value ? describe($value) : $@;
}

sub check_native {
    my ($round, $root) = @_;
    my $before = describe($root);
    my $frozen = Net::EasyTCP::_freeze($root);
    my $after  = describe($root);
    note_failure('changed', $round, $after, $before) if $after ne $before;

    # Storable first gives each hash its order once and for all.
    my $want = $nfreeze->($root);
    my $got  = Net::EasyTCP::_freeze($root);
    note_failure('bytes', $round, hex_of($got), hex_of($want)) if $got ne $want;
    note_failure('order', $round, length $frozen, length $want) if length $frozen != length $want;
    return;
}

sub check {
    my ($round, $root) = @_;
    check_native($round, $root);
    local $Storable::canonical = 1;
    my $want = $nfreeze->($root);
    my $got  = Net::EasyTCP::_freeze($root);
    note_failure('canonical', $round, hex_of($got), hex_of($want)) if $got ne $want;
    note_failure('native', $round, 'by Storable', hex_of($want)) if $delegated;
    my ($got_back, $there) = (thawed($want), describe(Storable::thaw($want)));
    note_failure('thawed', $round, $got_back, $there) if $got_back ne $there;
    check_weak($round, $root) if weaken_some();
    $delegated = 0;
    return;
}

# Storable does not thaw every weak reference to what it is still making, so that only ours does.
sub check_weak {
    my ($round, $root) = @_;
    $delegated = 0;
    my $want = $nfreeze->($root);
    my $got  = Net::EasyTCP::_freeze($root);
    note_failure('weak', $round, hex_of($got), hex_of($want)) if $got ne $want;
    note_failure('native', $round, 'by Storable', hex_of($want)) if $delegated;
    my $value = eval { Net::EasyTCP::_thaw($got) };
    note_failure('weak', $round, $@, 'a structure') if !ref $value;
    return;
}

diag("seed $seed");
for my $round (1 .. $rounds) {
    $is_special = $round % 2;
    my $root = random_structure();
    check($round, $root);
    dissolve();
}

is($failed{changed},   0, 'freezing changes nothing');
is($failed{bytes},     0, "$rounds structures are frozen as nfreeze does");
is($failed{canonical}, 0, 'in canonical order, too');
is($failed{order},     0, 'and before Storable has seen them');
is($failed{weak},      0, 'with weak references, too, and thawed');
is($failed{native},    0, 'without its help');
is($failed{thawed},    0, 'and thawed as thaw does');
