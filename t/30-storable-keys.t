# Keys of hashes, which are remembered from one message to the next: whatever came before, a hash that was
# thawed has the keys of its image, and finds each of them.

use strict;
use warnings;

use Test::More tests => 6;

use Net::EasyTCP;
use Storable;

# The same numbers every time.
my $seed = 12345;

sub number_below {
    my $limit = shift;
    $seed = ($seed * 1103515245 + 12345) % 2**31;
    return int($seed / 65536) % $limit;
}

sub bytes {
    my $length = shift;
    return join '', map { chr number_below(256) } 1 .. $length;
}

# What goes wrong with a hash of these keys, which all have a value of their own; '' if nothing does.
sub fault_of {
    my @keys = @_;
    my %hash = map { $keys[$_] => $_ } 0 .. $#keys;
    my $got  = Net::EasyTCP::_thaw(Storable::nfreeze(\%hash));
    return 'another number of keys' if keys %$got != keys %hash;
    for my $key (keys %hash) {
        my $fresh = join '', split //, $key;
        return 'a key is missing'    if !exists $got->{$fresh};
        return 'a value is another'  if $got->{$fresh} != $hash{$key};
        return 'a key is not marked' if grep { utf8::is_utf8($_) != utf8::is_utf8($key) }
            grep { $_ eq $key } keys %$got;
        return 'a key stays' if delete($got->{$fresh}) != $hash{$key} || exists $got->{$fresh};
    }
    return '';
}

sub faults_of {
    my %faults = map { $_ => 1 } grep { length } @_;
    return join ', ', sort keys %faults;
}

# One of few keys in each of many hashes, some of which share a place.
my @few = ('', "\0", '0', 'a', 'b', 'ab', 'ba', map { bytes($_) } 1 .. 40);
is(faults_of(map { my $n = $_; fault_of(map { $few[ number_below(scalar @few) ] } 1 .. $n % 9) } 1 .. 3000),
    '', 'keys that come again and again');

my @many = map { bytes(1 + number_below(12)) } 1 .. 5000;
is(faults_of(map { fault_of(map { $many[ number_below(scalar @many) ] } 1 .. 20) } 1 .. 1000),
    '', 'more of them than are remembered');

is(faults_of(map { fault_of(map { bytes(8) } 1 .. 200) } 1 .. 100), '', 'keys that come once');

my @characters = map { chr(0x100 + $_), "\xe4$_", "\x{263a}$_" } 1 .. 30;
my @upgraded   = map { my $copy = "\xe4$_"; utf8::upgrade($copy); $copy } 1 .. 30;
is(faults_of(map { fault_of(map { $characters[ number_below(scalar @characters) ] } 1 .. 10) } 1 .. 500),
    '', 'characters and bytes by turns');
my @mixed = map { my $text = $_; Storable::nfreeze({ $text => 1 }) } @upgraded, @characters;
is(join(',', map { join ' ', keys %{ Net::EasyTCP::_thaw($_) } } @mixed, @mixed),
    join(',', @upgraded, @characters, @upgraded, @characters), 'and those that were characters before');

# What the program does to its hash stays there.
my $image = Storable::nfreeze({ name => 1 });
for (1 .. 3) {
    my ($key) = keys %{ Net::EasyTCP::_thaw($image) };
    $key .= 'x';
}
is(join(' ', keys %{ Net::EasyTCP::_thaw($image) }), 'name', 'a copy that is changed does not change it');
