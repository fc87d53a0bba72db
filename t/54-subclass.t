# Subclasses, user's keys, re-blessing: objects are blessed hashes and behave like it.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use Net::EasyTCP;

{
    package My::Server;
    use vars qw(@ISA $Destroyed $Constructed);
    @ISA = ('Net::EasyTCP');
    ($Destroyed, $Constructed) = (0, 0);
    sub new {
        my ($class, %o) = @_;
        $Constructed++;
        my $self = $class->SUPER::new(%o) or return;
        $self->{colour} = 'blue';
        return $self;
    }
    sub colour { return $_[0]{colour} }
    sub greet  { my $self = shift; return $self->send("hello, $self->{user}") }
    sub send {
        my ($self, $data) = @_;
        return $self->SUPER::send(ref $data ? $data : "[$data]");
    }
    sub DESTROY { $Destroyed++ }    # without SUPER, as people write it
}

my ($server, $port) = new_server(class => 'My::Server', donotencrypt => 1, donotcompress => 1);
is(ref $server, 'My::Server', 'a server of the subclass');
is($server->colour, 'blue', 'with its own constructor');
my $constructed = $My::Server::Constructed;

my (@seen, $left);
$server->setcallback(
    connect => sub { my $c = shift; $c->{user} = 'nobody'; push @seen, $c },
    data => sub { my $c = shift; $c->{user} = $c->data; $c->greet },
    disconnect => sub { $left = shift },
);
my $peer = OldPeer->client(version => '0.19', port => $port, idle => loop_of($server)) or die OldPeer->error;
run_until($server, sub { @seen });
is(ref $seen[0], 'My::Server', 'its clients are of the server\'s class');
is($My::Server::Constructed, $constructed, 'new() of the subclass is not called for them');
$peer->send('Ann');
is($peer->receive, '[hello, Ann]', 'methods of the subclass work in callbacks');
is($seen[0]{user}, 'Ann', 'keys of the user are kept');
is_deeply([ map { "$_" } $server->clients ], [ "$seen[0]" ], 'clients() has the same object');
like("$seen[0]", qr/^My::Server=HASH/, 'it prints with its class');

# Re-blessing the server changes the class of later clients.
{
    @My::Other::ISA = ('Net::EasyTCP');
    bless $server, 'My::Other';
    my $second = OldPeer->client(version => '0.19', port => $port, idle => loop_of($server));
    run_until($server, sub { @seen == 2 });
    is(ref $seen[1], 'My::Other', 'the class is that of the server object, now');
    bless $seen[1], 'My::Server';
    $seen[1]{user} = 'Bob';
    $seen[1]->greet;
    is($second->receive, '[hello, Bob]', 'a client object may be re-blessed too');
    bless $server, 'My::Server';
    $second->close;
    run_until($server, sub { $left });
    is($left, $seen[1], 'the same object in disconnect, in its new class');
    is(ref $left, 'My::Server', 'kept');
}

# Objects go when nothing holds them.
{
    undef $left;
    my $before = $My::Server::Destroyed;
    @seen = ($seen[0]);
    is($My::Server::Destroyed - $before, 1, 'an object is destroyed when the last reference goes');
    $peer->close;
    $before = $My::Server::Destroyed;
    run_until($server, sub { $left });
    undef $left;
    @seen = ();
    $server->do_one_loop;
    is($My::Server::Destroyed - $before, 1, 'a client that left is destroyed');
}

# A client object of a subclass.
{
    my $echo = spawn_server(donotencrypt => 1);
    @My::Client::ISA = ('My::Server');
    my $client = My::Client->new(mode => 'client', host => '127.0.0.1', port => $echo->{port}) or die $@;
    is(ref $client, 'My::Client', 'a client of a subclass');
    $client->send('x');
    is($client->receive, '[x]', 'its send() is used');
    my $before = $My::Server::Destroyed;
    undef $client;
    is($My::Server::Destroyed - $before, 1, 'destroyed');
    $echo->kill('TERM');
}

# A subclass may have methods of any name.
{
    @My::Private::ISA = ('Net::EasyTCP');
    no strict 'refs';
    foreach my $name (qw(_handle _mode _make_handle _dup_fd _new_client _new_server _build_client)) {
        *{"My::Private::$name"} = sub { die "$name of the subclass called\n" };
    }
    my ($private, $private_port) = new_server(class => 'My::Private', donotencrypt => 1);
    ok($private->{_sock}, 'its server has a handle');
    my $client;
    $private->setcallback(connect => sub { $client = $_[0]; $client->socket });
    my $other = OldPeer->client(version => '0.19', port => $private_port, idle => loop_of($private));
    run_until($private, sub { $client });
    isa_ok($client->socket, 'IO::Socket::INET', 'socket() of its client');
}

# Methods on something else: an error, not a crash.
foreach my $case ([ 'an empty hash' => bless {}, 'Net::EasyTCP' ],
    [ 'an array' => bless [], 'Net::EasyTCP' ], [ 'a copied hash' => bless { %$server }, 'Net::EasyTCP' ],
    [ 'the class' => 'Net::EasyTCP' ]) {
    my ($name, $thing) = @$case;
    foreach my $method (qw(send receive data close start do_one_loop stop clients socket mode serial
        remoteip remoteport compression encryption running setcallback addclientip pending)) {
        ok(!eval { $thing->$method('x'); 1 }, "$method() on $name dies");
        like($@, qr/^Net::EasyTCP::$method\(\): not a Net::EasyTCP object at \Q$0\E/, 'and says why');
    }
}
ok(!eval { Net::EasyTCP::send({}, 'x'); 1 }, 'a method on an unblessed hash dies');
is($server->do_one_loop, 1, 'the real server is unharmed');

