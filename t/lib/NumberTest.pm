package NumberTest;

# Numbers of all kinds for t/39-exact-numbers.t and xt/exact-numbers.t, and what it means that one arrived.

use strict;
use B ();
use Config;
use Exporter ();
use Net::EasyTCP;
use Storable;
use vars qw(@ISA @EXPORT $EXACT);

@ISA    = qw(Exporter);
@EXPORT = qw(special_numbers random_numbers not_exact not_alike);

# Both bits of what a new peer can receive: booleans and exact numbers.
$EXACT = 3;

# Around every boundary: of bytes, of 32, 53 and 64 bits, and of what is printed digit by digit.
sub special_numbers {
    my @whole = map {
        my $power = 2**$_;
        map { $power + $_ } -2 .. 2;
    } 7, 8, 15, 16, 31, 32, 33, 40, 52, 53, 54, 62, 63, 64;
    push @whole, map { my $power = 10**$_; map { $power + $_ } -1 .. 1 } 14 .. 20;
    my @integers = (0, ~0, ~0 - 1, ~0 >> 1, (~0 >> 1) - 1, -(~0 >> 1), -(~0 >> 1) - 1, map { int $_ } 1 .. 3);
    push @integers, map { 1 << $_, (1 << $_) - 1, (1 << $_) + 1, -(1 << $_), -(1 << $_) - 1 } 7, 8, 15, 16,
        31;
    push @integers, map { 1 << $_, (1 << $_) - 1, (1 << $_) + 1, -(1 << $_) } 32, 33, 53, 62
        if $Config{ivsize} > 4;
    my $tiny = unpack 'd', pack 'd', 5e-324;
    my $zero = 0.0;
    my $infinity = 9**9**9;
    return @integers, (map { ($_, -$_) } @whole), (map { $_ * 1.0 } @whole), -$zero, $zero * -1, $infinity,
        -$infinity,
        $infinity - $infinity, -($infinity - $infinity), 0.1, 0.1 + 0.2, 1 / 3, 1e100 / 3, 1e23, $tiny,
        2.2250738585072014e-308,
        1.7976931348623157e308, 1700000000.123456, 2**60 * 1.5 + 256, 1e15, 1e15 + 0.5, 999999999999999,
        123456789012345678,
        9007199254740993, 0.5, -0.5, 1.5, -2147483648.5, 4294967295.5;
}

# Every pattern of bits may be a double; and integers of every size.
sub random_numbers {
    my ($count) = @_;
    return map {
        my $kind = rand;
          $kind < 0.4 ? unpack('d', pack 'LL', int rand 2**32, int rand 2**32)
        : $kind < 0.6 ? int(rand 2**32) * (rand() < 0.5 ? 1 : -1) << int rand 32
        : $kind < 0.8 ? (rand() - 0.5) * 10**int(rand 40)
        :               int((rand() - 0.5) * 2**int(rand 66));
    } 1 .. $count;
}

# Numbers that were not used as strings have no public string flag.
sub _is_number {
    my ($ref) = @_;
    my $flags = B::svref_2object($ref)->FLAGS;
    return !($flags & B::SVf_POK()) && $flags & (B::SVf_IOK() | B::SVf_NOK());
}

# What is wrong with the numbers that arrived for those that were sent; '' if nothing.
sub not_exact {
    my ($sent, $got) = @_;
    return 'another number of numbers' if @$sent != @$got;
    for my $i (0 .. $#$sent) {
        my $name = sprintf 'number %d, %s', $i, unpack 'H*', pack 'F', $sent->[$i];
        return "$name: no number any more" if !_is_number(\$got->[$i]);
        # As doubles, and as integers, which have more bits.
        my @pair = map { my $copy = $_; unpack('H*', pack 'F', $copy) } $sent->[$i], $got->[$i];
        return "$name: other bits, $pair[1]" if $pair[0] ne $pair[1] && $Config{nvsize} == 8;
        @pair = map { my $copy = $_; "$copy" } $sent->[$i], $got->[$i];
        return "$name: printed as $pair[1], not $pair[0]" if $pair[0] ne $pair[1];
        return "$name: not equal" if $sent->[$i] == $sent->[$i] && $sent->[$i] != $got->[$i];
    }
    return '';
}

# Whether an original would get other bytes than from nfreeze: '' or what.
sub not_alike {
    my ($sent) = @_;
    my $want = Storable::nfreeze([@$sent]);
    my $got  = Net::EasyTCP::_freeze([@$sent]);
    return $got eq $want ? '' : unpack('H*', $got) . ' and not ' . unpack 'H*', $want;
}

1;
