# Whatever a damaged image asks for, what is built is something that Perl itself could have made: arrays and
# hashes hold scalars only, ties have objects, everything has owners; and a program may do with it what it
# likes. Run it with debugperl for a second opinion. EASYTCP_SHAPE_IMAGES says how many images,
# EASYTCP_TEST_SEED repeats a run.

use strict;
use warnings;
use lib 't/lib';

use Test::More;

use EasyTCPTest;
use Net::EasyTCP;
use Scalar::Util qw(blessed readonly reftype);
use Storable;
use StorableTest;

my $images = $ENV{EASYTCP_SHAPE_IMAGES} || 20_000;
my $seed   = $ENV{EASYTCP_TEST_SEED} || (time ^ $$ << 8);
srand $seed;
plan tests => 3;
diag("seed $seed");

unshift @INC, sub { die "no modules in this test\n" };
local $SIG{__WARN__} = sub { };

my @corpus;
for (read_table('storable-values.txt', 4)) {
    push @corpus, pack 'H*', $_->[2] if $_->[2] =~ /\A(?:[0-9a-f]{2})+\z/ && length $_->[2] < 1000;
}

# Items to be put anywhere, whole, so that more than noise comes of it.
my $tie   = "\4\21\14Tie::StdHash\3\0\0\0\0";
my @items = ("\2\0\0\0\0", "\2\0\0\0\1\5", "\3\0\0\0\0", "\3\0\0\0\1\5\0\0\0\1a", "\31\0\0\0\0\0",
    "\31\1\0\0\0\0", "\14$tie",
    "\13$tie", "\15$tie", "\25$tie\12\1a", "\26$tie\0\0\0\1", "\23\0\4THkS\0", "\23\1\4THkA\0",
    "\23\2\3THk\0",
    "\23\3\6\3THk\0$tie", "\23\302\2\0\0\0\0\202\4THkR\1R\2\0\0\0\1\0\0\0\1", "\32\12\0021;",
    "\40\0\0\0\0\1x\0", "\4", "\24",
    "\33", "\34", "\21\3TOv", "\22\0", "\0\0\0\0\0", "\0\0\0\0\1", "\0\0\0\0\2", "\5", "\16", "\17", "\37",
    "\36\0\0\0\2v1\12\1x");

sub pick { return $_[ rand @_ ] }

sub change {
    my ($image) = @_;
    my $at   = 2 + int rand(length($image) - 1);
    my $kind = rand;
    return substr($image, 0, $at) . pick(@items) . substr($image, $at) if $kind < 0.3;
    return substr($image, 0, $at) . pick(@items) . substr($image, $at + 1 + rand 6 > length $image
        ? length $image : $at + 1)
        if $kind < 0.6;
    my $other = pick(@corpus);
    return substr($image, 0, $at) . substr($other, 2 + rand(length($other) - 2)) if $kind < 0.7;
    substr($image, $at < length $image ? $at : -1, 1) = chr($kind < 0.85 ? rand 40 : rand 256);
    return $image;
}

sub next_image {
    my $image = rand() < 0.3 ? "\5\13\2\0\0\0\2" . join '', map { pick(@items) } 1 .. 2 + rand 6
        : pick(@corpus);
    $image = change($image) for 1 .. 1 + rand 4;
    return $image;
}

# What a program does with what it got.
sub use_it {
    my ($ref, $depth) = @_;
    return if $depth > 20;
    my $type = reftype $ref;
    if ($type eq 'ARRAY') {
        for my $i (0 .. $#$ref) { use_it(\$ref->[$i], $depth + 1) }
        eval {
            push @$ref, 1;
            my @copy = sort @$ref;
            $_ = 'x' for @$ref;
            shift @$ref;
            splice @$ref, 0, 1, 1, 2;
        };
    }
    elsif ($type eq 'HASH') {
        for my $key (keys %$ref) { use_it(\$ref->{$key}, $depth + 1) }
        eval { my %copy = %$ref; $ref->{$_} .= 'x' for keys %copy; delete @$ref{ keys %copy } };
    }
    elsif (ref $$ref && $type ne 'CODE') {
        use_it($$ref, $depth + 1);
        eval { my $copy = $$ref; $copy = "$copy"; $$ref = $copy if !readonly $$ref; 1 };
    }
    elsif ($type =~ /^(?:SCALAR|VSTRING|LVALUE)$/) {
        eval { my $copy = $$ref; $copy .= 'x'; $$ref = $copy if !readonly $$ref };
    }
    return;
}

my (%fault, $built, $silent);
my @policies = ([], [1], [ 2, [qw(THk THkA THkR THkS TOv A Tie::StdHash Tie::StdArray)] ]);
for (1 .. $images) {
    my $image = next_image();
    my $value = eval { Net::EasyTCP::_thaw($image, @{ pick(@policies) }) };
    $silent++ if !ref $value && !length $@;
    next if !ref $value;
    $built++;
    my @faults = faults_of($value);
    for my $fault (@faults) {
        diag("$fault: " . unpack 'H*', $image) if !$fault{$fault}++;
    }
    next if @faults;    # touching it would be worse
    eval { describe($value) };
    eval { use_it($value, 0) };
}
cmp_ok($built, '>', $images / 20, "of $images images, " . ($built || 0) . ' are still sound');
is($silent, undef, 'each refusal has a text');
is_deeply(\%fault, {}, 'what is built is what Perl could have made');