# Overloading and magic in what is passed.
{
    package My::Text;
    use overload '""' => sub { 'text of ' . ref shift }, fallback => 1;
}
{
    my @args = (mode => 'client', host => '127.0.0.1', port => $port);
    my $text = bless [], 'My::Text';
    is(Net::EasyTCP->new(mode => 'server', port => $text), undef, 'an object as a port is its text');
    like($@, qr/^Could not create listening socket on port text of My::Text: /, 'which is no port');

    # Code of the user's that runs inside a call may drop, close or use the very object.
    package My::Fetch;
    sub TIESCALAR { my ($class, $code) = @_; return bless { code => $code }, $class }
    sub FETCH     { return $_[0]{code}->() }

    package My::Drop;
    use overload '""' => sub { $_[0]{code}->(); 'dropped' }, fallback => 1;

    package main;
    my $echo = spawn_server(donotencrypt => 1);
    my $connect = sub {
        return Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $echo->{port}) || die $@;
    };
    my $victim = $connect->();
    tie my $drops, 'My::Fetch', sub { undef $victim; 'dropped' };
    is($victim->send($drops), 1, 'send() of something that drops the object');
    ok(!defined $victim, 'it is gone');
    $victim = $connect->();
    tie my $seconds, 'My::Fetch', sub { undef $victim; 1 };
    is($victim->receive($seconds), undef, 'receive() with a timeout that drops the object');
    $victim = $connect->();
    tie my $closes, 'My::Fetch', sub { $victim->close; 'closed' };
    is($victim->send($closes), undef, 'send() of something that closes the object');
    is($@, 'Error sending data: Socket handle not supplied', 'says so');
    $victim = $connect->();
    tie my $sends, 'My::Fetch', sub { $victim->send('inner'); 'outer' };
    is($victim->send($sends), 1, 'send() of something that sends');
    is_deeply([ map { $victim->receive } 1, 2 ], [qw(inner outer)], 'both arrive');
    tie my $dies, 'My::Fetch', sub { die "in FETCH\n" };
    ok(!eval { $victim->send($dies); 1 }, 'send() of something that dies');
    is($@, "in FETCH\n", 'the exception comes out');
    is($victim->send('on') && $victim->receive, 'on', 'the connection goes on');
    foreach my $method (qw(addclientip deleteclientip)) {
        my ($own) = new_server();
        my $address = bless { code => sub { undef $own } }, 'My::Drop';
        is($own->$method($address, '127.0.0.1'), 1, "$method() of something that drops the server");
    }
    {
        require Tie::Hash;
        tie my %table, 'Tie::StdHash';
        %table = (data => sub { }, idle => sub { $_[0]->stop });
        my ($tied) = new_server();
        is($tied->setcallback(data => $table{data}), 1, 'setcallback() from a tied hash');
        is($tied->start($table{idle}), 1, 'start() with code from a tied hash');
    }
    my ($own) = new_server();
    my $key = bless { code => sub { undef $own } }, 'My::Drop';
    is($own->setcallback($key => sub { }, data => sub { }), 1, 'setcallback() of such a name');
    $echo->kill('TERM');

    local $_ = 'data';
    is($server->setcallback($_ => sub { }), 1, '$_ as a key');
    is($_, 'data', 'is not changed');
}

# What perl finds when it looks for overloaded operators, it notes as magic of the symbol table, and calls of
# methods take longer then.
SKIP: {
    skip 'classes do not know it before Perl 5.18', 4 if $] < 5.018;
    require B;
    {
        no strict 'refs';
        @My::Asked::ISA = ('Net::EasyTCP');
    }
    foreach my $class (qw(Net::EasyTCP My::Asked)) {
        my ($asked) = new_server(class => $class);
        ok($asked ? 1 : 0, "$class: an object is true");
        no strict 'refs';
        ok(!(B::svref_2object(\%{"$class\::"})->FLAGS & B::SVs_RMG()), 'and its class has no magic');
    }
}
{
    package My::Worded;
    use overload '""' => sub { 'a text' }, fallback => 1;
}
{
    @My::Parented::ISA = ('Net::EasyTCP', 'My::Worded');
    my ($parented) = new_server(class => 'My::Parented');
    is("$parented", 'a text', 'what a parent overloads is heeded');

    @My::Late::ISA = ('Net::EasyTCP');
    my ($late) = new_server(class => 'My::Late');
    like("$late", qr/^My::Late=HASH/, 'without overloading');
    eval q{package My::Late; use overload '""' => sub { 'late' }, bool => sub { 0 }; 1} or die $@;
    is("$late", 'late', 'overloading that comes when there are objects is heeded');
    ok(!$late, 'that of their truth, too');

    @My::Adopted::ISA = ('Net::EasyTCP');
    my ($adopted) = new_server(class => 'My::Adopted');
    push @My::Adopted::ISA, 'My::Worded';
    is("$adopted", 'a text', 'and that of a later parent');

    my ($own) = new_server();
    eval q{package Net::EasyTCP; use overload '""' => sub { 'own' }, fallback => 1; 1} or die $@;
    is("$own", 'own', 'and that of the class itself');
    eval q{package Net::EasyTCP; no overload '""', 'fallback'; 1} or die $@;
}

done_testing();
