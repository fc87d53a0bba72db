# Between peers that have told each other so, numbers arrive as they are, and booleans; originals and Storable
# get the same bytes as ever. EASYTCP_TEST_SEED repeats a run; xt/exact-numbers.t has a million of them.

use strict;
use warnings;

use B ();

use Test::More;
use lib 't/lib';

use EasyTCPTest;
use Net::EasyTCP;
use NumberTest;
use Storable;
use StorableTest;

my $seed = $ENV{EASYTCP_TEST_SEED} || (time ^ $$ << 8);
srand $seed;
diag("seed $seed");

my $EXACT = $NumberTest::EXACT;

sub through {
    my ($value) = @_;
    return Net::EasyTCP::_thaw(Net::EasyTCP::_freeze($value, $EXACT), 0, [], 0, 1);
}

for my $numbers ([ special_numbers() ], [ random_numbers(20_000) ]) {
    is(not_exact($numbers, through([@$numbers])), '', scalar(@$numbers) . ' numbers are exact');
    is(not_exact($numbers, through(through([@$numbers]))), '', 'and once more');
    is(not_alike($numbers), '', 'and originals get the bytes of nfreeze');
}

# ---- what they look like ----------------------------------------------------------------------------

sub items { my ($value, $can) = @_; return hex_of(substr Net::EasyTCP::_freeze(\$value, $can), 2) }

is(items(1.5, $EXACT), 'c03ff8000000000000', 'a double');
is(items(3.0, $EXACT), '0883', 'a whole one is an integer');
is(items(-1e14, $EXACT), 'c1ffffa50cef85c000', 'a larger one, too');
is(items(1e15, $EXACT), 'c0430c6bf526340000', 'unless Perl prints it with an exponent');
is(items('1.5', $EXACT), '0a03312e35', 'a string is a string');
is(items(1.5, 0), '0a03312e35', 'for others it is text');
my $used = 0.1 + 0.2;
{ my $text = "$used" }
is(substr(items($used, $EXACT), 0, 2), B::svref_2object(\$used)->FLAGS & B::SVf_POK() ? '0a' : 'c0',
    'a number that was printed, as far as perl can tell');

# Whoever will get a message later, or from another process, is sent the best form that it can receive.
{
    my $server = Net::EasyTCP->new(mode => 'server', host => '127.0.0.1', port => '00') or die $@;
    my @forms = map { join ' ', map { defined $_ ? hex_of(substr $_, 2) : 'none' }
            (Net::EasyTCP::_forms($server, $_))[ 1 .. 3 ] } [0.5], ['x'], [ 0.5, !!1 ];
    is($forms[0], '0200000001c03fe0000000000000 none 02000000010a03302e35', 'numbers have two forms');
    is($forms[1], '02000000010a0178 none none', 'other things one');
    my ($best, $numbers, $any) = split / /, $forms[2];
    my $has_third = $] >= 5.036 && $any !~ /22\z/;    # newer Storables write booleans for everybody
    like($numbers, $has_third ? qr/^0200000002c03fe0000000000000(?!22)/ : qr/^none\z/, 'booleans a third');
    like($best, qr/^0200000002c03fe0000000000000/, 'whose numbers are exact');
}

SKIP: {
    skip 'perl has no booleans', 3 if !defined &builtin::is_bool;
    is(items(!!1, $EXACT), '22', 'true');
    is(items(!!0, $EXACT), '23', 'false');
    no warnings;
    my $got = through([ !!1, !!0, 1, '' ]);
    is(join(',', map { builtin::is_bool($_) ? 'yes' : 'no' } @$got), 'yes,yes,no,no',
        'booleans are booleans');
}

# ---- what goes to Storable, or comes from it, never holds one ---------------------------------------

my %foreign = (
    'a tied hash'         => sub { tie my %h, 'Tie::StdHash'; $h{a} = 0.5; \%h },
    'a hook'              => sub { bless { v => 0.25 }, 'THk' },
    'an expression'       => sub {qr/x/},
    'a restricted hash'   => sub { my %h = (a => 0.75); Hash::Util::lock_keys(%h); \%h },
);
for my $name (sort keys %foreign) {
    my $message = [ 0.1 + 0.2, 2**40, $foreign{$name}->(), 1 / 3, !!1 ];
    is(hex_of(Net::EasyTCP::_freeze($message, $EXACT)), hex_of(Storable::nfreeze($message)),
        "$name beside numbers");
}
{
    my $object = [ 0.1 + 0.2, bless({ n => 1 / 3 }, 'TOv') ];
    my $got = through([ $object, \$object ]);
    is(sprintf('%.17g', $got->[0][0]), sprintf('%.17g', 0.1 + 0.2), 'objects that overload are no reason');
    is("$got->[0][1]", 'ov', 'and do so there');
}

# ---- live -------------------------------------------------------------------------------------------

my @numbers = (special_numbers(), random_numbers(1000));
for my $case ([ plain => donotencrypt => 1, donotcompress => 1 ], [ transformed => (password => 'p') ]) {
    my ($name, @options) = @$case;
    my $server = spawn_server(@options);
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port}, @options)
        or BAIL_OUT("cannot connect: $@");
    ok($client->send([ [@numbers], { third => 1 / 3 }, !!1 ]), "$name: numbers are sent") or diag($@);
    my $got = $client->receive;
    is(ref $got && not_exact(\@numbers, $got->[0]), '', "$name: and come back as they were");
    is(ref $got && not_exact([ 1 / 3 ], [ $got->[1]{third} ]), '', "$name: in a hash, too");
    SKIP: {
        skip 'perl has no booleans', 1 if !defined &builtin::is_bool;
        no warnings;
        ok(builtin::is_bool($got->[2]), "$name: as do booleans");
    }
    $client->close;
    $server->kill('TERM');
}

done_testing();
