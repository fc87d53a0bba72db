# What callbacks do to the scalar that data() returns is between them and that scalar: the scalars of later
# messages, which may be the same one again, know nothing of it, and what was kept of one does not change.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use Net::EasyTCP;
use B ();
use Scalar::Util ();

my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
my $peer = OldPeer->client(version => '0.19', port => $port, idle => loop_of($server)) or die OldPeer->error;
my ($use, @kept, $gone);

# Calls back with code for one message.
sub hand_out {
    my ($message, $code) = @_;
    my $is_done;
    $server->setcallback(data => sub { $is_done = 1; goto &$code });
    $peer->send_plain($message);
    run_until($server, sub { $is_done });
    return;
}

# How a scalar is that nothing was done to.
sub looks { my $flags = B::svref_2object(\$_[0])->FLAGS; return sprintf '%x', $flags & ~B::SVs_TEMP() }

sub keep_argument { push @kept, \$_[0]; return }
sub keep_list     { push @kept, \@_; return }

sub DESTROY { $gone++ }

{
    package My::Tied;
    sub TIESCALAR { return bless [] }
    sub FETCH     { return 'tied' }
    sub STORE     { }
}

my $first = 'the first message ' . 'x' x 50;
my $looks;
hand_out('x', sub { $looks = looks(scalar $_[0]->data) });

my %uses = (
    'nothing'              => sub { $_[0]->data },
    'to be sent'           => sub { $_[0]->send(scalar $_[0]->data) },
    'a copy'               => sub { my $copy = $_[0]->data; push @kept, \$copy },
    'a reference'          => sub { push @kept, \scalar $_[0]->data },
    'an alias'             => sub { push @kept, \$_ for scalar $_[0]->data },
    'an argument'          => sub { keep_argument(scalar $_[0]->data) },
    'the list it is in'    => sub { keep_list(scalar $_[0]->data) },
    'an element'           => sub { my @list = scalar $_[0]->data; push @kept, \$list[0] },
    'a match'              => sub { scalar($_[0]->data) =~ /(.*)/s; push @kept, \"$1" },
    'a change'             => sub { s/^the/THE/ for scalar $_[0]->data },
    'the start cut off'    => sub { s/^the // for scalar $_[0]->data },
    'more than it was'     => sub { $_ .= 'y' x 5000 for scalar $_[0]->data },
    'no value any more'    => sub { undef $_ for scalar $_[0]->data },
    'characters'           => sub { utf8::upgrade($_) for scalar $_[0]->data },
    'wide characters'      => sub { $_ .= "\x{263a}" for scalar $_[0]->data },
    'a number'             => sub { no warnings; $_ + 0 for scalar $_[0]->data },
    'a number instead'     => sub { $_ = 5 for scalar $_[0]->data },
    'a reference instead'  => sub { $_ = [] for scalar $_[0]->data },
    'a glob instead'       => sub { $_ = *STDOUT for scalar $_[0]->data },
    'a position'           => sub { /me/g for scalar $_[0]->data },
    'a tie'                => sub { tie $_, 'My::Tied' for scalar $_[0]->data },
    'read only'            => sub { Internals::SvREADONLY($_, 1) for scalar $_[0]->data },
    'a weak reference'     => sub { Scalar::Util::weaken($kept[0] = \$_) for scalar $_[0]->data },
    'an object'            => sub { bless \scalar $_[0]->data },
    'an object kept'       => sub { push @kept, bless \scalar $_[0]->data },
    'a loop inside'        => sub {
        my $outer = \scalar $_[0]->data;
        hand_out('inside', sub { $_[0]->data });
        push @kept, $outer;
    },
    'an exception'         => sub { my $c = $_[0]; eval { die scalar $c->data }; push @kept, \"$@" },
    'a local value'        => sub { our $local; local $local = $_[0]->data; push @kept, \"$local" },
);

foreach my $name (sort keys %uses) {
    foreach my $second ('x' x 200, 'short', '') {
        @kept = ();
        hand_out($first, $uses{$name});
        my ($value, $how);
        hand_out($second, sub { for (scalar $_[0]->data) { $how = looks($_); $value = $_ } });
        is($value, $second, "$name: the next message, of " . length($second) . ' bytes');
        is($how, $looks, 'in a scalar like any other');
        like(ref eq 'ARRAY' ? $$_[0] : $$_, qr/^\Q$first\E(?: at .*)?\z/s, 'what was kept stays')
            foreach grep { ref } @kept;
    }
    next if $name ne 'a weak reference';
    is($kept[0], undef, "$name: lives no longer than it did");
}

hand_out($first, sub { $_[0]->data });
my $is_directory;
hand_out('/', sub { $is_directory = opendir my $handle, $_[0]->data });
ok($is_directory, 'a text ends where it ends, for the C library, too');

$gone = 0;
hand_out($first, sub { bless \scalar $_[0]->data });
is($gone, 1, 'an object that nobody keeps goes when its callback ends');

# All this would be true, too, if each message got a scalar of its own.
hand_out('x' x 500, sub { $_[0]->send(scalar $_[0]->data) });
my $room;
hand_out('x', sub { $room = B::svref_2object(\scalar $_[0]->data)->LEN });
cmp_ok($room, '>', 500, 'the next message gets the scalar that is left over');
hand_out('x' x 5000, sub { $_[0]->send(scalar $_[0]->data) });
hand_out('x', sub { $room = B::svref_2object(\scalar $_[0]->data)->LEN });
cmp_ok($room, '<', 5000, 'unless it is large');

done_testing();
